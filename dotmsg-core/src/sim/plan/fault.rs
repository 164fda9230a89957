//! What can go wrong, each with its time and what it is done to.
//!
//! Two sorts: some happen at their time; others lie in wait from their time on for the next call, of the member they
//! name, that they are about. What is still in wait when the run calms down never happens.

/// What a member was doing.
///
/// No step has the name of a type that users meet, such as `Handler`: their compile errors would name that one with its whole path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A call of the handler.
    Call,
    /// A publish to a tier.
    Tier,
    /// A publish to the dead-letter topic.
    DeadLetter,
    /// A commit.
    Commit,
    /// The first commit of an ownership: the takeover's.
    WriteBack,
    /// Reading the position record.
    ReadPosition,
    /// Reading the records that the position names.
    Heads,
    /// Releasing a partition.
    Release,
    /// Leaving the group.
    Close,
}

/// A point at which a member can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    /// Before the step is done, or after it was and before the member hears of it.
    pub before: bool,
    /// The step.
    pub step: Step,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Calls of the member take longer.
    Delay {
        /// By so much.
        by_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// The member's next publish is appended and its answer lost.
    PublishUnheard,
    /// The member's next publish is not appended, and no answer comes.
    PublishUnsent,
    /// The member's next publish fails.
    PublishFails,
    /// The member's next commit is stored and its answer lost.
    CommitUnheard,
    /// The member's next commit is not stored, and no answer comes.
    CommitUnsent,
    /// The member's next commit fails.
    CommitFails,
    /// One entry of the member's next commit of several fails; all of a commit of one.
    CommitPartly,
    /// The member's next batch is delivered twice.
    Duplicate,
    /// The member's next batch comes later than those of other partitions behind it.
    Reorder {
        /// By so much.
        by_ms: u64,
    },
    /// The member is killed at the next time that it comes to a point.
    Crash {
        /// Where.
        point: Point,
        /// Started again after.
        down_ms: u64,
    },
    /// The member is killed at once.
    Kill {
        /// Started again after.
        down_ms: u64,
    },
    /// The member stands still: neither its calls nor its handlers go on. Then it wakes up, and does not know.
    Freeze {
        /// For so long.
        for_ms: u64,
    },
    /// The member is told to stop, and drains.
    Stop {
        /// Started again after.
        down_ms: u64,
    },
    /// A partition is taken from its owner without asking.
    Lose {
        /// Which.
        partition: u32,
        /// Given back after.
        for_ms: u64,
    },
    /// A partition is asked back from its owner.
    Revoke {
        /// Which.
        partition: u32,
        /// What the owner has to drain.
        within_ms: u64,
        /// Given back after.
        for_ms: u64,
    },
    /// Appends and commits of all members take longer.
    SlowDisk {
        /// By so much.
        by_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// The broker is down for all after a failed fsync: what was under way has no answer; every member has to start again.
    Outage {
        /// For so long.
        for_ms: u64,
    },
    /// An operator replays all dead letters.
    Replay,
    /// An operator stops all members, moves the position of a partition, and starts them again.
    Reset {
        /// Which.
        partition: u32,
        /// To this offset, or to the end if it lies beyond.
        to: u64,
    },
    /// All members are stopped, the source topic is deleted and made anew, and they are started again.
    Recreate,
    /// The disk is full: appends and commits of all members fail.
    Full {
        /// For so long.
        for_ms: u64,
    },
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, or from when on.
    pub at_ms: u64,
    /// Whose; without meaning for what befalls the broker.
    pub member: u32,
    /// What.
    pub kind: Kind,
}

impl Fault {
    /// When it is over, as far as that can be told beforehand.
    #[must_use]
    pub fn over_at_ms(&self) -> u64 {
        let lasts = match self.kind {
            Kind::Delay { for_ms, .. }
            | Kind::Freeze { for_ms }
            | Kind::Lose { for_ms, .. }
            | Kind::Revoke { for_ms, .. }
            | Kind::SlowDisk { for_ms, .. }
            | Kind::Outage { for_ms }
            | Kind::Full { for_ms } => for_ms,
            Kind::Crash { down_ms, .. } | Kind::Kill { down_ms } | Kind::Stop { down_ms } => {
                down_ms
            }
            Kind::Reorder { by_ms } => by_ms,
            Kind::PublishUnheard
            | Kind::PublishUnsent
            | Kind::PublishFails
            | Kind::CommitUnheard
            | Kind::CommitUnsent
            | Kind::CommitFails
            | Kind::CommitPartly
            | Kind::Replay
            | Kind::Reset { .. }
            | Kind::Recreate
            | Kind::Duplicate => 0,
        };
        self.at_ms + lasts
    }

    /// Whether it is something that an operator does.
    #[must_use]
    pub fn is_operation(&self) -> bool {
        matches!(
            self.kind,
            Kind::Replay | Kind::Reset { .. } | Kind::Recreate
        )
    }

    /// Whether it lies in wait for a call.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(
            self.kind,
            Kind::PublishUnheard
                | Kind::PublishUnsent
                | Kind::PublishFails
                | Kind::CommitUnheard
                | Kind::CommitUnsent
                | Kind::CommitFails
                | Kind::CommitPartly
                | Kind::Duplicate
                | Kind::Reorder { .. }
                | Kind::Crash { .. }
        )
    }
}
