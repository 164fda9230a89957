//! Runs simulations of the runtime: `cargo xtask sim` builds it in release and hands its arguments over.
//!
//! An example and not a binary, so that nobody who installs the crate gets it, and a program of its own, so that one
//! seed can be compared between two processes.

#![allow(clippy::print_stdout, reason = "a program speaks on standard output")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dotmsg_core::sim::campaign::{Campaign, shrink_failing};
use dotmsg_core::sim::check::Violation;
use dotmsg_core::sim::scenarios::SCENARIOS;
use dotmsg_core::sim::{Canary, History, Plan, Size, run_scripted};

const USAGE: &str = "\
usage: simulate [--seeds N] [--from S]      N seeds from S on, until one fails
                [--hash]                    one line per seed with the hash of what happened, and go on
                [--coverage]                how often each thing happened
                [--messages N] [--members N] [--faults N]   the size of a plan
                [--threads N]               default: one per core
                [--canary]                  break the runtime on purpose: a seed has to fail
                [--keep DIR]                where the plan of a failing seed is written; default: target/sim
       simulate --plan FILE [--trace]       run one plan again, with everything that happened
       simulate --seed S [--trace]          the same of one seed
       simulate --scenarios                 the scenarios that have a name, each played";

/// A seed takes milliseconds; one that takes so long hangs.
const SEED_WITHIN: Duration = Duration::from_secs(60);

