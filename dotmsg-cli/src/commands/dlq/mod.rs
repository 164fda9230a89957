//! `dlq`: dead letters, looked at and done away with.
//!
//! A letter is *left* until it was replayed or discarded; which ones are is kept as positions of the group `<group>.replay` in
//! the dead-letter topic, so that every desk knows it.

mod canary;
mod discard;
mod export;
mod group;
mod letter;
mod list;
mod replay;
mod select;
mod show;

pub(crate) use replay::{count, ranges};

use clap::Subcommand;

use crate::desk::Desk;
use crate::exit::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// A line for each dead letter that is left
    List(list::List),
    /// Everything about dead letters: why they were given up, where they are from, headers, payload
    Show(show::Show),
    /// Dead letters by what they have in common
    Group(group::Group),
    /// Give dead letters back to their group, each once
    Replay(replay::ReplayArgs),
    /// Give dead letters up: they stay in their topic, and no list or replay takes them again
    Discard(discard::Discard),
    /// Dead letters in full, as lines of JSON
    Export(export::Export),
}

impl Dlq {
    pub(crate) fn works(&self) -> bool {
        matches!(self, Self::Replay(replay) if replay.works())
    }

    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        match self {
            Self::List(list) => list.run(desk).await,
            Self::Show(show) => show.run(desk).await,
            Self::Group(group) => group.run(desk).await,
            Self::Replay(replay) => replay.run(desk).await,
            Self::Discard(discard) => discard.run(desk).await,
            Self::Export(export) => export.run(desk).await,
        }
    }
}
