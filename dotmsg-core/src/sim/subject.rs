//! What is simulated: an app, built anew for each start of a member, and what is published to it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::backend::SimBackend;
use super::history::{Place, What};
use super::life::Life;
use super::plan::{Kind, Last, Plan, Planned, Setting};
use super::world::lock;
use crate::app::{Adapters, App, NoAdapters, Running};
use crate::backend::BoxFuture;
use crate::config::{Config, RouteDefaults, Value};
use crate::delivery::{Delivery, Settlement};
use crate::error::Result;
use crate::handler::HandlerError;
use crate::message::Message;

/// An app under simulation.
pub(super) trait Subject: Send + Sync + 'static {
    /// Starts it as this life.
    fn start<'a>(&'a self, life: &'a Arc<Life>) -> BoxFuture<'a, Result<Running>>;

    /// Topic and message for a message of the plan; without an id of its own it gets its number.
    fn message(&self, planned: &Planned) -> (&str, Message);
}

/// Starts any app as a life: on the simulated broker, under virtual time, watched.
pub(super) async fn start_as<S, R>(life: &Arc<Life>, mut app: App<S, R>) -> Result<Running>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    for name in app.backend_names() {
        let backend = SimBackend::new(life);
        app = app.backend(&name, Arc::new(backend)).configure(|config| {
            let key = |leaf: &str| format!("backend.{name}.{leaf}");
            let partitions = i64::from(life.world.setting.partitions);
            let config = config
                .set(&key("auto_create"), true)
                .set(&key("auto_create_partitions"), partitions);
            if life.world.setting.instances {
                config.set(&key("instance_id"), format!("m{}", life.member))
            } else {
                config
            }
        });
    }
    let seed = life.world.seed_of(u64::from(life.number) << 32);
    app.clock(Arc::clone(&life.world.clock))
        .seed(seed)
        .observed(Arc::clone(life) as _)
        .start()
        .await
}

/// The app that a plan alone describes: one handler, which does with each message what the plan says.
pub(super) struct Scripted {
    plan: Arc<Plan>,
    /// Whose effect was applied, as a dedup table would know: by the identity that the handler is given.
    applied: Arc<Mutex<BTreeSet<Vec<u8>>>>,
}

/// Topic and group of the scripted app.
const TOPIC: &str = "source";
const GROUP: &str = "group";

impl Scripted {
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        Self {
            plan: Arc::clone(plan),
            applied: Arc::default(),
        }
    }
}

impl Subject for Scripted {
    fn start<'a>(&'a self, life: &'a Arc<Life>) -> BoxFuture<'a, Result<Running>> {
        let script = Script {
            plan: Arc::clone(&self.plan),
            applied: Arc::clone(&self.applied),
            life: Arc::clone(life),
        };
        let handler = move |delivery: Delivery| {
            let script = script.clone();
            async move { script.handle(delivery).await }
        };
        let mut route = route(&self.plan.setting, life.is_later());
        if self
            .plan
            .faults
            .iter()
            .any(|fault| fault.kind == Kind::Recreate)
        {
            route = route.with("on_log_mismatch", "earliest");
        }
        let app = App::<(), NoAdapters>::with_config(Config::new()).route(route, handler);
        Box::pin(start_as(life, app))
    }

    fn message(&self, planned: &Planned) -> (&str, Message) {
        let mut message = Message::new(planned.id.to_le_bytes().to_vec());
        if let Some(key) = planned.key {
            message = message.with_key(key.to_string());
        }
        (TOPIC, message)
    }
}

fn route(setting: &Setting, later: bool) -> RouteDefaults {
    let edited = later && !setting.later_tiers_ms.is_empty();
    let tiers = if edited {
        &setting.later_tiers_ms
    } else {
        &setting.tiers_ms
    };
    let tiers = tiers.iter().map(|tier| format!("{tier}ms"));
    let route = RouteDefaults::new("scripted")
        .with("topic", TOPIC)
        .with("group", GROUP)
        .with("concurrency", i64::from(setting.concurrency))
        .with("workers", i64::from(setting.workers))
        .with("max_held_messages", i64::from(setting.held.max(2)))
        .with("retry.attempts", i64::from(setting.attempts))
        .with("retry.backoff", "5ms")
        .with("retry.max_backoff", "20ms")
        .with("retry.order", if setting.keep { "keep" } else { "relax" })
        .with("commit_interval", format!("{}ms", setting.commit_ms))
        .with("crash_loop.takeovers", i64::from(setting.crash_loop));
    let tiers: Vec<Value> = tiers.map(Value::from).collect();
    if tiers.is_empty() {
        route
    } else {
        route.with("retry.tiers", Value::List(tiers))
    }
}

/// The handler.
#[derive(Clone)]
struct Script {
    plan: Arc<Plan>,
    applied: Arc<Mutex<BTreeSet<Vec<u8>>>>,
    life: Arc<Life>,
}

impl Script {
    async fn handle(&self, delivery: Delivery) -> std::result::Result<Settlement, HandlerError> {
        let Some(planned) = self.planned(&delivery) else {
            let text = "a message that is not in the plan";
            return Err(HandlerError::permanent(std::io::Error::other(text)));
        };
        sleep(planned.takes_ms).await;
        if delivery.attempt() <= planned.fails {
            return Err(HandlerError::transient(std::io::Error::other("not yet")));
        }
        match planned.last {
            Last::Ok => {}
            Last::Dead => {
                return Err(HandlerError::permanent(std::io::Error::other("never")));
            }
            Last::Discard => return Ok(Settlement::Discard),
            // Past the panic hook: what is planned is not to be printed.
            Last::Panic => std::panic::resume_unwind(Box::new("planned")),
        }
        self.apply(&delivery);
        sleep(planned.lingers_ms).await;
        Ok(Settlement::Ack)
    }

    fn planned(&self, delivery: &Delivery) -> Option<Planned> {
        let payload: [u8; 4] = (**delivery.payload()?).try_into().ok()?;
        let id = u32::from_le_bytes(payload);
        let messages = &self.plan.messages;
        let found = match messages.get(id as usize) {
            Some(planned) if planned.id == id => Some(planned),
            _ => messages.iter().find(|planned| planned.id == id),
        };
        found.copied()
    }

    fn apply(&self, delivery: &Delivery) {
        if !self.life.is_dead() {
            let origin = delivery.origin();
            let id = delivery.id().into_owned();
            let first = !self.plan.setting.dedup || lock(&self.applied).insert(id);
            let place = Place {
                partition: origin.partition,
                offset: origin.offset,
            };
            let applied = first;
            self.life.push(0, What::Effect { place, applied });
        }
    }
}

async fn sleep(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}
