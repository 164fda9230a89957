//! The simulation.
#![allow(missing_docs)]
mod backend;
pub mod check;
mod history;
mod life;
mod member;
pub mod plan;
mod remains;
mod run;
mod subject;
mod world;

pub use history::{
    Event, Final, History, Letter, NOBODY, Own, Place, Recorded, RouteName, Told, What,
};
pub use plan::{Fault, Kind, Last, Plan, Planned, Point, Setting, Size, Step};

/// A fault of the runtime, for a test that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// What was delivered is committed as settled, before its effect.
    CommitFirst,
}

/// Runs a plan with the scripted app and checks it.
pub fn run_scripted(plan: Plan, canary: Option<Canary>) -> (History, Vec<check::Violation>) {
    let plan = std::sync::Arc::new(plan);
    let subject = std::sync::Arc::new(subject::Scripted::new(&plan));
    let history = run::run(&plan, subject, canary);
    let violations = check::violations(&plan, &history, true);
    (history, violations)
}
