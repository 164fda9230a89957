//! Everything that few routes have, in one app: two routes share limits, forget duplicates, shed, and stop at an outage, while
//! members crash, freeze and hand over. One of them takes batches. Half of the apps are measured and traced.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dotmsg::delivery::{Sent, Span, SpanEnd, Story};
use dotmsg::handler::{Origin, OwnedPosition};
use dotmsg::message::{Message, TraceParent};
use dotmsg::sim::{Simulation, sim};
use dotmsg::trace::{RouteTracer, SendTracer, TracedPublisher, TracedRoute, Tracer};
use dotmsg::{App, Batch, Config, Delivery, Each, HandlerError, Json, Key, State};

/// How often each message fails before it succeeds; for ever is a failure for good.
const FOR_EVER: u32 = u32::MAX;

#[derive(Debug, Default)]
struct World {
    failures: Vec<u32>,
    /// The calls of all routes that fall into an outage.
    outage: std::ops::Range<u32>,
    calls: Mutex<u32>,
    /// Times that each message was in a call, by route.
    tried: Mutex<BTreeMap<(&'static str, usize), u32>>,
    effects: Mutex<Vec<(&'static str, String, OwnedPosition, usize)>>,
}

type Shared = Arc<World>;

impl World {
    async fn call(&self) -> bool {
        let call = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        tokio::time::sleep(Duration::from_millis(7)).await;
        !self.outage.contains(&call)
    }

    fn row(&self, route: &'static str, (Key(key), Origin(at), Json(index)): Row) -> Handled {
        let tries = {
            let mut tried = self.tried.lock().unwrap();
            let tries = tried.entry((route, index)).or_default();
            *tries += 1;
            *tries
        };
        match self.failures[index] {
            FOR_EVER => Err(HandlerError::permanent("bad").kind("bad")),
            failures if tries <= failures => Err(HandlerError::transient("not yet").kind("early")),
            _ => {
                let effect = (route, key, at, index);
                self.effects.lock().unwrap().push(effect);
                Ok(())
            }
        }
    }
}

/// Traces every second record, and notes nothing: what is traced takes another way through the layers.
#[derive(Debug)]
struct Halves;

impl Tracer for Halves {
    fn route(&self, _: &TracedRoute<'_>) -> Arc<dyn RouteTracer> {
        Arc::new(Self)
    }

    fn publisher(&self, _: &TracedPublisher<'_>) -> Arc<dyn SendTracer> {
        Arc::new(Self)
    }
}

impl RouteTracer for Halves {
    fn follow(&self, delivery: &Delivery) -> Option<Arc<dyn Story>> {
        let traced = delivery.position().offset.is_multiple_of(2);
        traced.then(|| Arc::new(Self) as Arc<dyn Story>)
    }

    fn batch(&self, deliveries: &[Delivery]) -> Option<Box<dyn Span>> {
        let mut deliveries = deliveries.iter();
        let traced = deliveries.any(|delivery| delivery.story().is_some());
        traced.then(|| Box::new(Self) as Box<dyn Span>)
    }
}

impl SendTracer for Halves {
    fn send(&self, _: &str, _: &mut [Message]) -> Option<Box<dyn Span>> {
        None
    }
}

impl Story for Halves {
    fn origin(&self) -> TraceParent {
        TraceParent {
            trace_id: 1,
            span_id: 1,
            sampled: true,
        }
    }

    fn call(&self, _: &Delivery) -> Box<dyn Span> {
        Box::new(Self)
    }

    fn send(&self, _: &str, _: &mut Message, _: Sent<'_>) -> Box<dyn Span> {
        Box::new(Self)
    }
}

impl Span for Halves {
    fn within(&self, run: &mut dyn FnMut()) {
        run();
    }

    fn end(self: Box<Self>, _: SpanEnd<'_>) {}
}

type Row = (Key<String>, Origin, Json<usize>);
type Handled = Result<(), HandlerError>;

fn away() -> HandlerError {
    HandlerError::transient("the database is away").kind("database")
}

#[dotmsg::handler(topic = "rows", group = "one", timeout = "20s")]
async fn one(
    State(world): State<Shared>,
    key: Key<String>,
    origin: Origin,
    row: Json<usize>,
) -> Handled {
    match world.call().await {
        true => world.row("one", (key, origin, row)),
        false => Err(away()),
    }
}

#[dotmsg::handler(
    topic = "rows",
    group = "many",
    timeout = "20s",
    batch(linger = "20ms")
)]
async fn many(
    State(world): State<Shared>,
    Batch(rows): Batch<Row>,
) -> Result<Each<Handled>, HandlerError> {
    if !world.call().await {
        return Err(away());
    }
    let mut failed = BTreeSet::new();
    let answer = |row: Row| {
        let key = row.0.0.clone();
        if failed.contains(&key) {
            return Err(HandlerError::transient("behind"));
        }
        let handled = world.row("many", row);
        if handled.as_ref().is_err_and(|error| error.is_transient()) {
            failed.insert(key);
        }
        handled
    };
    Ok(Each(rows.into_iter().map(answer).collect()))
}

/// Draws what all members of a run have.
fn configured(
    draw: &mut dyn FnMut(std::ops::Range<i64>) -> i64,
) -> impl Fn(Config) -> Config + Clone + Send + Sync + 'static + use<> {
    let mut settings: Vec<(String, dotmsg::config::Value)> = Vec::new();
    settings.push(("limits.database.concurrency".into(), draw(1..3).into()));
    if draw(0..2) == 1 {
        settings.push(("limits.database.rate".into(), "50/s".into()));
    }
    for route in ["one", "many"] {
        let concurrency = draw(1..9);
        let mut set = |key: &str, value: dotmsg::config::Value| {
            settings.push((format!("routes.{route}.{key}"), value));
        };
        set("concurrency", concurrency.into());
        set("workers", draw(1..4).min(concurrency).into());
        set("limits", ["database"].into());
        set("dedup.max_ids", draw(3..40).into());
        set("breaker.failures", draw(1..5).into());
        set("breaker.pause", "2s".into());
        set("retry.attempts", draw(1..4).into());
        set("retry.tiers", ["1s", "5s", "9s", "12s"].into());
        if draw(0..2) == 1 {
            set("shed.older_than", "30s".into());
        }
    }
    settings.push(("routes.many.batch.size".into(), draw(1..9).into()));
    move |config| {
        let set = |config: Config, (key, value): &(String, dotmsg::config::Value)| {
            config.set(key, value.clone())
        };
        settings.iter().fold(config, set)
    }
}

