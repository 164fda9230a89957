//! From a configuration to running routes, and back to a report.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::handle::OpenBackend;
use super::partitioning::{self, Partitioners};
use super::signals::{self, Signals};
use super::starting::Start;
use super::{Adapters, App, AppHandle, Route, RouteHandle, needs};
use crate::backend::{Backend, Registry};
use crate::clock::Clock;
use crate::config::{BackendConfig, Resolved};
use crate::delivery::Provided;
use crate::error::{Error, ErrorKind, Result};
use crate::handler::ErrorClasses;
#[cfg(feature = "testing")]
use crate::middleware::Watch;
use crate::middleware::circuit_breaker::{Breaker, BreakerPolicy};
use crate::middleware::publish_returned::Enlistment;
use crate::publisher::Publisher;
use crate::router::{
    BreakerSpec, DeliverySemantics, Front, RouteSpec, SharedLimits, StackParts, Topology,
};
use crate::runtime::{RouteContext, RouteReport, RouteStats, Shutdown, check_sources, prepare};
use crate::trace::{RouteTracer, TracedPublisher, TracedRoute, Tracer};

/// All backends together are closed within this, whatever they do: their routes have ended, so nothing waits for them.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What became of each route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppReport {
    /// In the order in which they ended.
    pub routes: Vec<RouteReport>,
}

/// An app whose routes run.
#[derive(Debug)]
pub struct Running {
    handle: AppHandle,
    tasks: JoinSet<Result<RouteReport>>,
    /// What serves the HTTP endpoint, until all else has ended.
    _endpoint: JoinSet<()>,
}

impl Running {
    /// Stops and inspects it.
    #[must_use]
    pub fn handle(&self) -> &AppHandle {
        &self.handle
    }

    /// Waits for the end of every route. A route that fails makes the others drain.
    ///
    /// # Errors
    /// The first failure.
    pub async fn wait(self) -> Result<AppReport> {
        self.wait_with(std::future::pending()).await
    }

    /// Waits until SIGTERM or SIGINT, then drains; a second signal gives up what still runs.
    ///
    /// Signals are listened for from this call on; a process that was signalled before it has ended. ([`App::run`] listens
    /// from its beginning.)
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub async fn run(self) -> Result<AppReport> {
        self.run_with(Signals::listen()).await
    }

    pub(super) async fn run_with(self, signals: Signals) -> Result<AppReport> {
        let drive = signals::drive(signals, self.handle.clone());
        self.wait_with(drive).await
    }

    pub(super) async fn wait_with(mut self, drive: impl Future<Output = ()>) -> Result<AppReport> {
        let ended = async {
            let mut report = AppReport::default();
            let mut failure = None;
            while let Some(joined) = self.tasks.join_next().await {
                match joined.unwrap_or_else(|panic| {
                    let error = panicked(panic);
                    tracing::error!(%error, "a route failed");
                    Err(error)
                }) {
                    Ok(route) => report.routes.push(route),
                    Err(error) => {
                        tracing::warn!("the other routes are drained, because one failed");
                        self.handle.drain();
                        failure.get_or_insert(error);
                    }
                }
            }
            failure.map_or(Ok(report), Err)
        };
        tokio::pin!(ended, drive);
        let result = tokio::select! {
            biased;
            result = &mut ended => result,
            () = &mut drive => ended.await,
        };
        close(&self.handle).await;
        result
    }
}

/// Closes the backends.
async fn close(handle: &AppHandle) {
    let deadline = Instant::now() + CLOSE_WITHIN;
    for (name, (backend, _)) in handle.backends.iter() {
        match timeout_at(deadline, backend.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(backend = %name, %error, "closing a backend failed");
            }
            Err(_) => tracing::error!(backend = %name, "a backend does not close; left behind"),
        }
    }
}

fn panicked(panic: tokio::task::JoinError) -> Error {
    Error::new(
        ErrorKind::Unexpected,
        "run route",
        "the route's task panicked",
    )
    .source_error(panic)
}

