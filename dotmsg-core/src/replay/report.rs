//! What a replay came to.

/// How many dead letters came to what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Published and confirmed; in a dry run, those that would have been.
    pub replayed: u64,
    /// Given up ([`Replay::discard`](super::Replay::discard)); in a dry run, those that would have been.
    pub discarded: u64,
    /// An earlier run has replayed or discarded them. Counted in offsets, so that gaps, on brokers that have some, are among them.
    pub replayed_before: u64,
    /// Left out by a condition.
    pub filtered: u64,
    /// Chosen, and beyond the limit of this run.
    pub beyond_limit: u64,
    /// Left out by the loop guard.
    pub exhausted: u64,
    /// By reference, and gone at their origin.
    pub gone: u64,
    /// Too large for the topic they were to go to.
    pub too_large: u64,
    /// Records that are no dead letters of this group and topic.
    pub foreign: u64,
    /// Removed by retention before they were replayed, and not reported by an earlier run.
    pub removed: u64,
    /// Replayed or discarded, but too scattered for the backend's limit on a position record: a later run replays them again.
    pub unrecorded: u64,
}

/// Why a dead letter is left out; it stays for a later run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    Filtered,
    BeyondLimit,
    Exhausted,
    Gone,
    TooLarge,
    Foreign,
}

impl ReplayReport {
    pub(super) fn count(&mut self, left_out: LeftOut) {
        *match left_out {
            LeftOut::Filtered => &mut self.filtered,
            LeftOut::BeyondLimit => &mut self.beyond_limit,
            LeftOut::Exhausted => &mut self.exhausted,
            LeftOut::Gone => &mut self.gone,
            LeftOut::TooLarge => &mut self.too_large,
            LeftOut::Foreign => &mut self.foreign,
        } += 1;
    }
}
