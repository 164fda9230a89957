//! 27,004 real flights through an annotated handler, with key order, retries, dead letters and committed progress.
//!
//! Begin with `handlers.rs`: that is what one writes with dotmsg. The rest of this folder is what makes the example a proof.
//! `publish.rs` feeds it (resumable), `ledger.rs` folds what the handlers noted into a table that is exact however often the
//! process was killed, `trial.rs` injects failures and audits every call,
//! `settle.rs` knows when all is done.
//!
//! Run it with `cargo run --release --example flights`; `-- --help` lists its options.

mod handlers;
mod input;
mod journal;
mod ledger;
mod options;
mod progress;
mod publish;
mod run;
mod settle;
mod table;
mod trial;

use std::io::Write;
use std::process::ExitCode;

use dotmsg::{App, FromRef};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::ledger::Ledger;
use crate::options::{Options, Role, USAGE};
use crate::run::{End, Run};
use crate::trial::Trial;

/// Whatever ends the example early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What the handlers share.
#[derive(FromRef)]
struct Shared {
    trial: Trial,
    ledger: Ledger,
}

#[tokio::main]
async fn main() -> ExitCode {
    log();
    match flights().await {
        Ok(end) => end.into(),
        Err(failure) => {
            eprintln!("flights: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Prints on standard error what `RUST_LOG` names, such as `warn,dotmsg_core::middleware=off`; nothing when it is not set, since
/// hundreds of these flights are dead letters.
fn log() {
    let named = std::env::var("RUST_LOG").ok();
    let what: Targets = named
        .and_then(|named| named.parse().ok())
        .unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(what).init();
}

async fn flights() -> Result<End, Failure> {
    let Some(options) = Options::parse(std::env::args_os().skip(1))? else {
        print(USAGE)?;
        return Ok(End::Finished);
    };
    let config = options.config()?;
    let backends = config.backends()?;
    let main = backends.iter().find(|backend| backend.name == "main");
    let main = main.ok_or("no backend is named main")?;
    let run = Run::new(&options, main)?;
    let app = App::with_config(config);
    let (text, end) = if options.role == Role::Publish {
        (run.publish(app.start().await?).await?, End::Finished)
    } else {
        let shared = Shared {
            trial: Trial::new(options.disturbances, options.audit.as_deref())?,
            ledger: Ledger::open(&run.state)?,
        };
        let trial = shared.trial.clone();
        let running = app
            .state(shared)
            .handler(handlers::flight)
            .handler(handlers::total)
            .handler(handlers::dead)
            .start()
            .await?;
        run.handle(running, &trial).await?
    };
    print(&text)?;
    Ok(end)
}

fn print(text: &str) -> Result<(), Failure> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
