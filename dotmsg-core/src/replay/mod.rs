//! Dead letters: listing them, and replaying them, each once, to the group that gave them up.
//!
//! A replay is private to its group: a dead letter of `<topic>.<group>.dlq` goes to `<topic>.<group>.replay`, into the
//! partition of the same number, where only this group reads it. It keeps its identity and its origin, starts with attempt
//! 1 again and counts how often it was replayed. Other groups of the topic never see it;
//! [`Replay::to_origin`] says otherwise, explicitly.
//!
//! What was replayed is noted like any other progress: as a position record of the group `<group>.replay` in the
//! dead-letter topic. So a second run takes up what the first has left out, and nothing else; and since a run joins that
//! group, two of them never run at once.
//!
//! - `letter`, `letters`: what a dead letter says, and reading them in order up to the end seen at the start;
//! - `origin`: the payload of a dead letter that was written by reference;
//! - `options`, `filter`: which ones, how many, where to, how fast;
//! - `run`, `page`, `report`: the run, what is published together, what came of it;
//! - `pass`, `positions`: what is settled of one partition, and where that is kept; `done`: the same for whoever only looks.
//!
//! A letter that is not worth a replay is discarded ([`Replay::discard`]): noted in the same place, so that it is not met again.
//!
//! What must stay true: a dead letter is settled only once its replay is confirmed or it was discarded, so that a crash between the two
//! repeats (one page at most) and never forgets; one that was left out, for whatever reason, stays unsettled for a later
//! run; the run ends even when what it replays becomes a dead letter again.

mod done;
mod filter;
mod letter;
mod letters;
mod options;
mod origin;
mod page;
mod pass;
mod positions;
mod report;
mod run;

pub use done::Done;
pub use letter::DeadLetter;
pub use letters::DeadLetters;
pub use options::Replay;
pub use report::ReplayReport;
