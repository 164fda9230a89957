//! The simulation: an app as several members of a group on one broker that misbehaves, in virtual time, from one seed.
//!
//! A seed is drawn into a [`Plan`]: an explicit list of messages and faults. The plan is done to the app: broker calls that
//! are late, lost or half done, members that are killed at a named point, stand still or leave, partitions that are taken
//! and given back. Everything that happens is noted in a [`History`]; when all faults are over everything has to be
//! settled, and [`check`] compares the history with what is promised. One seed gives one history, in every process; a plan
//! that breaks a promise is made smaller by [`shrink`](shrink()) and can be kept as a file.
//!
//! ```text
//! seed → plan → run → history → checks → (a smaller plan)
//! ```
//!
//! - `plan/`: what is done; drawing, printing and parsing it;
//! - `run`, `member`, `life`: doing it: the timetable, members that are started again, and one start of a member;
//! - `operator`: what somebody does to it meanwhile;
//! - `world`, `backend/`: what all share, and each member's connection;
//! - `subject`: the app that is simulated: the scripted one of a plan, or a user's;
//! - `history`, `remains`: what happened, and what was left;
//! - `check/`: the promises;
//! - `shrink`, `campaign`: smaller plans, and many seeds;
//! - `scenarios`: plans with a name, each for a case that once broke a model of the runtime;
//! - `user`, `examine`: [`sim()`], for apps of one's own, and what is wrong with them beforehand.
//!
//! # Your own handler
//!
//! This one reads a balance, waits for something, and writes the balance back; what it is told twice it books twice.
//!
//! ```no_run
//! use std::sync::{Arc, Mutex};
//! use dotmsg_core::app::{App, NoAdapters};
//! use dotmsg_core::config::{Config, RouteDefaults};
//! use dotmsg_core::handler::{Json, State};
//! use dotmsg_core::message::Message;
//! use dotmsg_core::sim::{Simulation, sim};
//!
//! type Balance = Arc<Mutex<u64>>;
//!
//! async fn pay(State(balance): State<Balance>, Json(amount): Json<u64>) {
//!     let read = *balance.lock().unwrap();
//!     tokio::time::sleep(std::time::Duration::from_millis(5)).await;
//!     *balance.lock().unwrap() = read + amount;
//! }
//!
//! sim(0..300, |random| {
//!     let balance = Balance::default();
//!     let amounts: Vec<u64> = (0..20).map(|_| random.u64(1..100)).collect();
//!     let json = |amount: &u64| ("payments", Message::new(amount.to_string()).with_key("account"));
//!     let messages: Vec<_> = amounts.iter().map(json).collect();
//!     let state = Arc::clone(&balance);
//!     let app = move || {
//!         let route = RouteDefaults::new("pay").with("topic", "payments").with("group", "bank");
//!         App::<(), NoAdapters>::with_config(Config::new()).state(Arc::clone(&state)).route(route, pay)
//!     };
//!     Simulation::new(app).messages(messages).check(move |history| {
//!         let paid: u64 = history.published().map(|index| amounts[index]).sum();
//!         let booked = *balance.lock().unwrap();
//!         if booked == paid { Ok(()) } else { Err(format!("{booked} booked of {paid} paid")) }
//!     })
//! });
//! ```
//!
//! What must stay true: a run depends on its plan alone; the simulation's own decisions come from the plan's seed, and a
//! check draws nothing.

mod backend;
pub mod campaign;
pub mod check;
mod examine;
mod history;
mod life;
mod member;
mod operator;
pub mod plan;
mod remains;
mod run;
pub mod scenarios;
mod shrink;
mod subject;
mod user;
mod world;

use std::sync::Arc;

use check::Violation;

pub use history::{
    Event, Final, History, Letter, NOBODY, Own, Place, Recorded, RouteName, Told, What,
};
pub use plan::{Fault, Kind, Last, Plan, Planned, Point, Setting, Size, Step};
pub use shrink::shrink;
pub use user::{Simulation, sim};

/// A fault of the runtime, for a test that it is found: built into the broker's side of the simulation, not the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// What was delivered is committed as settled, before its effect.
    CommitFirst,
}

/// Runs a plan with the app that the plan itself describes, and checks what happened.
#[must_use]
pub fn run_scripted(plan: Plan, canary: Option<Canary>) -> (History, Vec<Violation>) {
    let plan = Arc::new(plan);
    let subject = Arc::new(subject::Scripted::new(&plan));
    let history = run::run(&plan, subject, plan.settled_within(), canary);
    let violations = check::violations(&plan, &history, true);
    (history, violations)
}
