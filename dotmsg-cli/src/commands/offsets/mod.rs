//! `offsets`: the positions of a group.

mod reset;
mod show;

pub(crate) use reset::place;

use clap::Subcommand;

use crate::desk::Desk;
use crate::exit::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum Offsets {
    /// What is stored of a group, partition by partition
    Show(show::Show),
    /// Move the position of a group that is stopped, after a preview
    Reset(reset::ResetArgs),
}

impl Offsets {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        match self {
            Self::Show(show) => show.run(desk).await,
            Self::Reset(reset) => reset.run(desk).await,
        }
    }
}
