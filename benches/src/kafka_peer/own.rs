//! The workloads as dotmsg apps: annotated handlers, one route, the full stack, key order.
//!
//! Everything a user may configure may be configured here too: `DOTMSG__ROUTES__COUNT__CONCURRENCY` and the like win over
//! what is written below.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use dotmsg::app::{Adapters, App};
use dotmsg::backend::Registry;
use dotmsg::handler::{Annotated, FromDelivery, HandlerError, Invoke};
use dotmsg::router::DeliverySemantics;
use dotmsg::{Config, Delivery, Json, Key, Outgoing};
use tokio::runtime::{Builder, Runtime};

use crate::client;
use crate::environment::Environment;
use crate::meter::Meter;
use crate::payment::Payment;

/// What a slow handler takes.
pub(crate) const WORK: Duration = Duration::from_millis(100);
/// Slow handlers at once, unless the environment says otherwise.
pub(crate) const SLOW: usize = 5_000;
/// Messages on their way in `w4`, unless the environment says otherwise.
const PUBLISHING: usize = 10_000;
/// How often transactions are committed in `w4-once`.
const ONCE_COMMIT: &str = "100ms";

/// What the handlers share.
struct Run {
    meter: Meter,
    /// Lives as long as the process: a returned message borrows its topic's name.
    out: &'static str,
}

/// The run, borrowed.
struct Of<'d>(&'d Run);

impl<'d> FromDelivery<'d, Arc<Run>> for Of<'d> {
    type Rejection = Infallible;

    fn from_delivery(_: &'d Delivery, run: &'d Arc<Run>) -> Result<Self, Infallible> {
        Ok(Self(run))
    }
}

/// The Kafka adapter alone.
struct Kafka;

impl Adapters for Kafka {
    fn registry() -> Registry {
        let mut registry = Registry::new();
        registry.register("kafka", dotmsg_kafka::kafka_factory());
        registry
    }
}

#[dotmsg::handler(topic = "bench", group = "bench", state = Arc<Run>)]
async fn take(Of(run): Of<'_>, payload: &[u8]) {
    black_box(payload);
    run.meter.handled();
}

#[dotmsg::handler(topic = "bench", group = "bench", state = Arc<Run>)]
async fn sum(Of(run): Of<'_>, Json(payment): Json<Payment<'_>>) {
    black_box(&payment.note);
    if run.meter.handled() {
        run.meter.add(payment.amount);
    }
}

#[dotmsg::handler(topic = "bench", group = "bench", state = Arc<Run>)]
async fn wait(Of(run): Of<'_>, payload: &[u8]) {
    black_box(payload);
    run.meter.enter();
    tokio::time::sleep(WORK).await;
    run.meter.handled();
}

#[dotmsg::handler(topic = "bench", group = "bench", state = Arc<Run>)]
async fn change(
    Of(run): Of<'_>,
    Key(key): Key<dotmsg::Bytes>,
    Json(payment): Json<Payment<'_>>,
) -> Result<Outgoing, HandlerError> {
    if run.meter.enter() {
        run.meter.add(payment.amount);
    }
    Ok(Outgoing::json(run.out, &payment.changed())?.key(key))
}

/// `w1`: counts.
///
/// # Errors
/// What the app says.
pub(crate) fn count(environment: &Environment) -> Result<(), String> {
    run(environment, "take", None, take)
}

/// `w2`: decodes and adds.
///
/// # Errors
/// What the app says.
pub(crate) fn add(environment: &Environment) -> Result<(), String> {
    run(environment, "sum", None, sum)
}

/// `w3`: waits.
///
/// # Errors
/// What the app says.
pub(crate) fn slow(environment: &Environment) -> Result<(), String> {
    run(environment, "wait", Some(SLOW), wait)
}