/// A backend that is open, with what the configuration says of it.
struct Open {
    config: BackendConfig,
    backend: Arc<dyn Backend>,
    publisher: Publisher,
    /// The same for handlers.
    handlers_publisher: Publisher,
}

/// A route that is ready to run.
pub(super) struct Planned<S> {
    route: Route<S>,
    context: RouteContext,
    parts: StackParts,
}

pub(super) async fn start<S, R>(app: App<S, R>) -> Result<Running>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    let started = start_unless(app, std::future::pending()).await?;
    Ok(started.expect("nothing stops it"))
}

/// Starts, unless `stop` resolves before the routes run: then what was opened is closed, and there is nothing to drain.
/// `stop` is not polled once it has resolved, or once the routes run.
pub(super) async fn start_unless<S, R>(
    app: App<S, R>,
    stop: impl Future<Output = ()>,
) -> Result<Option<Running>>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    tokio::pin!(stop);
    let state = Arc::clone(&app.state);
    let layers = app.layers.clone();
    #[cfg(feature = "testing")]
    let observer = app.observer.get().cloned();
    let Opened {
        handle,
        planned,
        http,
    } = tokio::select! {
        biased;
        opened = open(app) => opened?,
        () = &mut stop => return Ok(None),
    };
    let endpoint = match serve_http::<R>(http, &handle).await {
        Ok(endpoint) => endpoint,
        Err(error) => {
            close(&handle).await;
            return Err(error);
        }
    };
    tokio::select! {
        biased;
        prepared = prepare_all(&planned) => prepared?,
        () = &mut stop => {
            drop(planned);
            close(&handle).await;
            return Ok(None);
        }
    }
    let mut tasks = JoinSet::new();
    for planned in planned {
        let Planned {
            route,
            context,
            parts,
        } = planned;
        let start = Start {
            #[cfg(feature = "testing")]
            watch: Watch::new(observer.clone(), &context.route.handler),
            context,
            parts,
            state: Arc::clone(&state),
            layers: route.defined.layers.within(&layers),
        };
        tasks.spawn((route.start)(start));
    }
    Ok(Some(Running {
        handle,
        tasks,
        _endpoint: endpoint,
    }))
}

/// Listens where the configuration says, before any route runs: a port that is taken ends the start.
async fn serve_http<R: Adapters>(
    listen: Option<SocketAddr>,
    handle: &AppHandle,
) -> Result<JoinSet<()>> {
    let mut serving = JoinSet::new();
    let Some(address) = listen else {
        return Ok(serving);
    };
    let Some(serve) = R::http() else {
        let error = Error::new(
            ErrorKind::Config,
            "start app",
            "the configuration asks for an HTTP endpoint, and this program was built without it",
        );
        return Err(error.with("telemetry.http.listen", address).remedy(
            "Turn on the feature `http` of dotmsg, or set telemetry.http.listen to \"none\"",
        ));
    };
    serving.spawn(serve(address, handle.clone()).await?);
    Ok(serving)
}

/// An app whose backends are open.
pub(super) struct Opened<S> {
    pub(super) handle: AppHandle,
    planned: Vec<Planned<S>>,
    http: Option<SocketAddr>,
}

