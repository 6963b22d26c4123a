//! Limits and intervals, all in one place, each with a default and a reason.

use std::time::Duration;

use super::retry::Backoff;

/// Everything about an engine that is a number. Nothing else in the engine has a limit of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes for everything that is read and not yet written, encoded bodies included (default 256
    /// MiB). Reserved before a read. One record of the maximum size always gets through, alone if
    /// necessary.
    pub memory_budget: usize,
    /// Time between two commits of the lanes' checkpoints, all in one transaction (default 200 ms):
    /// the bound on repeats after a crash. Where a commit takes long, the next one waits 19 times
    /// as long, up to a second, so that commits take a twentieth of the time at most.
    pub checkpoint_interval: Duration,
    /// Time for which the store may fail before the engine ends (default 5 min). Delivery goes on
    /// meanwhile; records delivered in that time would be repeated after a crash.
    pub store_patience: Duration,
    /// Time after which a write of the checkpoints counts as failed (default 10 s).
    pub commit_deadline: Duration,
    /// Time after which the outcome of a request to an output is unknown (default 30 s).
    pub request_deadline: Duration,
    /// Time after which a read of the source is tried again (default 30 s).
    pub read_deadline: Duration,
    /// First wait after a failure (default 100 ms); each further one doubles it, with jitter.
    pub backoff_base: Duration,
    /// Longest wait after failures that are expected to pass (default 10 s).
    pub backoff_cap: Duration,
    /// Longest wait after failures that only the user can remove: access denied, an output that is
    /// missing (default 30 s).
    pub slow_backoff_cap: Duration,
    /// Time between two reads of a shard that has nothing new (default 1 s).
    pub idle_poll: Duration,
    /// Bytes that one read aims at (default 4 MiB): the number of records is this by the mean
    /// record size, or less where the share of the budget is smaller.
    pub read_target: usize,
    /// Batches of a shard that are read ahead of its fastest lane (default 2).
    pub read_ahead: usize,
    /// Readers a shard may have for lanes that are behind the shared window (default 2).
    pub catch_up_readers: usize,
    /// Time for which a detached lane waits for a feed that will come by its cursor, before the
    /// lane gets a feed of its own (default 5 s).
    pub grouping_patience: Duration,
    /// Time between two shard maps while nothing tells of a change (default 60 s).
    pub map_refresh: Duration,
    /// Time between two shard maps while the map lacks a closed shard's children (default 1 s).
    pub map_refresh_soon: Duration,
    /// Time between two questions for the source's retention (default 10 min): a user may lengthen
    /// the retention while an output is behind.
    pub retention_refresh: Duration,
    /// Time for which calls of the source and the state may fail while the engine starts, for
    /// reasons that pass by themselves, before the start fails (default 1 min).
    pub start_timeout: Duration,
    /// Attempts of the last write of the checkpoints (default 5).
    pub last_attempts: u32,
    /// Time for which the source may be missing before the engine ends (default 1 min).
    pub source_patience: Duration,
    /// Time for which every request to an output, or every read of a shard, may fail for a reason
    /// that only the user can remove, before [`Engine::caught_up`](super::Engine::caught_up) stops
    /// waiting (default 1 min: two of the longest waits between tries, and longer than a changed
    /// policy takes to count). The engine itself goes on trying.
    pub lasting_patience: Duration,
    /// Time for which failures of one kind, at one output or in reading, are not logged again,
    /// whichever shard meets them (default 1 min): an outage of a stream of a thousand shards is
    /// one line a minute.
    pub say_again: Duration,
    /// The reaction to an output that was deleted and created again (default: begin again).
    pub on_recreated: OnRecreated,
    /// Time between two questions for the identity of an output (default 1 min). An output that is
    /// missing is asked about twelve times as often.
    pub identity_refresh: Duration,
    /// Gaps that the status keeps in full (default 32); all are counted.
    pub gaps_kept: usize,
}

/// The reaction to an output that was deleted and created again under the same name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRecreated {
    /// The output begins again at its `start`: the new stream gets every record that the old one
    /// got, as far as the source still has them.
    #[default]
    Restart,
    /// The output goes on where it was: the new stream gets later records only.
    Continue,
    /// The output stops until the user resumes or restarts it.
    Stop,
}

impl Settings {
    /// Waits between tries, by these settings.
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.backoff_base, self.backoff_cap, self.slow_backoff_cap)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            memory_budget: 256 << 20,
            checkpoint_interval: Duration::from_millis(200),
            store_patience: Duration::from_secs(300),
            commit_deadline: Duration::from_secs(10),
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
            start_timeout: Duration::from_secs(60),
            last_attempts: 5,
            source_patience: Duration::from_secs(60),
            lasting_patience: Duration::from_secs(60),
            say_again: Duration::from_secs(60),
            on_recreated: OnRecreated::default(),
            identity_refresh: Duration::from_secs(60),
            gaps_kept: 32,
        }
    }
}
