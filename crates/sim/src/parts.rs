//! What is around the engine in a run: the source that it reads and the services that it writes to. Either fakes of the
//! seams ([`fakes`](crate::fakes)), or the real client and an embedded Kinesis with a faulty network between
//! ([`whole`](crate::whole)).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::output::Output;
use distributary_core::source::Source;
use distributary_core::testing::{Mood, OutputFaults, ReadFaults};

use crate::scenario::OutputShape;

/// Says how many bytes of answers and encoded requests somebody still holds.
pub(crate) type Live = Arc<dyn Fn() -> usize + Send + Sync>;

/// See the module. Services are named by what the run calls them. Whatever happens here is told to the run's eye.
#[async_trait(?Send)]
pub(crate) trait Parts {
    /// What is held in memory, now and later.
    fn live(&self) -> Live;

    /// The source, as a process that starts now sees it.
    fn source(&self) -> Arc<dyn Source>;

    /// Writes records to the source.
    async fn put(&mut self, count: u64, seed: u64);

    /// Splits the `i`th open shard of the source.
    async fn split(&mut self, i: usize);

    /// Merges the `i`th open shard of the source and its neighbour.
    async fn merge(&mut self, i: usize);

    /// How reading goes from now on.
    fn set_reads(&mut self, faults: ReadFaults);

    /// Retention deletes what is older than this from the source; true if that was anything.
    async fn expire(&mut self, age: Duration) -> bool;

    /// There is one more service.
    fn add_service(&mut self, name: &str, shape: &OutputShape);

    /// An output that writes to a service, as a process makes it now.
    fn output(&self, service: &str, shape: &OutputShape) -> Arc<dyn Output>;

    /// How a service misbehaves from now on, while it is well.
    fn set_faults(&mut self, service: &str, faults: OutputFaults);

    /// How a service behaves from now on.
    async fn set_mood(&mut self, service: &str, mood: Mood);

    /// Gives a service so many shards.
    async fn reshard(&mut self, service: &str, shards: usize);

    /// A service takes the record of this number no more; `false`: it does again.
    fn refuse(&mut self, service: &str, number: u128, refused: bool);

    /// What must hold of what stands at these services in the end.
    async fn judge_end(&mut self, services: &[String]);
}
