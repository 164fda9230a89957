//! From a configuration to running routes, and back to a report.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::backends::{Backends, Open, with_publishers};
use super::partitioning;
use super::signals::{self, Signals};
use super::starting::Start;
use super::{Adapters, App, AppHandle, Route, RouteHandle, needs};
use crate::config::Resolved;
use crate::delivery::Provided;
use crate::error::{Error, ErrorKind, Result};
use crate::handler::ErrorClasses;
#[cfg(feature = "testing")]
use crate::middleware::Watch;
use crate::middleware::circuit_breaker::{Breaker, BreakerPolicy};
use crate::middleware::publish_returned::Enlistment;
use crate::router::{
    BreakerSpec, DeliverySemantics, Front, RouteSpec, SharedLimits, StackParts, Topology,
};
use crate::runtime::{RouteContext, RouteReport, RouteStats, Shutdown};
use crate::trace::{RouteTracer, TracedRoute, Tracer};

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
    for (name, open) in handle.backends.iter() {
        match timeout_at(deadline, open.backend.close()).await {
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
    mut app: App<S, R>,
    stop: impl Future<Output = ()>,
) -> Result<Option<Running>>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    tokio::pin!(stop);
    let state = Arc::clone(&app.state);
    let layers = app.layers.clone();
    let exporters = std::mem::take(&mut app.exporters);
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
        prepared = handle.prepare_topics() => prepared?,
        () = &mut stop => {
            drop(planned);
            close(&handle).await;
            return Ok(None);
        }
    }
    for exporter in &exporters {
        exporter.start(&handle);
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
    let open = Backends::of(&app, &registry).open(&resolved).await?;
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
            auto_create: handle.auto_create,
            instance: Some(open.config.instance_id.clone()).filter(|name| !name.is_empty()),
            clock: Arc::clone(&app.clock),
            stats: Arc::clone(&handle.stats),
            shutdown: shutdown.clone(),
            seed: random.u64(..),
            enlistment: enlistment.clone(),
            breaker: handle.breaker.clone(),
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

/// Opens the backends of what is resolved, and nothing is planned.
pub(super) async fn open_resolved<R: Adapters>(
    app: &App<(), R>,
    resolved: &Resolved,
) -> Result<AppHandle> {
    let registry = R::registry();
    let open = Backends::of(app, &registry).open(resolved).await?;
    let routes = resolved.routes.iter();
    let routes = routes.map(|spec| handle_of(spec.clone(), &open[&spec.backend], &app.classes));
    Ok(AppHandle {
        shutdown: Arc::new(watch::channel(Shutdown::No).0),
        routes: routes.collect(),
        backends: Arc::new(with_publishers(open)),
    })
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
        auto_create: open
            .config
            .auto_create
            .then_some(open.config.auto_create_partitions),
        topology: Arc::new(Topology::of(&spec, &open.config.topic_prefix)),
        spec: Arc::new(spec),
        stats: Arc::new(RouteStats::default()),
        backend: Arc::clone(&open.backend),
    }
}
