//! Many seeds: run on as many threads as there are cores, each seed in a runtime of its own.
//!
//! The result does not depend on the threads: the failing seed that is told is the lowest one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::check::Violation;
use super::history::{History, What};
use super::plan::{Plan, Size};
use super::shrink::shrink;
use super::world::lock;
use super::{Canary, run_scripted};

/// Seeds to be run with the scripted app.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// Which.
    pub seeds: Range<u64>,
    /// How large their plans are.
    pub size: Size,
    /// Threads.
    pub threads: usize,
    /// A fault of the runtime that is to be found.
    pub canary: Option<Canary>,
}

/// A seed whose run broke a promise.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The seed.
    pub seed: u64,
    /// What it broke.
    pub violations: Vec<Violation>,
}

/// What came of a campaign.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Seeds that were run. Fewer than asked for when one failed.
    pub runs: u64,
    /// Events of all of them.
    pub events: u64,
    /// The lowest seed that failed.
    pub failing: Option<Failing>,
    /// How often each thing happened: what never does is not tested.
    pub coverage: BTreeMap<String, u64>,
}

impl Campaign {
    /// Runs the seeds until one fails.
    #[must_use]
    pub fn run(&self) -> Outcome {
        self.run_telling(&|_, _| ())
    }

    /// The same; tells which seed each thread begins. Virtual time has no end for a task that never waits, so that a program
    /// that must end keeps an eye on the real one.
    #[must_use]
    pub fn run_telling(&self, begins: &(dyn Fn(usize, u64) + Sync)) -> Outcome {
        let next = AtomicU64::new(self.seeds.start);
        let end = AtomicU64::new(self.seeds.end);
        let outcome = Mutex::new(Outcome::default());
        std::thread::scope(|scope| {
            for thread in 0..self.threads.max(1) {
                let begins = move |seed| begins(thread, seed);
                let (next, end, outcome) = (&next, &end, &outcome);
                scope.spawn(move || self.work(begins, next, end, outcome));
            }
        });
        outcome.into_inner().unwrap_or_default()
    }

    /// Takes seeds until there are no more below the lowest that failed.
    fn work(
        &self,
        begins: impl Fn(u64),
        next: &AtomicU64,
        end: &AtomicU64,
        outcome: &Mutex<Outcome>,
    ) {
        let mut coverage = Coverage::default();
        let (mut runs, mut events) = (0, 0);
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if seed >= end.load(Relaxed) {
                break;
            }
            begins(seed);
            let (history, violations) = run_scripted(Plan::draw(seed, self.size), self.canary);
            runs += 1;
            events += history.events.len() as u64;
            coverage.add(&history);
            if !violations.is_empty() {
                end.fetch_min(seed, Relaxed);
                let failing = &mut lock(outcome).failing;
                if failing.as_ref().is_none_or(|lowest| seed < lowest.seed) {
                    *failing = Some(Failing { seed, violations });
                }
            }
        }
        let mut outcome = lock(outcome);
        outcome.runs += runs;
        outcome.events += events;
        for (what, times) in coverage.0 {
            *outcome.coverage.entry(what).or_insert(0) += times;
        }
    }
}

/// Makes a plan that breaks a promise smaller; it still breaks the promise that it broke first.
#[must_use]
pub fn shrink_failing(plan: &Plan, first: &Violation, canary: Option<Canary>) -> Plan {
    shrink(plan, |plan| {
        let (_, violations) = run_scripted(plan.clone(), canary);
        violations
            .iter()
            .any(|one| one.invariant == first.invariant)
    })
}

/// How often what happened.
#[derive(Default)]
struct Coverage(BTreeMap<String, u64>);

impl Coverage {
    fn add(&mut self, history: &History) {
        for event in &history.events {
            let what = match &event.what {
                What::Killed(Some(point)) => format!("killed {point}"),
                What::Killed(None) => "killed".to_owned(),
                What::Froze => "stands still".to_owned(),
                What::Stopped(0) => "stopped".to_owned(),
                What::Stopped(_) => "stopped, some abandoned".to_owned(),
                What::Failed(kind, _) => format!("failed: {kind:?}"),
                What::Lost(_) => "partition lost".to_owned(),
                What::Revoking(_) => "partition asked back".to_owned(),
                What::Released(..) => "partition released".to_owned(),
                What::Batch { again: true, .. } => "batch delivered twice".to_owned(),
                What::Ended(_, became) => match became {
                    crate::testing::Became::Away(_) => "went away".to_owned(),
                    other => format!("came to {other:?}"),
                },
                What::Published { told, place, .. } if *told != super::Told::Ok => {
                    format!("publish told {told:?}, was {}", done(place.is_some()))
                }
                What::Replayed(0) => "replay of nothing".to_owned(),
                What::Replayed(_) => "replay".to_owned(),
                What::Reset(..) => "position moved".to_owned(),
                What::Recreated => "topic made anew".to_owned(),
                What::Appended { told, offset, .. } if *told != super::Told::Ok => {
                    format!("append told {told:?}, was {}", done(offset.is_some()))
                }
                What::Commit { told, stored, .. } if *told != super::Told::Ok => {
                    format!("commit told {told:?}, was {}", done(*stored))
                }
                What::Broker { up: false } => "broker down".to_owned(),
                _ => continue,
            };
            *self.0.entry(what).or_insert(0) += 1;
        }
    }
}

fn done(done: bool) -> &'static str {
    if done { "stored" } else { "not stored" }
}
