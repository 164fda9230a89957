//! Simulating an app of one's own: [`sim()`].

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::check::{self, Violation};
use super::examine::examine;
use super::history::History;
use super::life::Life;
use super::plan::{Plan, Planned, Setting, Size};
use super::run::run;
use super::shrink::shrink;
use super::subject::{Subject, start_as};
use crate::app::{Adapters, App, Running};
use crate::backend::BoxFuture;
use crate::error::Result;
use crate::message::Message;

/// Runs one seed only, the one that is named.
const SEED: &str = "DOTMSG_SIM_SEED";
/// Runs so many seeds instead of those the test asks for.
const SEEDS: &str = "DOTMSG_SIM_SEEDS";

/// How long after the last fault everything has to be settled: ladders of minutes are climbed within it, one head of a key after
/// the other.
const SETTLED_WITHIN: Duration = Duration::from_secs(12 * 60 * 60);

/// What is said of a case that fails once and not again.
const UNREPEATABLE: &str = "It did not fail when it was run again. Does the app or its check read a clock, randomness or anything else \
    from outside of the seed?";

/// What a check of one's own says.
type Verdict = std::result::Result<(), String>;

/// One seed's case: an app, what is published to it, and what has to hold in the end.
pub struct Simulation<S, R> {
    app: Arc<dyn Fn() -> App<S, R> + Send + Sync>,
    messages: Arc<[(String, Message)]>,
    size: Size,
    check: Box<dyn Fn(&History) -> Verdict>,
}

impl<S, R> fmt::Debug for Simulation<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("messages", &self.messages.len())
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl<S, R> Simulation<S, R> {
    /// Of this app, which is built anew for each start of a member. What outlives a member (what its handlers write to) is
    /// made outside of the closure.
    #[must_use]
    pub fn new(app: impl Fn() -> App<S, R> + Send + Sync + 'static) -> Self {
        Self {
            app: Arc::new(app),
            messages: Arc::new([]),
            size: Size::default(),
            check: Box::new(|_| Ok(())),
        }
    }

    /// What is published, by topic, each at a time of its own. A message without an id gets its number.
    #[must_use]
    pub fn messages<T: Into<String>>(
        mut self,
        messages: impl IntoIterator<Item = (T, Message)>,
    ) -> Self {
        let messages = messages
            .into_iter()
            .map(|(topic, message)| (topic.into(), message));
        self.messages = messages.collect();
        self
    }

    /// Members of the group. Default 3.
    #[must_use]
    pub fn members(mut self, members: u32) -> Self {
        self.size.members = members;
        self
    }

    /// Things that go wrong. Default 10.
    #[must_use]
    pub fn faults(mut self, faults: u32) -> Self {
        self.size.faults = faults;
        self
    }

    /// What has to hold when everything is settled, beside what dotmsg itself promises. [`History::published`] says which of
    /// the messages there are: a failing case is made smaller by leaving some out. May also panic.
    #[must_use]
    pub fn check(mut self, check: impl Fn(&History) -> Verdict + 'static) -> Self {
        self.check = Box::new(check);
        self
    }
}

/// An app of a user.
struct Own<S, R> {
    app: Arc<dyn Fn() -> App<S, R> + Send + Sync>,
    messages: Arc<[(String, Message)]>,
}

impl<S, R> Subject for Own<S, R>
where
    S: Send + Sync + 'static,
    R: Adapters + 'static,
{
    fn start<'a>(&'a self, life: &'a Arc<Life>) -> BoxFuture<'a, Result<Running>> {
        Box::pin(start_as(life, (self.app)()))
    }

    fn message(&self, planned: &Planned) -> (&str, Message) {
        let (topic, message) = &self.messages[planned.id as usize];
        (topic, message.clone())
    }
}

