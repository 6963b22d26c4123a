//! Bugs on command, so that the simulator can show that it would find them (feature `mutations`).
//! Without the feature `on` is a constant, and nothing of this is left in the program.

/// A deliberate bug. Each is one line of the engine that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(
    not(feature = "mutations"),
    allow(dead_code, reason = "asked for, and never on")
)]
pub enum Mutation {
    /// An answer with failed records counts as success.
    AckDespitePartialFailure,
    /// A request of which nobody knows what was written counts as success.
    AckUnknown,
    /// After a partial failure only what failed is sent again, in every order mode.
    RetryOutOfOrder,
    /// Records behind a record that is held back are sent before that record.
    HeldIsOvertaken,
    /// `strict` sends all records of a key at once.
    StrictInOneRequest,
    /// The acknowledgements beyond the cursor are carried over one record off.
    CarryOneOff,
    /// A record that an output refuses is passed over.
    SkipRefused,
    /// A child's lane begins without its parents' lanes being done.
    ChildBeforeParent,
    /// A lane that comes back begins one record late.
    RejoinOneLate,
    /// A lane that comes back begins one record early.
    RejoinOneEarly,
    /// A checkpoint is what was read, not what is durable.
    CheckpointEarly,
    /// Checkpoints are written only when the engine ends.
    CheckpointNever,
    /// Where `start = "latest"` lies is not written down before anything is read.
    LatestNotPinned,
    /// Memory is granted to whoever asks.
    BudgetIgnored,
    /// The slowest lane says when the shard is read on.
    SlowestDecides,
    /// A gap is passed over without a word.
    GapUnsaid,
    /// Records that are read again are counted again.
    CountTwice,
    /// A paused output is written to.
    PauseIgnored,
    /// The state of an output that is removed is kept.
    RemoveForgetsNothing,
    /// Two requests of a lane that are in flight together have a key in common.
    SharesKeyInFlight,
    /// Requests start though the lease of the shard has ended.
    WritesAfterLease,
    /// The cursor passes a refused record whose dead letter is not durable.
    DeadLetterBeforeDurable,
    /// The cursor passes records that the output only accepted.
    CheckpointAccepted,
    /// After a flush that failed, the accepted records are not sent again.
    FlushFailureForgotten,
    /// The lanes of a stateful pump are committed at their cursors, whatever the snapshot stands
    /// for.
    SnapshotWithoutPositions,
    /// A snapshot is committed before the rows on the way to it are durable.
    SnapshotBeforeDurable,
    /// Records of which a pump made no rows are passed without being counted.
    FilteredNotCounted,
    /// The cursor passes a record when the first of its rows is durable.
    CursorPassesOpenRows,
    /// The last piece of an aggregate that is divided among shards is not written.
    ForgetsPiece,
    /// A divided aggregate counts as durable when the first piece is.
    AcksFirstPiece,
    /// The shard that an answer names is not compared with the shard that an aggregate is for.
    TrustsOldMap,
    /// A lane that starts within a record sends the first rows of the record again.
    RowsStartOver,
    /// A shard that one listing lacks counts as gone.
    ListingBelieved,
    /// A row of a lease table is written whatever others wrote meanwhile.
    NoFencing,
    /// The wall clock tells whether a lease has expired.
    WallClockExpiry,
    /// A lease is taken from an owner that is alive, without the owner's consent.
    StealWithoutStopping,
    /// An output that was deleted and created again goes on where it was, without a word.
    RecreationIgnored,
}

#[cfg(feature = "mutations")]
mod switch {
    use std::cell::Cell;

    use super::Mutation;

    thread_local! {
        static ON: Cell<Option<Mutation>> = const { Cell::new(None) };
    }

    impl Mutation {
        /// All of them.
        pub const ALL: [Self; 29] = [
            Self::AckDespitePartialFailure,
            Self::AckUnknown,
            Self::RetryOutOfOrder,
            Self::HeldIsOvertaken,
            Self::StrictInOneRequest,
            Self::CarryOneOff,
            Self::SkipRefused,
            Self::ChildBeforeParent,
            Self::RejoinOneLate,
            Self::RejoinOneEarly,
            Self::CheckpointEarly,
            Self::CheckpointNever,
            Self::LatestNotPinned,
            Self::BudgetIgnored,
            Self::SlowestDecides,
            Self::GapUnsaid,
            Self::CountTwice,
            Self::PauseIgnored,
            Self::RemoveForgetsNothing,
            Self::SharesKeyInFlight,
            Self::WritesAfterLease,
            Self::DeadLetterBeforeDurable,
            Self::CheckpointAccepted,
            Self::FlushFailureForgotten,
            Self::SnapshotWithoutPositions,
            Self::SnapshotBeforeDurable,
            Self::FilteredNotCounted,
            Self::CursorPassesOpenRows,
            Self::ListingBelieved,
        ];
    }

    /// Engines that run on this thread have this bug from now on.
    pub fn set(mutation: Option<Mutation>) {
        ON.set(mutation);
    }

    /// True if the code of this thread has this bug now.
    pub fn on(mutation: Mutation) -> bool {
        ON.get() == Some(mutation)
    }
}

#[cfg(feature = "mutations")]
pub use switch::{on, set};

/// True if the program is to have this bug: never without the feature.
#[cfg(not(feature = "mutations"))]
pub const fn on(_: Mutation) -> bool {
    false
}