/// Opens the backends and plans the routes; nothing runs and no topic is made.
pub(super) async fn open<S, R>(app: App<S, R>) -> Result<Opened<S>>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    let registry = R::registry();
    let resolved = app.whole_config(&registry).resolve(&app.route_defaults())?;
    partitioning::check(&app.partitioners, &resolved.backends)?;
    needs::check(
        app.routes.iter().map(|route| route.defined.needs),
        &resolved.routes,
    )?;
    let backends = Backends {
        registry: &registry,
        given: &app.given,
        partitioners: &app.partitioners,
        clock: &app.clock,
        tracer: app.tracer.as_deref(),
    };
    let open = backends.open(&resolved).await?;
    log_configuration(&resolved, &open, &app.given);
    let limits = SharedLimits::new(&resolved.limits);
    let (sender, shutdown) = watch::channel(Shutdown::No);
    let mut random = app
        .seed
        .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let mut handles = Vec::new();
    let mut planned = Vec::new();
    for (route, spec) in app.routes.into_iter().zip(resolved.routes) {
        let open = &open[&spec.backend];
        let handle = handle_of(spec, open, &app.classes);
        let enlistment = enlistment(&handle.spec);
        let context = RouteContext {
            route: Arc::clone(&handle.spec),
            topology: Arc::clone(&handle.topology),
            backend: Arc::clone(&open.backend),
            auto_create: open
                .config
                .auto_create
                .then_some(open.config.auto_create_partitions),
            instance: Some(open.config.instance_id.clone()).filter(|name| !name.is_empty()),
            clock: Arc::clone(&app.clock),
            stats: Arc::clone(&handle.stats),
            shutdown: shutdown.clone(),
            seed: random.u64(..),
            enlistment: enlistment.clone(),
            provided: provided(&handle.spec, open),
        };
        let parts = StackParts {
            route: Arc::clone(&handle.spec),
            topology: Arc::clone(&handle.topology),
            publisher: open.backend.publisher(),
            clock: Arc::clone(&app.clock),
            classes: app.classes.clone(),
            topic_prefix: open.config.topic_prefix.clone(),
            jitter_seed: random.u64(..),
            enlistment,
            breaker: handle.breaker.clone(),
            limits: limits.clone(),
            front: Front::of(&handle.spec, &app.clock),
            metrics: Arc::clone(handle.stats.metrics()),
            measured: app.measured || resolved.http.is_some(),
            tracer: app
                .tracer
                .as_deref()
                .map(|tracer| traced(tracer, &handle, open)),
        };
        handles.push(handle);
        planned.push(Planned {
            route,
            context,
            parts,
        });
    }
    let handle = AppHandle {
        shutdown: Arc::new(sender),
        routes: handles.into(),
        backends: Arc::new(with_publishers(open)),
    };
    Ok(Opened {
        handle,
        planned,
        http: resolved.http,
    })
}

/// One line that says which configuration this is: a service that runs on the wrong data looks like any other.
fn log_configuration(
    resolved: &Resolved,
    open: &BTreeMap<String, Open>,
    given: &BTreeMap<String, Arc<dyn Backend>>,
) {
    let backend = |(name, open): (&String, &Open)| {
        let url = match given.contains_key(name) {
            true => "given in code".to_owned(),
            false => open.config.safe_url(),
        };
        match &*open.config.topic_prefix {
            "" => format!("{name} = {url}"),
            prefix => format!("{name} = {url} (topics {prefix}*)"),
        }
    };
    let backends: Vec<String> = open.iter().map(backend).collect();
    tracing::info!(
        profile = %resolved.profile.as_deref().unwrap_or("none"),
        backends = %backends.join(", "),
        configuration = %resolved.sources.join(", "),
        routes = resolved.routes.len(),
        "configuration is resolved, backends are open"
    );
}

/// Where an app's backends come from.
struct Backends<'a> {
    registry: &'a Registry,
    given: &'a BTreeMap<String, Arc<dyn Backend>>,
    partitioners: &'a Partitioners,
    clock: &'a Arc<dyn Clock>,
    tracer: Option<&'a dyn Tracer>,
}

