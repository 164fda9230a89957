//! What a start would do to the topics of a route, without doing it.
//!
//! The rules are those of `declare`, which does it: a plan without a step means a start without a change.

use std::sync::Arc;

use super::declare::{RouteTopics, check_source, wanted};
use super::route::check_capability;
use crate::backend::{Retention, TopicDescription};
use crate::error::{Error, Result};

/// What a topic is to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicRole {
    /// It is consumed.
    Source,
    /// What waits for a retry.
    Tier,
    /// Dead letters that are replayed.
    Replay,
    /// Dead letters.
    DeadLetter,
}

/// What a start would do to a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicStep {
    /// Nothing: it is as it has to be.
    Keep,
    /// Create it.
    Create {
        /// With so many partitions.
        partitions: u32,
        /// To keep its records so long. `None`: at least as long as its source, which is to be created too; how long that is, only
        /// the broker knows.
        retention: Option<Retention>,
    },
    /// Have it keep its records as long as this says.
    KeepLonger(Retention),
    /// Nothing, and so the start would fail: a source topic that is missing and that nobody is told to create.
    Missing,
    /// Create it with the partitions of its source, which is missing too.
    CreateLater,
}

/// A topic of a route: what it is, and what a start would do to it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedTopic {
    /// Its name, as the broker knows it.
    pub name: Arc<str>,
    /// What it is to the route.
    pub role: TopicRole,
    /// What is there now.
    pub found: Option<TopicDescription>,
    /// What a start would do.
    pub step: TopicStep,
}

/// What a start would do to the topics of a route.
#[derive(Debug)]
#[non_exhaustive]
pub struct TopicPlan {
    /// The handler of the route.
    pub route: String,
    /// Source, tiers, replay, dead letters.
    pub topics: Vec<PlannedTopic>,
    /// Why the start would fail, beside a source that is missing: the first reason.
    pub refused: Option<Error>,
}

impl TopicPlan {
    /// Whether a start would change nothing, and not fail for its topics.
    #[must_use]
    pub fn is_fulfilled(&self) -> bool {
        self.refused.is_none() && self.topics.iter().all(|one| one.step == TopicStep::Keep)
    }
}

impl RouteTopics {
    /// What a start of the route would do to its topics.
    ///
    /// # Errors
    /// The backend's.
    pub async fn plan(&self) -> Result<TopicPlan> {
        let mut plan = TopicPlan {
            route: self.route.handler.clone(),
            topics: Vec::new(),
            refused: check_capability(&self.route, &self.backend.capability()).err(),
        };
        let source = self.source(&mut plan).await?;
        let source_is_new = plan.topics.iter().all(|one| one.found.is_none());
        for (role, name) in self.own_topics() {
            let found = self.backend.admin().topic(name).await?;
            let step = match &source {
                None if found.is_none() => TopicStep::CreateLater,
                None => TopicStep::Keep,
                Some(source) => match wanted(self, name, source, found.as_ref()) {
                    Ok(wanted) => {
                        let follows_source = role != TopicRole::DeadLetter;
                        let retention =
                            (!(source_is_new && follows_source)).then_some(wanted.retention);
                        step(wanted.partitions, retention, found.as_ref())
                    }
                    Err(error) => {
                        plan.refused = plan.refused.or(Some(error));
                        TopicStep::Keep
                    }
                },
            };
            plan.topics.push(PlannedTopic {
                name: Arc::clone(name),
                role,
                found,
                step,
            });
        }
        Ok(plan)
    }

    /// Plans the source topic, and gives what the others depend on: it, as it is or will be.
    async fn source(&self, plan: &mut TopicPlan) -> Result<Option<TopicDescription>> {
        let name = &self.topology.source;
        let found = self.backend.admin().topic(name).await?;
        let (step, source) = match (&found, self.auto_create) {
            (Some(found), _) => {
                if let Err(error) = check_source(self, found).await {
                    plan.refused = plan.refused.take().or(Some(error));
                }
                (TopicStep::Keep, Some(found.clone()))
            }
            (None, None) => (TopicStep::Missing, None),
            (None, Some(partitions)) => {
                let made = TopicDescription::new(&**name, partitions, "");
                let retention = Some(Retention::AsBackend);
                let create = TopicStep::Create {
                    partitions,
                    retention,
                };
                (create, Some(made))
            }
        };
        plan.topics.push(PlannedTopic {
            name: Arc::clone(name),
            role: TopicRole::Source,
            found,
            step,
        });
        Ok(source)
    }

    fn own_topics(&self) -> impl Iterator<Item = (TopicRole, &Arc<str>)> {
        let topology = &self.topology;
        let tiers = topology.tiers.iter();
        tiers
            .map(|(_, name)| (TopicRole::Tier, name))
            .chain([(TopicRole::Replay, &topology.replay)])
            .chain([(TopicRole::DeadLetter, &topology.dead_letter)])
    }
}

fn step(
    partitions: u32,
    retention: Option<Retention>,
    found: Option<&TopicDescription>,
) -> TopicStep {
    match (found, retention) {
        (None, _) => TopicStep::Create {
            partitions,
            retention,
        },
        (Some(found), Some(retention)) if !found.keeps(retention) => {
            TopicStep::KeepLonger(retention)
        }
        (Some(_), _) => TopicStep::Keep,
    }
}
