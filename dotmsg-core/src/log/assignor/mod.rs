//! How a group shares the partitions of a topic: the assignors of Kafka, as pure functions.
//!
//! A group is per topic here, so all members compete for the same partitions, and every assignor can be exactly
//! balanced: shares differ by at most one. (In Kafka members may subscribe to different topics, and range piles the
//! remainders of all topics up on the first members.)
//!
//! - `range`, `round_robin`: depend on names and counts only, and move partitions freely as members come and go.
//! - `sticky`: depends on who owned what, and moves as little as balance allows.
//! - `claims`: which of the ownerships that members claim counts.
//!
//! A cooperative protocol gives at once what nobody owns, and the rest once its owner has let it go (KIP-429); that is the
//! coordinator's to do, which knows who owns what.
//!
//! What must stay true: a target gives every partition exactly once; the answer depends on the set of members, not on
//! the order in which they joined, so that whoever computes it computes the same.

mod claims;
mod range;
mod round_robin;
mod sticky;

#[cfg(all(test, not(dotmsg_loom)))]
mod tests;

/// How the partitions of a topic are shared among the members of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Assignor {
    /// Contiguous runs in the order of names; the first members get one more.
    Range,
    /// One after the other in the order of names.
    RoundRobin,
    /// Balanced, and as few moves as that allows (KIP-54). Members give everything up while a rebalance goes on.
    Sticky,
    /// The same target, and members keep what they have while a rebalance goes on: what moves is given to its new
    /// owner once the old one has let it go (KIP-429). The default.
    #[default]
    CooperativeSticky,
}

/// One member as an assignor sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// Orders the members: the instance id of a static member, so that its restart moves nothing (KIP-345), else the
    /// member id; unique.
    pub(super) name: &'a str,
    /// What it owned when it joined this round, ascending.
    pub(super) owned: &'a [u32],
    /// The generation in which it owned that: of two who claim one partition, the younger claim counts.
    pub(super) generation: u64,
}

impl Assignor {
    /// The name in configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "round-robin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of this [`name`](Self::name).
    pub(super) fn parse(name: &str) -> Option<Self> {
        [
            Self::Range,
            Self::RoundRobin,
            Self::Sticky,
            Self::CooperativeSticky,
        ]
        .into_iter()
        .find(|assignor| assignor.name() == name)
    }

    /// Whether members keep what they have while a rebalance goes on.
    pub(super) fn is_cooperative(self) -> bool {
        self == Self::CooperativeSticky
    }

    /// What each candidate is to own in the end, in the order of `members`, ascending: every partition exactly once.
    pub(super) fn target(self, partitions: u32, members: &[Candidate<'_>]) -> Vec<Vec<u32>> {
        let order = by_name(members);
        match self {
            Self::Range => range::assign(partitions, &order),
            Self::RoundRobin => round_robin::assign(partitions, &order),
            Self::Sticky | Self::CooperativeSticky => sticky::assign(partitions, members, &order),
        }
    }
}

/// The places of the members in the order of their names.
fn by_name(members: &[Candidate<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_unstable_by_key(|&member| members[member].name);
    debug_assert!(
        order
            .windows(2)
            .all(|pair| members[pair[0]].name != members[pair[1]].name),
        "names are unique: else the order of joining decides"
    );
    order
}

/// The least that each of `members` gets, and how many of them get one more.
fn even(partitions: u32, members: usize) -> (usize, usize) {
    let partitions = partitions as usize;
    (partitions / members, partitions % members)
}
