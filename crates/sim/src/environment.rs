//! Everything around the engine in a run: the source that the engine reads and the services that
//! outputs write to. There are two kinds: [fakes](crate::fakes), and the
//! [whole path](crate::whole) of the real client and an embedded Kinesis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::output::Output;
use distributary_core::source::Source;
use distributary_core::testing::{Mood, OutputFaults, ReadFaults};

use crate::counter::Counter;
use crate::scenario::OutputShape;

/// Returns the bytes of answers and encoded requests that are held in memory.
pub(crate) type LiveBytes = Arc<dyn Fn() -> usize + Send + Sync>;

/// The source and the services of a run. The run names the services. Every event is reported to
/// the run's observer.
#[async_trait(?Send)]
pub(crate) trait Environment {
    fn live_bytes(&self) -> LiveBytes;

    /// The source, as a process makes one at its start.
    fn source(&self) -> Arc<dyn Source>;

    /// Writes `count` records to the source, drawn from `seed`.
    async fn put(&mut self, count: u64, seed: u64);

    /// Splits the `i`th open shard of the source.
    async fn split(&mut self, i: usize);

    /// Merges the `i`th open shard of the source and the next one.
    async fn merge(&mut self, i: usize);

    /// Sets the faults of reads from the source.
    fn set_reads(&mut self, faults: ReadFaults);

    /// Lets retention delete records older than `age`; true if there were any.
    async fn expire(&mut self, age: Duration) -> bool;

    /// Adds a service for an output of this shape.
    fn add_service(&mut self, name: &str, shape: &OutputShape);

    /// The stateful pump of the run, if there is one.
    fn counter(&self) -> Option<&Counter> {
        None
    }

    /// The output for dead letters of the service's output; `None`: a refused record stops the
    /// lane.
    fn dead_letter(&self, service: &str) -> Option<Arc<dyn Output>> {
        let _ = service;
        None
    }

    /// An output that writes to a service, as a process makes one at its start.
    fn output(&self, service: &str, shape: &OutputShape) -> Arc<dyn Output>;

    /// Sets the faults of a service, which apply while its mood is [`Mood::Well`].
    fn set_faults(&mut self, service: &str, faults: OutputFaults);

    async fn set_mood(&mut self, service: &str, mood: Mood);

    /// Changes a service's number of shards.
    async fn reshard(&mut self, service: &str, shards: usize);

    /// Sets whether a service refuses the record with this number for good.
    fn refuse(&mut self, service: &str, number: u128, refused: bool);

    /// Checks the records that these services hold at the end of the run.
    async fn check_end(&mut self, services: &[String]);
}

/// The name of the service that takes the dead letters of `service`.
pub(crate) fn dead_letters_of(service: &str) -> String {
    format!("{service}-dead")
}