struct Options {
    from: u64,
    seeds: u64,
    one: bool,
    size: Size,
    threads: usize,
    canary: Option<Canary>,
    hash: bool,
    coverage: bool,
    trace: bool,
    scenarios: bool,
    plan: Option<PathBuf>,
    keep: PathBuf,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        from: 0,
        seeds: 500,
        one: false,
        size: Size::default(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        canary: None,
        hash: false,
        coverage: false,
        trace: false,
        scenarios: false,
        plan: None,
        keep: PathBuf::from("target/sim"),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || {
            args.next()
                .ok_or_else(|| format!("`{arg}` needs a value\n{USAGE}"))
        };
        fn number<T: std::str::FromStr>(value: String) -> Result<T, String> {
            value
                .parse()
                .map_err(|_| format!("`{value}` is no number\n{USAGE}"))
        }
        match arg.as_str() {
            "--seeds" => options.seeds = number(value()?)?,
            "--from" => options.from = number(value()?)?,
            "--seed" => (options.from, options.one) = (number(value()?)?, true),
            "--messages" => options.size.messages = number(value()?)?,
            "--members" => options.size.members = number(value()?)?,
            "--faults" => options.size.faults = number(value()?)?,
            "--threads" => options.threads = number(value()?)?,
            "--plan" => options.plan = Some(value()?.into()),
            "--keep" => options.keep = value()?.into(),
            "--canary" => options.canary = Some(Canary::CommitFirst),
            "--hash" => options.hash = true,
            "--coverage" => options.coverage = true,
            "--trace" => options.trace = true,
            "--scenarios" => options.scenarios = true,
            _ => return Err(format!("unknown argument `{arg}`\n{USAGE}")),
        }
    }
    Ok(options)
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool, String> {
    if let Some(file) = &options.plan {
        let shown = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read {shown}: {error}"))?;
        let plan: Plan = text.parse().map_err(|error| format!("{shown}: {error}"))?;
        return Ok(one(plan, options));
    }
    if options.scenarios {
        return Ok(scenarios());
    }
    if options.one {
        return Ok(one(Plan::draw(options.from, options.size), options));
    }
    if options.hash {
        for seed in options.from..options.from + options.seeds {
            let (history, _) = run_scripted(Plan::draw(seed, options.size), options.canary);
            println!("{seed} {:016x} {}", history.hash(), history.events.len());
        }
        return Ok(true);
    }
    campaign(options)
}

fn one(plan: Plan, options: &Options) -> bool {
    let (history, violations) = run_scripted(plan.clone(), options.canary);
    if options.trace {
        println!("{plan}\n{}", history.text(None));
    }
    println!(
        "hash {:016x}, {} events",
        history.hash(),
        history.events.len()
    );
    tell(&history, &violations);
    violations.is_empty()
}

/// Plays every scenario; whether all are well.
fn scenarios() -> bool {
    let mut well = true;
    for scenario in SCENARIOS {
        let played = scenario.play();
        let problem = match (played.violations.first(), played.reached) {
            (Some(violation), _) => Some(violation.to_string()),
            (None, true) => None,
            (None, false) => Some("it does not get to what it is about".to_owned()),
        };
        well &= problem.is_none();
        match problem {
            None => println!("{}: ok\n    {}", scenario.name, scenario.about),
            Some(problem) => println!("scenario {} fails: {problem}", scenario.name),
        }
    }
    well
}

fn campaign(options: &Options) -> Result<bool, String> {
    let campaign = Campaign {
        seeds: options.from..options.from + options.seeds,
        size: options.size,
        threads: options.threads,
        canary: options.canary,
    };
    let began = now();
    let watch = Arc::new(Mutex::new(BTreeMap::new()));
    watch_over(Arc::clone(&watch));
    let outcome = campaign.run_telling(&|thread, seed| {
        lock(&watch).insert(thread, (seed, now()));
    });
    lock(&watch).clear();
    let took = began.elapsed().as_secs_f64();
    #[allow(clippy::cast_precision_loss, reason = "shown with no digits")]
    let rate = outcome.runs as f64 / took;
    #[allow(clippy::cast_precision_loss, reason = "a handful")]
    let per_core = rate / options.threads as f64;
    let Size {
        messages,
        members,
        faults,
    } = options.size;
    println!(
        "{} seeds of {messages} messages, {members} members, {faults} faults in {took:.1} s: {rate:.0} seeds/s on {} threads, {per_core:.0} seeds/s/core; {} events a seed",
        outcome.runs,
        options.threads,
        outcome.events / outcome.runs.max(1)
    );
    if options.coverage {
        for (what, times) in &outcome.coverage {
            println!("{times:>10}  {what}");
        }
    }
    let Some(failing) = outcome.failing else {
        return Ok(true);
    };
    println!("\nseed {} fails: {}", failing.seed, failing.violations[0]);
    let plan = Plan::draw(failing.seed, options.size);
    let small = shrink_failing(&plan, &failing.violations[0], options.canary);
    let (history, violations) = run_scripted(small.clone(), options.canary);
    println!(
        "\nmade smaller, {} messages and {} faults:\n\n{small}",
        small.messages.len(),
        small.faults.len()
    );
    tell(&history, &violations);
    keep(options, failing.seed, &small, &violations)?;
    Ok(false)
}

/// The seed that each thread runs, and since when.
type Watch = Arc<Mutex<BTreeMap<usize, (u64, Instant)>>>;

#[allow(
    clippy::disallowed_methods,
    reason = "how fast the real machine is, and whether it gets anywhere"
)]
fn now() -> Instant {
    Instant::now()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the program when a seed does not: a task that never waits would keep virtual time still for ever.
fn watch_over(watch: Watch) {
    std::thread::spawn(move || {
        loop {
            std::thread::park_timeout(Duration::from_secs(1));
            let stuck = |(_, since): &&(u64, Instant)| since.elapsed() > SEED_WITHIN;
            if let Some((seed, _)) = lock(&watch).values().find(stuck) {
                println!(
                    "\nseed {seed} fails: it has not ended within {} s of real time",
                    SEED_WITHIN.as_secs()
                );
                std::process::exit(1);
            }
        }
    });
}

fn tell(history: &History, violations: &[Violation]) {
    for violation in violations {
        println!("violation: {violation}");
    }
    if let Some(place) = violations.iter().find_map(|one| one.place) {
        println!("\nwhat happened to {place}:\n{}", history.text(Some(place)));
    }
}

fn keep(options: &Options, seed: u64, plan: &Plan, violations: &[Violation]) -> Result<(), String> {
    let file = options.keep.join(format!("seed-{seed}.plan"));
    let comment = violations
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    let written = std::fs::create_dir_all(&options.keep)
        .and_then(|()| std::fs::write(&file, plan.with_comment(&comment)));
    let shown = file.display();
    written.map_err(|error| format!("cannot write {shown}: {error}"))?;
    println!("run it again: cargo xtask sim --plan {shown} --trace");
    Ok(())
}
