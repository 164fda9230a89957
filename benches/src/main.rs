//! `dotmsg-bench`: measures the figures of `docs/benchmarks.md` and prints them beside their bars.
//!
//! One program in two roles. As the **driver** it starts itself again as a child for every
//! measurement; as the **workload** (the hidden first argument `workload`) it does one piece of work once and prints
//! its [`Outcome`](workload::Outcome) as JSON. A child per measurement, because valgrind needs a process to itself,
//! because a peak of resident memory belongs to a process, and because no workload may warm caches for the next.
//!
//! What must stay true: the driver knows names and numbers only, and a workload never knows what it is compared with.

mod bars;
mod measure;
mod options;
mod region;
mod report;
mod workload;
mod zipf;

use std::process::ExitCode;

use options::Command;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = options::parse(&arguments).and_then(|command| match command {
        Command::Workload {
            name,
            messages,
            warm_up,
        } => workload::run_and_print(&name, messages, warm_up),
        Command::List => report::list(),
        Command::Help => report::help(),
        Command::Measure(options) => bars::run(&options),
    });
    match done {
        Ok(code) => code,
        Err(message) => {
            // The driver has no logger: its errors are for the person at the terminal.
            report::complain(&message);
            ExitCode::from(2)
        }
    }
}