impl Backends<'_> {
    /// Opens those that a route names; all of them when there are no routes.
    async fn open(&self, resolved: &Resolved) -> Result<BTreeMap<String, Open>> {
        let mut open = BTreeMap::new();
        for config in &resolved.backends {
            let mut routes = resolved.routes.iter();
            if !resolved.routes.is_empty() && !routes.any(|route| route.backend == config.name) {
                continue;
            }
            let backend = self.one(config).await?;
            let one = Open {
                config: config.clone(),
                publisher: self.publisher(config, &*backend, false),
                handlers_publisher: self.publisher(config, &*backend, true),
                backend,
            };
            open.insert(config.name.clone(), one);
        }
        Ok(open)
    }

    fn publisher(
        &self,
        config: &BackendConfig,
        backend: &dyn Backend,
        for_handlers: bool,
    ) -> Publisher {
        let publisher = Publisher::new(backend.publisher())
            .topic_prefix(&*config.topic_prefix)
            .clock(Arc::clone(self.clock));
        match self.tracer {
            None => publisher,
            Some(tracer) => {
                let traced = TracedPublisher::new(config.adapter(), for_handlers);
                publisher.tracer(tracer.publisher(&traced))
            }
        }
    }

    async fn one(&self, config: &BackendConfig) -> Result<Arc<dyn Backend>> {
        let backend = match self.given.get(&config.name) {
            Some(given) => Arc::clone(given),
            None => {
                let options = config.options(Arc::clone(self.clock));
                self.registry.open(options).await?
            }
        };
        partitioning::partitioned(backend, config, self.partitioners)
    }
}

/// Checks every route and creates its group's topics before any runs: one route may read what another writes. Routes
/// that read another's own topic (its dead letters, say) come last, so that it exists with the partitions it should have.
async fn prepare_all<S>(planned: &[Planned<S>]) -> Result<()> {
    let reads_own_topic = |context: &RouteContext| {
        planned.iter().any(|other| {
            let mut own = other.context.topology.own_topics();
            own.any(|topic| *topic == context.topology.source)
        })
    };
    let contexts: Vec<_> = planned.iter().map(|planned| &planned.context).collect();
    check_sources(&contexts).await?;
    for last in [false, true] {
        for planned in planned {
            if reads_own_topic(&planned.context) == last {
                prepare(&planned.context).await?;
            }
        }
    }
    Ok(())
}

fn with_publishers(open: BTreeMap<String, Open>) -> BTreeMap<String, OpenBackend> {
    let with_publisher = |(name, open): (String, Open)| (name, (open.backend, open.publisher));
    open.into_iter().map(with_publisher).collect()
}

/// What the deliveries of a route have for their extractors. No publisher where it would get round a transaction, whatever an
/// extractor says of its needs.
fn provided(route: &RouteSpec, open: &Open) -> Option<Arc<Provided>> {
    (route.delivery != DeliverySemantics::ExactlyOnce)
        .then(|| Arc::new(Provided::new().with(open.handlers_publisher.clone())))
}

/// The circuit of a route, which all its workers share.
fn breaker(route: &RouteSpec, classes: &ErrorClasses) -> Option<Arc<Breaker>> {
    let BreakerSpec { failures, pause } = route.breaker?;
    let policy = BreakerPolicy {
        failures,
        pause,
        puts_back: route.delivery != DeliverySemantics::AtMostOnce,
    };
    Some(Arc::new(Breaker::new(policy, classes.clone())))
}

/// What layers and pump of a route share when its messages are returned in transactions.
fn enlistment(route: &RouteSpec) -> Option<Arc<Enlistment>> {
    (route.delivery == DeliverySemantics::ExactlyOnce).then(Arc::default)
}

/// Who traces a route.
fn traced(tracer: &dyn Tracer, handle: &RouteHandle, open: &Open) -> Arc<dyn RouteTracer> {
    let route = &handle.spec;
    let traced = TracedRoute::new(&route.handler, &route.group, &handle.topology.source)
        .adapter(open.config.adapter())
        .batches(route.batch.is_some());
    tracer.route(&traced)
}

fn handle_of(spec: RouteSpec, open: &Open, classes: &ErrorClasses) -> RouteHandle {
    RouteHandle {
        breaker: breaker(&spec, classes),
        topology: Arc::new(Topology::of(&spec, &open.config.topic_prefix)),
        spec: Arc::new(spec),
        stats: Arc::new(RouteStats::default()),
        backend: Arc::clone(&open.backend),
    }
}
