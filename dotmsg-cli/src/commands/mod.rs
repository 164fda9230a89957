//! The commands, one file or folder each.

mod config;
mod describe;
mod dlq;
mod lag;
mod offsets;
mod produce;
mod tail;
mod topics;

use clap::Subcommand;
use clap_complete::Shell;

use crate::console::Console;
use crate::desk::Desk;
use crate::exit::{EXIT_CODES, Exit, Failure, Outcome};

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Routes: their settings, their layers in order, their topics
    Describe(describe::Describe),
    /// The resolved configuration, with the source of each value and without secrets
    Config(config::Show),
    /// Topics: what a start would create or refuse, or have it done
    #[command(subcommand)]
    Topics(topics::Topics),
    /// How far groups are behind, by what they have committed
    Lag(lag::LagArgs),
    /// Dead letters: look at them, replay them, give them up
    #[command(subcommand)]
    Dlq(dlq::Dlq),
    /// Positions of a group: look at them, move them
    #[command(subcommand)]
    Offsets(offsets::Offsets),
    /// Publish messages
    Produce(produce::Produce),
    /// Print the records of a topic
    Tail(tail::Tail),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// What exit codes mean
    #[command(long_about = EXIT_CODES)]
    ExitCodes,
}

impl Command {
    /// Runs what needs no app.
    pub(crate) fn without_app(
        &self,
        description: &mut clap::Command,
        console: &mut Console,
    ) -> Outcome<Option<Exit>> {
        match self {
            Self::Completions { shell } => {
                let name = description.get_name().to_owned();
                // It panics when it cannot write, so it does not meet the console.
                let mut script = Vec::new();
                clap_complete::generate(*shell, description, name, &mut script);
                console.out.write_all(&script)?;
            }
            Self::ExitCodes => writeln!(console.out, "{EXIT_CODES}")?,
            _ => return Ok(None),
        }
        console.out.flush()?;
        Ok(Some(Exit::Done))
    }

    /// Whether it is about routes; else it is about a topic of a backend.
    pub(crate) fn needs_routes(&self) -> bool {
        !matches!(self, Self::Produce(_) | Self::Tail(_))
    }

    /// Whether it wants the handlers to run meanwhile.
    pub(crate) fn works(&self) -> bool {
        match self {
            Self::Dlq(dlq) => dlq.works(),
            _ => false,
        }
    }

    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        match self {
            Self::Describe(describe) => describe.run(desk).await,
            Self::Topics(topics) => topics.run(desk).await,
            Self::Lag(lag) => lag.run(desk).await,
            Self::Dlq(dlq) => dlq.run(desk).await,
            Self::Offsets(offsets) => offsets.run(desk).await,
            Self::Produce(produce) => produce.run(desk).await,
            Self::Tail(tail) => tail.run(desk).await,
            Self::Config(_) => Err(Failure::usage(
                "an app that is open does not have its configuration any more",
            )),
            Self::Completions { .. } | Self::ExitCodes => Ok(Exit::Done),
        }
    }
}
