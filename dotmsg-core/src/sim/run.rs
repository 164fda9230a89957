//! One run: a plan is done to an app, then everything is left in peace until all is settled or time is up.
//!
//! One thread, one tokio runtime with paused time: it moves when every task waits, to the next timer.

use std::sync::Arc;
use std::time::Duration;

use super::Canary;
use super::backend::is_publish_fault;
use super::history::{History, Place, Told, What};
use super::member::Member;
use super::operator::Operation;
use super::plan::{Fault, Kind, Plan, Planned};
use super::remains;
use super::subject::Subject;
use super::world::{World, lock};
use crate::backend::{Backend, PublishOutcome, PublishRecord, Publisher, Retention, TopicSpec};
use crate::clock::Timestamp;
use crate::testing;

/// How long a member has for its last stop. The route's own limits are below it.
pub(super) const STOPPED_WITHIN: Duration = Duration::from_secs(120);
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The producer of the plan's messages, for faults that are aimed at it.
pub(super) const PRODUCER: u32 = u32::MAX;

/// Runs a plan; once nothing goes wrong any more, everything has to be settled `within`.
pub(super) fn run(
    plan: &Arc<Plan>,
    subject: Arc<dyn Subject>,
    within: Duration,
    canary: Option<Canary>,
) -> History {
    testing::run(async {
        let world = Arc::new(World::new(plan, canary));
        let run = Run {
            plan: Arc::clone(plan),
            publisher: world.broker.publisher(),
            members: Vec::new(),
            world,
            subject,
        };
        run.run(within).await
    })
}

pub(super) struct Run {
    pub(super) plan: Arc<Plan>,
    pub(super) world: Arc<World>,
    pub(super) subject: Arc<dyn Subject>,
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) members: Vec<Arc<Member>>,
}

/// Something to do at a time.
#[derive(Clone, Copy)]
enum Act {
    Publish(Planned),
    Begin(Fault),
    End(Fault),
}

impl Run {
    async fn run(mut self, within: Duration) -> History {
        let mut tasks = Vec::new();
        for number in 0..self.plan.setting.members {
            let member = Member::new(&self.world, number);
            let live = Arc::clone(&member).live(Arc::clone(&self.subject));
            let at = self
                .world
                .at(u64::from(number) * self.plan.setting.stagger_ms);
            tasks.push(tokio::spawn(async move {
                tokio::time::sleep_until(at).await;
                live.await;
            }));
            self.members.push(member);
        }
        for (at_ms, act) in self.acts() {
            tokio::time::sleep_until(self.world.at(at_ms)).await;
            self.act(act).await;
        }
        tokio::time::sleep_until(self.world.at(self.plan.calm_at_ms())).await;
        self.calm().await;
        lock(&self.world.history).calm_at_ms = self.world.now_ms();
        let settled = tokio::time::timeout(within, self.settle()).await.is_ok();
        for member in &self.members {
            member.end();
        }
        for mut task in tasks {
            if tokio::time::timeout(STOPPED_WITHIN, &mut task)
                .await
                .is_err()
            {
                task.abort();
            }
        }
        self.finish(settled)
    }

    /// Everything that happens at a time, in order.
    fn acts(&self) -> Vec<(u64, Act)> {
        let publish = |planned: &Planned| (planned.at_ms, Act::Publish(*planned));
        let mut acts: Vec<(u64, Act)> = self.plan.messages.iter().map(publish).collect();
        for fault in self.plan.faults.iter().filter(|fault| !fault.waits()) {
            acts.push((fault.at_ms, Act::Begin(*fault)));
            if ends_by_itself(fault.kind) {
                acts.push((fault.over_at_ms(), Act::End(*fault)));
            }
        }
        acts.sort_by_key(|(at_ms, _)| *at_ms);
        acts
    }

    async fn act(&self, act: Act) {
        match act {
            Act::Publish(planned) => self.publish(&planned).await,
            Act::Begin(fault) => match fault.kind {
                Kind::Replay => self.replay().await,
                Kind::Reset { partition, to } => {
                    self.operate(Operation::Reset(partition, to)).await
                }
                Kind::Recreate => self.operate(Operation::Recreate).await,
                _ => self.begin(fault),
            },
            Act::End(fault) => self.end(fault.kind, fault.member),
        }
    }

