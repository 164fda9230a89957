//! The task runner of the workspace: `cargo xtask <task>`.
//!
//! One program holds every task, so that a contributor and CI run the same thing. It depends on `serde_json` alone:
//! every CI run compiles it first. Tasks print what they run; the first failure ends the run with a non-zero exit code.

#![expect(
    clippy::print_stdout,
    reason = "a task runner speaks on standard output"
)]

mod arrows;
mod audit;
mod bench;
mod cargo;
mod check;
mod clock;
mod deny;
mod faults;
mod flights;
mod kill_loop;
mod lexer;
mod links;
mod modules;
mod mutants;
mod pager;
mod random;
mod services;
mod sessions;
mod sim;
mod step;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  check                           format, clippy, docs, each feature alone, arrows, module docs, tidy
  test [--offline]                all that CI needs; --offline leaves real servers out
  sessions                        the terminal sessions of the documentation replayed, its excerpts of examples compared
  kill-loop --rounds N [--seed S] flights killed at random moments, then finished and audited
  faults kafka --rounds N [--seed S] [--only R]
                                  flights as several processes on three brokers; members and brokers killed, frozen and restarted,
                                  the lines between them cut, slowed and silenced
  faults kafka --bars             what a kill repeats, how long a rolling restart leaves partitions alone; --unclean: an unclean
                                  election is noticed
  mutants [NAME…] [--list]        each broken runtime of a list is found by the simulation
  sim --seeds N [--from S]        simulations of the runtime, until a seed fails; --plan FILE runs a kept one again,
                                  --scenarios the named ones; any other argument goes to the program too
  services up|down|env|status     real servers for tests, on this machine; `cargo xtask services` alone lists commands
  bench [ARGS]                    the benchmarks; ARGS go to the bench program (--json)
  bench kafka [ARGS]              dotmsg and the bare client on a real Kafka (w1 w1-1k w2 w3 w4 --n N --rounds R --keep)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<(), String> {
    let Some((task, rest)) = args.split_first() else {
        return Err(format!("no task named\n{USAGE}"));
    };
    match task.as_str() {
        "check" => {
            no_more(rest)?;
            check::run()
        }
        "test" => test::run(rest),
        "sessions" => {
            no_more(rest)?;
            sessions::run()
        }
        "kill-loop" => kill_loop::run(rest),
        "faults" => faults::run(rest),
        "mutants" => mutants::run(rest),
        "bench" => bench::run(rest),
        "services" => services::run(rest),
        "sim" => sim::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => Err(format!("no task `{other}`\n{USAGE}")),
    }
}

/// Refuses left-over arguments: a mistyped option must not pass as if it had been obeyed.
fn no_more(rest: &[String]) -> Result<(), String> {
    match rest.first() {
        Some(extra) => Err(format!("unknown argument `{extra}`\n{USAGE}")),
        None => Ok(()),
    }
}
