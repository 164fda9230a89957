//! What every command line may say, and how one that is wrong is refused.

use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgAction, Args, Parser};

use crate::commands::Command;
use crate::console::Console;
use crate::escape;
use crate::exit::Exit;

/// Topics, lag, dead letters and positions of a dotmsg service.
///
/// A ROUTE is a table [routes.<name>] of the configuration with `topic` and `group`, or what --topic and --group name.
#[derive(Debug, Parser)]
#[command(name = "dotmsg", version, after_help = AFTER_HELP, max_term_width = 120)]
pub(crate) struct Standalone {
    #[command(flatten)]
    pub(crate) source: Source,
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Topics, lag, dead letters and positions of this service.
#[derive(Debug, Parser)]
#[command(after_help = AFTER_HELP, max_term_width = 120)]
pub(crate) struct Embedded {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "Exit codes: 0 done, 1 failed, 2 done and not as it should be, 64 called in a wrong way; `help exit-codes` says more.";

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Source {
    /// The configuration file; variables DOTMSG__… of the environment win over it
    ///
    /// When it is not given and there is no dotmsg.toml, the environment alone counts.
    #[arg(short, long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A profile of the file; DOTMSG_PROFILE of the environment wins over it
    #[arg(long, global = true)]
    pub(crate) profile: Option<String>,
    /// The URL of the backend, in place of the configured one (one with a password belongs into the environment)
    #[arg(long, global = true)]
    pub(crate) url: Option<String>,
    /// A route that is not in the configuration, or not in full: its name, so that what [routes.<name>] says is for it
    /// [default: that of its group]
    // Its own id: commands have an argument ROUTE, which would take the place of a global one of the same id.
    #[arg(
        id = "described_route",
        long = "route",
        global = true,
        value_name = "NAME"
    )]
    pub(crate) route: Option<String>,
    /// The topic of such a route, without the prefix of the backend
    #[arg(long, global = true)]
    pub(crate) topic: Option<String>,
    /// The consumer group of such a route
    #[arg(long, global = true)]
    pub(crate) group: Option<String>,
    /// The delays of the retry tiers of such a route, such as 5s,1m
    #[arg(long, global = true, value_delimiter = ',', value_name = "DELAYS")]
    pub(crate) tiers: Vec<String>,
    /// Say on standard error what happens; twice: in detail
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Common {
    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Do not ask before what cannot be taken back
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// The backend, by its name in the configuration [default: main, or the route's]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) backend: Option<String>,
    /// The route that the command line describes: it is meant where no other one is named.
    #[arg(skip)]
    pub(crate) described: Option<String>,
    /// Routes that the configuration does not describe in full: their names, and what they lack.
    #[arg(skip)]
    pub(crate) incomplete: Vec<(String, String)>,
}

/// Help is an answer; everything else that clap refuses is a wrong call.
pub(crate) fn refused(error: &clap::Error, console: &mut Console) -> Exit {
    let text = error.render().to_string();
    let answer = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    );
    // Nothing is left to tell it to when this fails.
    if answer {
        let _ = write!(console.out, "{text}");
        return Exit::Done;
    }
    let _ = write!(console.err, "{}", escape::lines(&text));
    Exit::Usage
}
