//! One member or the publisher of a trial on Kafka that a harness watches from outside (`cargo xtask faults kafka --bars`).
//!
//! `kafka_probe publish FROM COUNT RATE KEYS` publishes rows, so many a second; `kafka_probe handle DELAY_MS [STUCK]` handles them
//! until SIGTERM, and never ends the call of the row `STUCK`. Either reads `dotmsg.toml` where it is started. A member appends a line
//! to a file in `audit/` when a call ends, before its settlement: what a kill leaves of it is what had ended. The lines are those of
//! the example flights, so that the same checkers judge both.

mod audit;
mod handle;
mod publish;

use std::process::ExitCode;
use std::time::Duration;

use dotmsg::Config;
use dotmsg::app::{Adapters, App};
use dotmsg::backend::Registry;

/// The topic of all rows, behind the prefix of the configuration.
const TOPIC: &str = "events";
const USAGE: &str = "kafka_probe publish FROM COUNT RATE KEYS | handle DELAY_MS [STUCK]";

/// The Kafka adapter alone.
struct Kafka;

impl Adapters for Kafka {
    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry.register("kafka", dotmsg_kafka::kafka_factory());
        registry
    }
}

type Probe = App<(), Kafka>;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kafka_probe: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let app = || config().map(Probe::with_config);
    match words[..] {
        ["publish", from, count, rate, keys] => {
            let [from, count, rate, keys] =
                [number(from)?, number(count)?, number(rate)?, number(keys)?];
            publish::run(app()?, from..from + count, rate.max(1), keys.max(1)).await
        }
        ["handle", delay] => handle::run(app()?, delay_of(delay)?, None).await,
        ["handle", delay, stuck] => {
            handle::run(app()?, delay_of(delay)?, Some(number(stuck)?)).await
        }
        _ => Err(USAGE.to_owned()),
    }
}

fn config() -> Result<Config, String> {
    let config = Config::from_file("dotmsg.toml").map_err(|error| error.to_string())?;
    Ok(config.env_os(std::env::vars_os()))
}

fn number(word: &str) -> Result<u64, String> {
    word.parse()
        .map_err(|_| format!("`{word}` is no number; {USAGE}"))
}

fn delay_of(word: &str) -> Result<Duration, String> {
    number(word).map(Duration::from_millis)
}
