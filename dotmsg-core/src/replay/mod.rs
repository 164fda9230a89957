//! Dead letters: listing them, and replaying them to the group that gave them up.
//!
//! A replay is private to its group: a dead letter of `<topic>.<group>.dlq` goes to `<topic>.<group>.replay`, into the
//! partition of the same number, where only this group reads it. It keeps its identity and its origin, starts with attempt
//! 1 again and counts how often it was replayed. Other groups of the topic never see it;
//! [`Replay::to_origin`] says otherwise, explicitly.
//!
//! - `letter`, `letters`: what a dead letter says, and reading them in order up to the end seen at the start;
//! - `origin`: the payload of a dead letter that was written by reference;
//! - `filter`, `cursor`, `run`: which ones, from where, and the paced, resumable run.
//!
//! What must stay true: a record is passed by the cursor only once its replay is confirmed (or it was left out for a
//! reason that is counted), so that a crash repeats at most the one that was on its way; the run ends even when what it
//! replays becomes a dead letter again.

mod cursor;
mod filter;
mod letter;
mod letters;
mod origin;
mod run;

pub use cursor::ReplayCursor;
pub use letter::DeadLetter;
pub use letters::DeadLetters;
pub use run::{Replay, ReplayReport, ReplayRun, ReplayStep, ReplayVerdict};
