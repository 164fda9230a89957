//! Appends: confirmed, or without an answer although appended, or without one and not appended, or failed.

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{BoxFuture, PublishOutcome, PublishRecord, Publisher};
use crate::delivery::Lineage;
use crate::error::{Error, ErrorKind, Result};
use crate::sim::history::{Own, Place, Told, What};
use crate::sim::life::Life;
use crate::sim::plan::{Kind, Step};

/// Publishes as its member.
#[derive(Debug)]
pub(super) struct SimPublisher {
    pub(super) life: Arc<Life>,
    pub(super) inner: Arc<dyn Publisher>,
}

/// What is noted of a record of the group's own.
struct Copy {
    own: Own,
    place: Place,
    route: u32,
}

impl SimPublisher {
    /// What the record is a copy of; `None`: not one of the framework's own.
    fn copy(&self, record: &PublishRecord) -> Option<Copy> {
        let topic = &*record.topic;
        let tier = topic.rsplit_once(".retry.").map(|(_, delay)| delay);
        let own = match tier {
            Some(delay) => {
                let delay = humantime::parse_duration(delay).ok()?;
                Own::Tier(u64::try_from(delay.as_millis()).ok()?)
            }
            None if topic.ends_with(".dlq") => Own::DeadLetter,
            None => return None,
        };
        let lineage = Lineage::read(&record.message.headers)?;
        Some(Copy {
            own,
            place: Place {
                partition: lineage.partition,
                offset: lineage.offset,
            },
            route: self.life.route(&lineage.handler),
        })
    }

    async fn append(
        &self,
        records: Vec<PublishRecord>,
        fault: Option<Kind>,
    ) -> (Vec<PublishOutcome>, Vec<Option<u64>>) {
        let life = &self.life;
        let count = records.len();
        let not = |outcome: fn() -> PublishOutcome| {
            ((0..count).map(|_| outcome()).collect(), vec![None; count])
        };
        if fault == Some(Kind::PublishUnsent) {
            return not(|| PublishOutcome::Unknown(silence()));
        }
        if fault == Some(Kind::PublishFails) || life.unreachable("publish").is_some() {
            return not(|| PublishOutcome::Failed(refusal(ErrorKind::Unreachable)));
        }
        if life.world.full().at(life.world.now_ms()) > 0 {
            return not(|| PublishOutcome::Failed(refusal(ErrorKind::Full)));
        }
        let outcomes = self.inner.publish(records).await;
        let offset = |outcome: &PublishOutcome| match outcome {
            PublishOutcome::Ok(published) => Some(published.offset),
            PublishOutcome::Failed(_) | PublishOutcome::Unknown(_) => None,
        };
        let offsets = outcomes.iter().map(offset).collect();
        if fault == Some(Kind::PublishUnheard) {
            return (unknown(count), offsets);
        }
        (outcomes, offsets)
    }
}

impl Publisher for SimPublisher {
    fn publish(&self, records: Vec<PublishRecord>) -> BoxFuture<'_, Vec<PublishOutcome>> {
        Box::pin(async move {
            let life = &self.life;
            let copies: Vec<Option<Copy>> = records.iter().map(|one| self.copy(one)).collect();
            let step = copies.iter().flatten().next().map(|copy| match copy.own {
                Own::Tier(_) => Step::Tier,
                Own::DeadLetter => Step::DeadLetter,
            });
            life.before(step).await;
            life.disk().await;
            let fault = life.world.take(life.member, is_publish_fault);
            let (outcomes, offsets) = self.append(records, fault).await;
            for ((copy, offset), outcome) in copies.into_iter().zip(offsets).zip(&outcomes) {
                if let Some(Copy { own, place, route }) = copy {
                    let told = told(outcome);
                    life.push(
                        route,
                        What::Appended {
                            own,
                            place,
                            offset,
                            told,
                        },
                    );
                }
            }
            life.after(step).await;
            if life.is_cut() {
                return unknown(outcomes.len());
            }
            outcomes
        })
    }

    fn flush(&self, deadline: Duration) -> BoxFuture<'_, Result<()>> {
        self.inner.flush(deadline)
    }
}

pub(in crate::sim) fn is_publish_fault(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::PublishUnheard | Kind::PublishUnsent | Kind::PublishFails
    )
}

fn unknown(count: usize) -> Vec<PublishOutcome> {
    (0..count)
        .map(|_| PublishOutcome::Unknown(silence()))
        .collect()
}

pub(super) fn silence() -> Error {
    Error::new(
        ErrorKind::Timeout,
        "call broker",
        "the simulated broker gave no answer",
    )
}

pub(super) fn refusal(kind: ErrorKind) -> Error {
    Error::new(kind, "call broker", "the simulated broker refused")
}

fn told(outcome: &PublishOutcome) -> Told {
    match outcome {
        PublishOutcome::Ok(_) => Told::Ok,
        PublishOutcome::Failed(_) => Told::Failed,
        PublishOutcome::Unknown(_) => Told::Unknown,
    }
}
