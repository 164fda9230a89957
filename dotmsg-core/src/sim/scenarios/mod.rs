//! Plans with a name: the cases that broke a model of the runtime, or a variant of its rules, and must never break it.
//!
//! Each says what it has to reach, so that a scenario which no longer gets there is noticed. They come from the model that
//! the rules of retry and takeover were checked with.

mod list;

use super::check::Violation;
use super::history::{History, Own, Told, What};
use super::plan::{Plan, Step};
use super::run_scripted;
use crate::testing::Became;

pub use list::SCENARIOS;

/// A plan with a name.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What happens, and what would go wrong.
    pub about: &'static str,
    /// The plan, as text.
    pub plan: &'static str,
    reaches: fn(&History) -> bool,
}

/// What came of a scenario.
#[derive(Debug)]
pub struct Played {
    /// What happened.
    pub history: History,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// Whether it got to what it is about.
    pub reached: bool,
}

impl Scenario {
    /// Plays it.
    ///
    /// # Panics
    /// When its plan is not one.
    #[must_use]
    pub fn play(&self) -> Played {
        let plan: Plan = match self.plan.parse() {
            Ok(plan) => plan,
            Err(error) => panic!("scenario `{}`: {error}", self.name),
        };
        let (history, violations) = run_scripted(plan, None);
        Played {
            reached: (self.reaches)(&history),
            history,
            violations,
        }
    }
}

fn any(history: &History, of: impl Fn(&What) -> bool) -> bool {
    history.events.iter().any(|event| of(&event.what))
}

fn killed(history: &History, before: bool, step: Step) -> bool {
    any(
        history,
        |what| matches!(what, What::Killed(Some(point)) if point.before == before && point.step == step),
    )
}

/// How many lives a partition's record was written back by.
fn owners(history: &History) -> usize {
    let mut epochs: Vec<(u64, u128)> = Vec::new();
    for event in &history.events {
        if let What::Commit {
            stored: true,
            record,
            ..
        } = &event.what
        {
            epochs.push((record.epoch, record.owner));
        }
    }
    epochs.sort_unstable();
    epochs.dedup();
    epochs.len()
}

/// A copy was appended, and its writer not told.
fn unheard(history: &History, of: Own) -> bool {
    any(
        history,
        |what| matches!(what, What::Appended { own, told: Told::Unknown, offset: Some(_), .. } if *own == of),
    )
}

/// A record was stored that names some heads and ends below another one that was away.
fn cut_between_heads(history: &History) -> bool {
    let mut highest = 0;
    history.events.iter().any(|event| match &event.what {
        What::Ended(place, Became::Away(_)) => {
            highest = highest.max(place.offset);
            false
        }
        What::Commit {
            stored: true,
            record,
            ..
        } => !record.names.is_empty() && record.source.end() <= highest,
        _ => false,
    })
}
