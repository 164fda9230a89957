//! The runtime of one route: source → lanes → service → settlement → progress.
//!
//! [`run`] drives one route to the end of its shutdown. `pump` owns source, partitions and commits; `workers` run the
//! handler's service in lanes; `partition` and `tiers` are the state machines of what is settled and what is away;
//! `takeover` is the order in which an owner begins, `group` what it has to know of the other partitions.

mod declare;
mod group;
mod lag_gauge;
mod lanes;
mod mailbox;
mod partition;
mod permits;
mod pump;
mod question;
mod ready;
mod reports;
mod route;
mod slots;
mod spawned;
mod stats;
mod stopping;
mod stuck;
mod takeover;
#[cfg(test)]
mod tests;
mod ticket;
mod tiers;
mod topic_plan;
mod worker;
mod workers;

pub use declare::{RouteTopics, check_sources};
pub use pump::{RouteReport, Shutdown};
pub use route::{RouteContext, prepare, prepare_topics, run};
pub use stats::RouteStats;
pub use stuck::{STUCK_MAX, StuckCall};
pub use topic_plan::{PlannedTopic, TopicPlan, TopicRole, TopicStep};
