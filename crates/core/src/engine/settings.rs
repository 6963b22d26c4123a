//! Limits and intervals, all in one place, each with its default and its reason.

use std::time::Duration;

use super::retry::Backoff;

/// Everything about an engine that is a number. Nothing else in the engine has a limit of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes for everything that is read and not yet written, encoded bodies included (default 256 MiB). Reserved
    /// before a read. One record of the maximum size always gets through, alone if it must.
    pub memory_budget: usize,
    /// How often the lanes' checkpoints are written, all in one transaction (default 1 s): the bound on repeats after
    /// a crash.
    pub checkpoint_interval: Duration,
    /// How long the store may fail before the engine ends (default 5 min). Delivery goes on meanwhile; what it
    /// delivers would be repeated after a crash.
    pub store_patience: Duration,
    /// How long one request to an output may take before its outcome is unknown (default 30 s).
    pub request_deadline: Duration,
    /// How long one read of the source may take before it is tried again (default 30 s).
    pub read_deadline: Duration,
    /// First wait after a failure (default 100 ms); each further one doubles it, with jitter.
    pub backoff_base: Duration,
    /// Longest wait after failures that are expected to pass (default 10 s).
    pub backoff_cap: Duration,
    /// Longest wait after failures that somebody has to mend: access denied, an output that is missing (default 30 s).
    pub slow_backoff_cap: Duration,
    /// Time between two reads of a shard that has nothing new (default 1 s).
    pub idle_poll: Duration,
    /// Bytes that one read aims at (default 4 MiB): `Limit` is this by the mean record size, or less where the share
    /// of the budget is smaller.
    pub read_target: usize,
    /// Batches of a shard that are read ahead of its fastest lane (default 2).
    pub read_ahead: usize,
    /// Readers a shard may have for lanes that are behind the shared window (default 2).
    pub catch_up_readers: usize,
    /// How long a lane that has left the window waits for a reader that is on its way to it, before it gets one of its
    /// own (default 5 s).
    pub grouping_patience: Duration,
    /// How often the source's shard map is asked for while nothing says that it changed (default 60 s).
    pub map_refresh: Duration,
    /// How often it is asked for while a closed shard's children are not in it yet (default 1 s).
    pub map_refresh_soon: Duration,
    /// How often the source's retention is asked for (default 10 min): a user may lengthen it while
    /// an output is behind.
    pub retention_refresh: Duration,
    /// How often a failing call is tried while the engine starts, before the start fails (default 5).
    pub start_attempts: u32,
    /// How long the source may be said to be missing before the engine ends (default 1 min).
    pub source_patience: Duration,
    /// How long an output, or the reading of a shard, may have nothing but trouble that somebody has to mend before
    /// [`Engine::caught_up`](super::Engine::caught_up) waits for it no longer (default 1 min: two of the longest waits
    /// between tries, and longer than a policy that was mended takes to count). The engine itself goes on trying.
    pub lasting_patience: Duration,
    /// How long trouble of one kind, at one output or in reading, is not said again, whichever shard meets it (default
    /// 1 min): an outage of a stream of a thousand shards is one line a minute.
    pub say_again: Duration,
    /// Gaps that the status keeps in full (default 32); all are counted.
    pub gaps_kept: usize,
}

impl Settings {
    /// Waits between tries, as these settings have them.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.backoff_base, self.backoff_cap, self.slow_backoff_cap)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_budget: 256 << 20,
            checkpoint_interval: Duration::from_secs(1),
            store_patience: Duration::from_secs(300),
            request_deadline: Duration::from_secs(30),
            read_deadline: Duration::from_secs(30),
            backoff_base: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(10),
            slow_backoff_cap: Duration::from_secs(30),
            idle_poll: Duration::from_secs(1),
            read_target: 4 << 20,
            read_ahead: 2,
            catch_up_readers: 2,
            grouping_patience: Duration::from_secs(5),
            map_refresh: Duration::from_secs(60),
            map_refresh_soon: Duration::from_secs(1),
            retention_refresh: Duration::from_secs(600),
            start_attempts: 5,
            source_patience: Duration::from_secs(60),
            lasting_patience: Duration::from_secs(60),
            say_again: Duration::from_secs(60),
            gaps_kept: 32,
        }
    }
}
