//! `kafka_peer`: dotmsg on a real Kafka, as a program that joins any comparison, and what it is compared with.
//!
//! `w1` to `w4` run a dotmsg app; `bare-w1` to `bare-w4` do the same work by hand on the same client library, tuned. Each handles
//! `N` messages of `TOPIC` from the earliest offset on, commits, and prints one JSON line. `fill` makes and fills a topic, and
//! `compare` runs all of it in turn and prints a table.
//!
//! What must stay true: both sides count with the same [`Meter`](meter::Meter) and decode into the same type, so that a
//! difference between them is the framework's.

mod bare;
mod bare_publish;
mod bare_slow;
mod client;
mod compare;
mod environment;
mod fill;
mod meter;
mod own;
mod payment;

use std::io::Write;
use std::process::ExitCode;

use environment::Environment;

/// Whatever ends the program early, as a sentence for the person at the terminal.
type Outcome = Result<(), String>;

const USAGE: &str = "\
usage: kafka_peer w1 | w2 | w3 | w4                          a dotmsg app: count | decode and add | 100 ms handler | decode, change, publish
       kafka_peer w4-once                                    w4 in transactions: delivery = \"exactly_once\"
       kafka_peer bare-w1 | bare-w2 | bare-w3 | bare-w4      the same by hand, on the client library alone
       kafka_peer fill 100b | 1k | json PARTITIONS           makes TOPIC and fills it with N messages of 100,000 keys
       kafka_peer compare [w1] [w1-1k] [w2] [w3] [w4] [--n N] [--rounds R] [--keep]

environment: BOOT (127.0.0.1:9092), TOPIC, GROUP_ID (bench), N (all that is asked for), CONCURRENCY, OUT_TOPIC (w4)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // The program has no logger: its errors are for whoever started it.
            let _ = writeln!(std::io::stderr(), "error: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &[String]) -> Outcome {
    let Some((mode, rest)) = arguments.split_first() else {
        return Err(format!("no mode named\n{USAGE}"));
    };
    if mode == "compare" {
        return compare::run(rest);
    }
    let environment = Environment::read()?;
    match (&**mode, rest) {
        ("w1", []) => own::count(&environment),
        ("w2", []) => own::add(&environment),
        ("w3", []) => own::slow(&environment),
        ("w4", []) => own::transform(&environment),
        ("w4-once", []) => own::transform_once(&environment),
        ("bare-w1", []) => bare::count(&environment),
        ("bare-w2", []) => bare::add(&environment),
        ("bare-w3", []) => bare_slow::run(&environment),
        ("bare-w4", []) => bare_publish::run(&environment),
        ("fill", [shape, partitions]) => fill::run(&environment, shape, partitions),
        _ => Err(format!(
            "`{}` is not understood\n{USAGE}",
            arguments.join(" ")
        )),
    }
}