    fn begin(&self, fault: Fault) {
        let life = self.life_of(fault.member);
        let over_at_ms = fault.over_at_ms();
        match fault.kind {
            Kind::Delay { by_ms, .. } => {
                if let Some(life) = life {
                    life.delay(over_at_ms, by_ms);
                }
            }
            Kind::Kill { down_ms } => {
                if let Some(life) = life {
                    life.die(None, down_ms);
                }
            }
            Kind::Freeze { .. } => {
                if let Some(life) = life {
                    life.freeze();
                }
            }
            Kind::Stop { down_ms } => {
                if let Some(member) = self.members.get(fault.member as usize) {
                    member.stop(down_ms);
                }
            }
            Kind::Lose { partition, .. } => {
                self.of_routes(|broker, group, topic| broker.lose(group, topic, &[partition]));
            }
            Kind::Revoke {
                partition,
                within_ms,
                ..
            } => {
                let within = Duration::from_millis(within_ms);
                self.of_routes(|broker, group, topic| {
                    broker.revoke(group, topic, &[partition], within)
                });
            }
            Kind::SlowDisk { by_ms, .. } => self.world.slow().open(over_at_ms, by_ms),
            Kind::Full { .. } => self.world.full().open(over_at_ms, 1),
            Kind::Outage { .. } => {
                self.world.set_down(true);
                self.world.forget_buried();
                for life in self.members.iter().filter_map(|member| member.life()) {
                    life.cut();
                }
            }
            _ => {}
        }
    }

    fn end(&self, kind: Kind, member: u32) {
        match kind {
            Kind::Freeze { .. } => {
                if let Some(life) = self.life_of(member) {
                    life.wake();
                }
            }
            Kind::Lose { partition, .. } | Kind::Revoke { partition, .. } => {
                self.of_routes(|broker, group, topic| broker.reassign(group, topic, &[partition]));
            }
            Kind::Outage { .. } => self.world.set_down(false),
            _ => {}
        }
    }

    fn life_of(&self, member: u32) -> Option<Arc<super::life::Life>> {
        self.members.get(member as usize)?.life()
    }

    fn of_routes(&self, act: impl Fn(&crate::log::LogBroker, &str, &str) -> bool) {
        let routes = lock(&self.world.history).routes.clone();
        for route in &routes {
            act(&self.world.broker, &route.group, &route.topic);
        }
    }

    async fn publish(&self, planned: &Planned) {
        let (topic, mut message) = self.subject.message(planned);
        if message.id().is_none() {
            message = message.with_id(planned.id.to_string());
        }
        if message.timestamp == Timestamp(0) {
            message.timestamp = self.world.clock.now();
        }
        let record = PublishRecord {
            topic: topic.into(),
            partition: None,
            message,
        };
        self.topic(topic).await;
        let fault = self.world.take(PRODUCER, is_publish_fault);
        let down = self.world.is_down() || self.world.full().at(self.world.now_ms()) > 0;
        let (told, place) = match fault {
            _ if down => (Told::Failed, None),
            Some(Kind::PublishUnsent) => (Told::Unknown, None),
            Some(Kind::PublishFails) => (Told::Failed, None),
            unheard => match self.publisher.publish(vec![record]).await.pop() {
                Some(PublishOutcome::Ok(published)) => {
                    let told = if unheard.is_some() {
                        Told::Unknown
                    } else {
                        Told::Ok
                    };
                    let place = Place {
                        partition: published.partition,
                        offset: published.offset,
                    };
                    (told, Some(place))
                }
                Some(PublishOutcome::Failed(_)) => (Told::Failed, None),
                Some(PublishOutcome::Unknown(_)) | None => (Told::Unknown, None),
            },
        };
        let message = planned.id;
        self.world.nobody(What::Published {
            message,
            told,
            place,
        });
    }

    /// The topic exists with the partitions of the plan, also when nobody has subscribed to it yet.
    pub(super) async fn topic(&self, name: &str) {
        let spec = TopicSpec {
            name: name.to_owned(),
            partitions: self.plan.setting.partitions,
            retention: Retention::AsBackend,
        };
        // It exists with other partitions: then the app said so.
        let _ = self.world.broker.admin().create_topic(spec).await;
    }

    /// Nothing goes wrong from here on; what was going on is over.
    async fn calm(&self) {
        self.world.calm();
        for life in self.members.iter().filter_map(|member| member.life()) {
            life.wake();
        }
    }

    async fn settle(&self) {
        let all: Vec<u32> = (0..self.plan.setting.partitions).collect();
        while !remains::all_settled(&self.world).await {
            // A partition that was released after it was to be given back.
            self.of_routes(|broker, group, topic| broker.reassign(group, topic, &all));
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn finish(self, settled: bool) -> History {
        let over_at_ms = self.world.now_ms();
        let left = remains::look(&self.world, settled);
        let mut history = std::mem::take(&mut *lock(&self.world.history));
        history.left = left;
        history.over_at_ms = over_at_ms;
        history
    }
}

fn ends_by_itself(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Freeze { .. } | Kind::Lose { .. } | Kind::Revoke { .. } | Kind::Outage { .. }
    )
}