fn run(seeds: std::ops::Range<u64>) {
    sim(seeds, |random| {
        let rows = 50;
        let failures = (0..rows).map(|_| match random.u32(0..16) {
            0 => FOR_EVER,
            1 | 2 => random.u32(1..4),
            _ => 0,
        });
        let failures: Vec<u32> = failures.collect();
        let begins = random.u32(5..120);
        let outage = begins..begins + random.u32(0..30);
        let keys = random.usize(1..6);
        // A third are copies, of each other or of nothing.
        let copies: Vec<bool> = (0..rows).map(|_| random.u32(0..3) == 0).collect();
        let messages: Vec<_> = (0..rows)
            .map(|index| {
                let key = format!("k{}", random.usize(0..keys));
                let id = match copies[index] {
                    true => format!("copy {}", random.u32(0..6)),
                    false => format!("row {index}"),
                };
                let message = Message::new(index.to_string()).with_key(key);
                ("rows", message.with_id(id))
            })
            .collect();
        let world = Arc::new(World {
            failures,
            outage,
            ..World::default()
        });
        let configured = configured(&mut |range| random.i64(range));
        let watched = random.bool();
        let state = Arc::clone(&world);
        let app = move || {
            let app = App::with_config(Config::new())
                .state(Arc::clone(&state))
                .handler(one)
                .handler(many)
                .configure(configured.clone());
            match watched {
                true => app.tracer(Halves).measured(),
                false => app,
            }
        };
        Simulation::new(app)
            .messages(messages)
            .check(move |history| {
                let effects = world.effects.lock().unwrap();
                // A dead letter has ended its claim to the order: a record that is delivered again afterwards is handled when it comes.
                let is_dead = |handler: &str, at: &OwnedPosition| {
                    let mut routes = history.routes.iter().zip(&history.left);
                    let (_, left) = routes.find(|(route, _)| route.handler == handler)?;
                    let mut letters = left.letters.iter();
                    letters.find(|letter| {
                        letter.place.partition == at.partition && letter.place.offset == at.offset
                    })
                };
                let mut of_key: BTreeMap<_, Vec<u64>> = BTreeMap::new();
                let mut seen = BTreeSet::new();
                for (route, key, at, index) in effects.iter() {
                    // What was a duplicate is handled later when who knew it is gone.
                    if !copies[*index]
                        && seen.insert((route, index))
                        && is_dead(route, at).is_none()
                    {
                        of_key.entry((route, key)).or_default().push(at.offset);
                    }
                }
                match of_key.iter().find(|(_, offsets)| !offsets.is_sorted()) {
                    Some(found) => Err(format!("out of order: {found:?}")),
                    None => Ok(()),
                }
            })
    });
}

#[test]
fn all_of_it_together_keeps_what_is_promised() {
    run(0..40);
}

/// A member stands still; its successor settles a message as a duplicate, without a call. That is no end of the call that the first
/// one made, and repeats when it wakes up.
#[test]
fn a_duplicate_at_a_successor_is_no_end_of_the_first_members_call() {
    run(3058..3059);
}