/// Simulates an app of one's own over these seeds. `case` makes each seed's: the app, the messages (drawn from the seed) and
/// the check.
///
/// What dotmsg promises is checked too: nothing is lost, keys keep their order, everything is settled in the end.
///
/// `DOTMSG_SIM_SEED=17` runs that seed alone, `DOTMSG_SIM_SEEDS=10000` so many, instead of those that are given.
///
/// # Panics
/// With the first seed that fails, made as small as it gets, and the command that repeats it. And with a case that tests nothing: an app
/// that does not start, a topic that nobody reads, no seeds, messages or members.
pub fn sim<S, R>(seeds: Range<u64>, case: impl Fn(&mut fastrand::Rng) -> Simulation<S, R>)
where
    S: Send + Sync + 'static,
    R: Adapters + 'static,
{
    let seeds = match (number(SEED), number(SEEDS)) {
        (Some(seed), _) => seed..seed + 1,
        (None, Some(count)) => seeds.start..seeds.start + count,
        (None, None) => seeds,
    };
    assert!(!seeds.is_empty(), "no seeds are simulated");
    {
        let case = case(&mut fastrand::Rng::with_seed(seeds.start));
        if let Err(wrong) = examine((case.app)(), &case.messages, case.size.members) {
            panic!("{wrong}");
        }
    }
    for seed in seeds {
        let size = {
            let case = case(&mut fastrand::Rng::with_seed(seed));
            let messages = u32::try_from(case.messages.len()).unwrap_or(u32::MAX);
            Size {
                messages,
                ..case.size
            }
        };
        let plan = undisturbed(Plan::draw(seed, size));
        let fails = |plan: &Plan| one(seed, plan, &case);
        if let Some((first, history)) = fails(&plan) {
            if fails(&plan).is_none() {
                panic!(
                    "{}\n\n{UNREPEATABLE}",
                    report(seed, &plan, &first, &history)
                );
            }
            let of_that =
                |plan: &Plan| fails(plan).filter(|(found, _)| found.invariant == first.invariant);
            let small = shrink(&plan, |plan| of_that(plan).is_some());
            let (found, history) = of_that(&small).unwrap_or_else(|| (first, History::default()));
            panic!("{}", report(seed, &small, &found, &history));
        }
    }
}

/// The number that a variable holds, if it is set.
fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    match text.parse() {
        Ok(number) => Some(number),
        Err(_) => panic!("{variable}={text:?} is no number"),
    }
}

/// The plan without what somebody else would have to answer for: no operator moves positions, replays or makes topics anew (an app
/// rightly stops at that, and its check could not know of it), nobody edits its ladder, and a position record has room for what a
/// partition of it may have away.
fn undisturbed(mut plan: Plan) -> Plan {
    plan.faults.retain(|fault| !fault.is_operation());
    plan.setting.later_tiers_ms.clear();
    plan.setting.record_bytes = Setting::default().record_bytes;
    plan
}

/// Runs one plan; gives what is wrong first.
fn one<S, R>(
    seed: u64,
    plan: &Plan,
    case: &impl Fn(&mut fastrand::Rng) -> Simulation<S, R>,
) -> Option<(Violation, History)>
where
    S: Send + Sync + 'static,
    R: Adapters + 'static,
{
    // Anew for each run: what outlives the members must not outlive the run.
    let case = case(&mut fastrand::Rng::with_seed(seed));
    let subject = Own {
        app: Arc::clone(&case.app),
        messages: Arc::clone(&case.messages),
    };
    let plan = Arc::new(plan.clone());
    let history = run(&plan, Arc::new(subject), SETTLED_WITHIN, None);
    let promised = check::violations(&plan, &history, false).into_iter().next();
    let found = promised.or_else(|| {
        let verdict = catch_unwind(AssertUnwindSafe(|| (case.check)(&history)));
        let problem = match verdict {
            Ok(Ok(())) => return None,
            Ok(Err(problem)) => problem,
            Err(panic) => text_of(&*panic),
        };
        Some(Violation {
            invariant: "the check of the app",
            at_ms: history.over_at_ms,
            place: None,
            problem,
        })
    });
    found.map(|violation| (violation, history))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked").to_owned()
}

fn report(seed: u64, plan: &Plan, found: &Violation, history: &History) -> String {
    let thread = std::thread::current();
    let test = thread
        .name()
        .filter(|name| *name != "main")
        .unwrap_or_default();
    // Cargo says in which package the test is.
    let package = std::env::var("CARGO_PKG_NAME").map(|name| format!("-p {name} "));
    let package = package.unwrap_or_default();
    format!(
        "seed {seed} fails: {found}\n\nrun it again:\n  {SEED}={seed} cargo test {package}{test}\n\nthe smallest case that was found: {} messages, {} faults\n{plan}\nwhat happened:\n{}",
        plan.messages.len(),
        plan.faults.len(),
        history.text(found.place)
    )
}
