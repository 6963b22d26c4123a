//! Many workers on one stream: ownership of shards by leases in a table, with the protocol of the
//! KCL. Each worker of one application name opens the same table; a worker that dies keeps its
//! leases for the failover time.
//!
//! Rules, all of which hold without a comparison of two machines' clocks:
//! - Every write is conditional on the row's owner and counter, and increments the counter. One
//!   write of a row is in flight at a time. After an ambiguous answer the row is read before the
//!   next write.
//! - A lease is good until the start of its last successful renewal, plus the failover time, less a
//!   margin. A worker that could not renew for the failover time gives the shard up.
//! - A lease has expired for an observer when its row did not change between two scans that lie the
//!   failover time apart by the observer's own monotonic clock.
//! - A worker that takes an expired lease waits for a while before the first request.
//! - A worker with too few leases asks the most loaded worker for one (`distributarySuccessor`).
//!   The owner ends its requests, writes its last checkpoint and hands the row over. An owner that
//!   does not answer, as a KCL would not, loses the lease after twice the failover time.

mod balance;
mod cursors;
mod hold;
mod row;
mod scan;
mod view;
mod worker;

use std::time::Duration;

pub use cursors::{Cursor, Cursors, OutputPrint, source_print};
pub use row::{Change, Expected, KclCheckpoint, LeaseRow, LeaseTable, Progress, RowUpdate};
pub use worker::Leases;

/// Times of the lease protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseSettings {
    /// Time for which a worker that has fallen silent keeps its leases (default 10 s, as the KCL's
    /// `failoverTimeMillis`). The same for all workers of one table.
    pub failover: Duration,
    /// Time after which a call of the table has failed (default 5 s).
    pub call_deadline: Duration,
    /// Calls of the table that are in flight together at most (default 32).
    pub calls: usize,
}

impl Default for LeaseSettings {
    fn default() -> Self {
        Self {
            failover: Duration::from_secs(10),
            call_deadline: Duration::from_secs(5),
            calls: 32,
        }
    }
}

impl LeaseSettings {
    /// Time between two renewals of one lease: a third of the failover time, as in the KCL.
    fn renewal(&self) -> Duration {
        self.failover / 3
    }

    /// Time between two scans of the table: a fifth of the failover time, so that an expired lease
    /// is noticed within half of it.
    fn scan(&self) -> Duration {
        self.failover / 5
    }

    /// Time after a renewal during which requests may start.
    fn term(&self) -> Duration {
        self.failover - self.failover / 5
    }

    /// Time between the taking of an expired lease and the first request: requests that the last
    /// owner had in flight have ended by then.
    fn settle(&self) -> Duration {
        self.failover / 10
    }

    /// Time that an owner has for ending its requests when it hands a lease over.
    fn handover(&self) -> Duration {
        self.failover / 2
    }

    /// Time after which a lease is taken from an owner that does not answer a request for it.
    fn unanswered(&self) -> Duration {
        self.failover * 2
    }
}

/// A call of the table that failed and may succeed later.
fn failed(text: String) -> crate::store::StoreError {
    crate::store::StoreError::Failed {
        source: text.into(),
    }
}
