//! What a case needs to run, and which guarantee it shows.

use std::fmt;

use dotmsg_core::backend::{
    Capability, History, KeyOrder, Ownership, Partitioning, PositionStore, Transactional,
};

use crate::fixture::{Broker, Stays};

/// Something that a case needs of the backend or of its fixture. Always "at least", but for the denials: these select the
/// cases that test that what is not there is refused; and for `LaterStays` and `EarlierStays`, of which one is always met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// Messages of one key stay in order.
    KeyOrder,
    /// Position records are stored: without them no app starts.
    Position,
    /// Several members share the partitions of a topic.
    Shared,
    /// What was settled can be read again.
    History,
    /// Stored across a restart of the broker.
    Durable,
    /// Keys go where a partitioner says that the app gives.
    Partitioner,
    /// A largest record that a test can reach.
    RecordLimit,
    /// The fixture restarts its broker.
    Restart,
    /// The fixture makes retention remove records.
    Trim,
    /// Of two members with one instance id the later stays.
    LaterStays,
    /// Of two members with one instance id the earlier stays.
    EarlierStays,
    /// The backend keeps no order of keys.
    NoKeyOrder,
    /// The backend stores no position records.
    NoPosition,
    /// Publishes and progress are committed together.
    Transactions,
    /// The backend has no transactions.
    NoTransactions,
    /// The backend honours no partitioner but its own.
    NoPartitioner,
    /// One member per group and topic.
    SingleMember,
}

/// Records above this are not worth a test: they would cost more than they show.
const LARGEST_RECORD: usize = 64 << 20;

impl Need {
    /// Why a backend that declares this does not meet it; `None` when it does.
    pub(crate) fn unmet(self, declared: &Capability, broker: &dyn Broker) -> Option<&'static str> {
        let (met, reason) = match self {
            Self::KeyOrder => (
                declared.key_order == KeyOrder::Log,
                "it declares no order of keys",
            ),
            Self::Position => (
                declared.position != PositionStore::None,
                "it declares no position records",
            ),
            Self::Shared => (
                declared.ownership == Ownership::Shared,
                "it declares one member per group",
            ),
            Self::History => (
                declared.history == History::Retained,
                "it declares no history",
            ),
            Self::Durable => (declared.durable, "it declares that nothing outlives it"),
            Self::Partitioner => (
                declared.partitioning == Partitioning::Custom,
                "it declares that murmur2 chooses the partition of a key",
            ),
            Self::RecordLimit => (
                declared.max_record_bytes <= LARGEST_RECORD,
                "it declares no limit on records, or one above 64 MiB",
            ),
            Self::Restart => (
                broker.restart().is_some(),
                "the fixture cannot restart its broker",
            ),
            Self::Trim => (
                broker.trim("", 0, 0).is_some(),
                "the fixture cannot make retention remove records",
            ),
            Self::LaterStays => (
                broker.stays() == Stays::Later,
                "of two with one instance id the earlier stays",
            ),
            Self::EarlierStays => (
                broker.stays() == Stays::Earlier,
                "of two with one instance id the later stays",
            ),
            Self::NoKeyOrder => (
                declared.key_order == KeyOrder::None,
                "it keeps the order of keys",
            ),
            Self::NoPosition => (
                declared.position == PositionStore::None,
                "it stores position records",
            ),
            Self::Transactions => (
                declared.transactions == Transactional::Yes,
                "it has no transactions",
            ),
            Self::NoTransactions => (
                declared.transactions == Transactional::No,
                "it has transactions",
            ),
            Self::NoPartitioner => (
                declared.partitioning == Partitioning::Murmur2,
                "it honours partitioners",
            ),
            Self::SingleMember => (
                declared.ownership == Ownership::SingleMember,
                "several members share a topic",
            ),
        };
        (!met).then_some(reason)
    }
}

/// The guarantee that a case shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Guarantee {
    /// A delivery is settled only after its effect, or after its dead letter is confirmed.
    NoLoss,
    /// Messages of one key are handled one at a time, in log order, retries included.
    KeyOrder,
    /// A failing message delays only its own key.
    NoBlocking,
    /// Running handlers are drained, progress is committed, then ownership ends.
    HandOver,
    /// Memory is bounded by configured limits.
    Bounded,
    /// What handlers return is there once.
    OnlyOnce,
    /// What a backend cannot keep is refused at start-up.
    Refusal,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLoss => "G1 no loss",
            Self::KeyOrder => "G2 key order",
            Self::NoBlocking => "G3 no blocking",
            Self::HandOver => "G6 clean hand-over",
            Self::Bounded => "G7 bounded",
            Self::OnlyOnce => "what is returned is there once",
            Self::Refusal => "nothing is silently weaker",
        })
    }
}
