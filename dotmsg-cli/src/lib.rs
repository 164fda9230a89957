//! The `dotmsg` command, as a library: topics, lag, dead letters and positions of a service, from a terminal.
//!
//! The binary knows the routes that its configuration file describes in full. Those whose topic or group stands in an
//! attribute of the code are known to the service alone: it offers the same commands over its own app.
//!
//! ```no_run
//! # use dotmsg::{App, HandlerError};
//! # #[dotmsg::handler(topic = "orders", group = "billing")]
//! # async fn bill(order: &[u8]) -> Result<(), HandlerError> { Ok(()) }
//! # async fn main_of_a_service() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
//! let app: App = App::from_config("dotmsg.toml")?.handler(bill);
//! // `billing admin dlq list bill`
//! let mut args = std::env::args_os();
//! if args.nth(1).is_some_and(|word| word == "admin") {
//!     let args = ["billing admin".into()].into_iter().chain(args);
//!     return Ok(dotmsg_cli::run(app, args).await.into());
//! }
//! app.run().await?;
//! # Ok(std::process::ExitCode::SUCCESS)
//! # }
//! ```
//!
//! Every command works through the contract of a backend, so it does the same on each; `--json` makes its output JSON, one object
//! a line; the exit codes are [`Exit`]. What each command says and does: `docs/cli.md`.
//!
//! - `args`, `standalone`, `described`, `called`: what a command line says; the binary, without handlers; a route in words; what a
//!   service calls its commands;
//! - `commands`: a file or folder for each;
//! - `desk`: what all of them work with: the open app, which routes are meant, and where to write;
//! - `console`, `escape`, `table`, `json`, `time`, `exit`: output, and how a command ends.
//!
//! What must stay true: bytes of messages reach a terminal escaped only; results go to standard output and nothing else does;
//! what cannot be taken back is asked for, or said with `--yes`.

mod args;
mod called;
mod commands;
mod console;
mod described;
mod desk;
mod escape;
mod exit;
mod json;
mod progress;
mod seek;
mod standalone;
mod table;
mod time;

pub use console::{Captured, Console};
pub use exit::Exit;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use dotmsg::App;
use dotmsg::app::AppHandle;

use args::{Common, Embedded};
use called::Called;
use commands::Command;
use desk::Desk;
use exit::{Failure, Outcome};

/// Runs the command `dotmsg`: `args` as [`std::env::args_os`] gives them, on the process's own streams.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime
            .block_on(standalone::run(args, &mut Console::process()))
            .into(),
        Err(error) => {
            let mut console = Console::process();
            ended(&mut console, false, Err(Failure::Io(error))).into()
        }
    }
}

/// Runs a command over a service's own app, on the process's own streams. The first of `args` is what the command is
/// called, all its words and the program first (`billing admin`): help and completions are for that.
///
/// The app is opened and its handlers are not run, but for commands that are told to (`--work`).
pub async fn run<S>(app: App<S>, args: impl IntoIterator<Item = OsString>) -> Exit
where
    S: Send + Sync + 'static,
{
    run_in(app, args, &mut Console::process()).await
}

/// [`run`] on other streams.
pub async fn run_in<S>(
    app: App<S>,
    args: impl IntoIterator<Item = OsString>,
    console: &mut Console,
) -> Exit
where
    S: Send + Sync + 'static,
{
    let args: Vec<OsString> = args.into_iter().collect();
    match Embedded::try_parse_from(&args) {
        Ok(line) => {
            let json = line.common.json;
            let outcome = embedded(app, &Called::by(args.first()), line, console).await;
            ended(console, json, outcome)
        }
        Err(error) => args::refused(&error, console),
    }
}

/// [`run`] on an app that is open or runs already, on these streams: for a service that answers such commands while it works.
pub async fn run_on(
    app: &AppHandle,
    args: impl IntoIterator<Item = OsString>,
    console: &mut Console,
) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    match Embedded::try_parse_from(&args) {
        Ok(line) => {
            let json = line.common.json;
            let outcome = answered(app, &Called::by(args.first()), line, console).await;
            ended(console, json, outcome)
        }
        Err(error) => args::refused(&error, console),
    }
}

async fn embedded<S>(app: App<S>, called: &Called, line: Embedded, console: &mut Console) -> Outcome
where
    S: Send + Sync + 'static,
{
    let description = &mut called.description();
    if let Some(done) = line.command.without_app(description, console)? {
        return Ok(done);
    }
    if let Command::Config(show) = line.command {
        return show.run(&app.explain()?, line.common.json, console);
    }
    if !line.command.works() {
        let handle = app.open().await?;
        return closing(&handle, line.command, line.common, console).await;
    }
    let running = app.start().await?;
    let outcome = on(running.handle(), line.command, line.common, console).await;
    running.handle().drain();
    running.wait().await?;
    outcome
}

async fn answered(
    handle: &AppHandle,
    called: &Called,
    line: Embedded,
    console: &mut Console,
) -> Outcome {
    let description = &mut called.description();
    match line.command.without_app(description, console)? {
        Some(done) => Ok(done),
        None => on(handle, line.command, line.common, console).await,
    }
}

/// Runs a command on an open app, and closes it.
async fn closing(
    handle: &AppHandle,
    command: Command,
    common: Common,
    console: &mut Console,
) -> Outcome {
    let outcome = on(handle, command, common, console).await;
    let closed = handle.close().await;
    let exit = outcome?;
    closed?;
    Ok(exit)
}

async fn on(
    handle: &AppHandle,
    command: Command,
    common: Common,
    console: &mut Console,
) -> Outcome {
    let mut desk = Desk::new(handle, &common, console);
    let exit = command.run(&mut desk).await?;
    console.out.flush()?;
    Ok(exit)
}

/// Prints a failure, and gives the exit.
fn ended(console: &mut Console, json: bool, outcome: Outcome) -> Exit {
    let (exit, kind, message) = match outcome {
        Ok(exit) => return exit,
        // Whoever read the output has seen enough.
        Err(Failure::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Exit::Done,
        Err(Failure::Io(error)) => (Exit::Failed, "io".to_owned(), error.to_string()),
        Err(Failure::Usage(message)) => (Exit::Usage, "usage".to_owned(), message),
        Err(Failure::Failed(error)) => (
            Exit::Failed,
            format!("{:?}", error.kind()),
            error.to_string(),
        ),
    };
    // Nothing is left to tell it to when this fails.
    let _ = match json {
        true => {
            let line = serde_json::json!({ "error": message, "kind": kind }).to_string();
            writeln!(console.err, "{}", escape::json(&line))
        }
        false => writeln!(console.err, "error: {}", escape::lines(&message)),
    };
    exit
}

/// A service may answer in a task of its own.
#[cfg(test)]
#[allow(dead_code, reason = "it is compiled, not called")]
fn a_command_may_be_spawned(app: App<()>, handle: &AppHandle, console: &mut Console) {
    fn may_be_spawned(_: impl Future + Send) {}
    may_be_spawned(run_on(handle, [], console));
    may_be_spawned(run_in(app, [], console));
}

/// The page of the command, compiled: a snippet that does not work is a failing test.
#[cfg(doctest)]
#[doc = include_str!("../../docs/cli.md")]
mod docs {}