/// `w4`: decodes, changes, publishes.
///
/// # Errors
/// What the app says.
pub(crate) fn transform(environment: &Environment) -> Result<(), String> {
    environment.out_topic()?;
    run(environment, "change", Some(PUBLISHING), change)
}

/// `w4` with its messages and its progress in transactions.
///
/// # Errors
/// What the app says.
pub(crate) fn transform_once(environment: &Environment) -> Result<(), String> {
    environment.out_topic()?;
    let once = |config: Config| {
        config
            .default_value("routes.change.delivery", "exactly_once")
            .default_value("routes.change.commit_interval", ONCE_COMMIT)
    };
    run_with(environment, "change", Some(PUBLISHING), change, once)
}

/// The runtime of every workload that has one, on both sides.
///
/// # Errors
/// What the operating system says.
pub(crate) fn runtime() -> Result<Runtime, String> {
    let mut builder = match std::env::var("RUNTIME_THREADS").as_deref() {
        Ok("1") => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))
}

fn config(environment: &Environment, route: &str, concurrency: Option<usize>) -> Config {
    let Environment {
        boot, topic, group, ..
    } = environment;
    let config = Config::new()
        .env_os(std::env::vars_os())
        .default_value("backend.main.url", format!("kafka://{boot}"))
        .set(&format!("routes.{route}.topic"), topic.as_str())
        .set(&format!("routes.{route}.group"), group.as_str())
        .default_value("backend.main.kafka.fetch.queue.backoff.ms", "5")
        .default_value("backend.main.kafka.fetch.max.bytes", client::FETCH_BYTES);
    let concurrency = environment.concurrency.or(concurrency);
    match concurrency.and_then(|concurrency| i64::try_from(concurrency).ok()) {
        Some(concurrency) => {
            config.default_value(&format!("routes.{route}.concurrency"), concurrency)
        }
        None => config,
    }
}

fn run<T, H>(
    environment: &Environment,
    name: &str,
    concurrency: Option<usize>,
    handler: H,
) -> Result<(), String>
where
    H: Annotated<T>,
    H::Meta: Invoke<Arc<Run>>,
{
    run_with(environment, name, concurrency, handler, |config| config)
}

fn run_with<T, H>(
    environment: &Environment,
    name: &str,
    concurrency: Option<usize>,
    handler: H,
    with: impl FnOnce(Config) -> Config,
) -> Result<(), String>
where
    H: Annotated<T>,
    H::Meta: Invoke<Arc<Run>>,
{
    let out = environment.out_topic().unwrap_or_default();
    let state = Arc::new(Run {
        meter: Meter::new(environment.messages),
        out: String::leak(out.to_owned()),
    });
    let app = App::<(), Kafka>::with_config(with(config(environment, name, concurrency)))
        .state(Arc::clone(&state))
        .handler(handler);
    runtime()?.block_on(drive(app, name, &state, environment.messages))?;
    state.meter.print("dotmsg", environment)
}

/// Runs the app until the last message is done, and stops it gracefully.
async fn drive(
    app: App<Arc<Run>, Kafka>,
    name: &str,
    run: &Run,
    messages: u64,
) -> Result<(), String> {
    let running = app.start().await.map_err(|error| error.to_string())?;
    let handle = running.handle().clone();
    let route = handle.route(name).ok_or("the route is not there")?;
    let stats = Arc::clone(&route.stats);
    let once = route.spec.delivery == DeliverySemantics::ExactlyOnce;
    let watch = async {
        if !run.out.is_empty() {
            // A message that is returned is done when its delivery is reported, which the handler does not see.
            while stats.handled() < messages {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // In a transaction it is done when that is committed.
            while once && !route.is_settled().await.unwrap_or(false) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            run.meter.end();
        }
        run.meter.ended().await;
        handle.drain();
        std::future::pending().await
    };
    tokio::select! {
        biased;
        report = running.wait() => report.map(|_| ()).map_err(|error| error.to_string()),
        () = watch => Ok(()),
    }
}
