//! From a configuration to running routes, and back to a report.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::signals;
use super::{Adapters, App, AppHandle, RouteHandle, TopicPublisher};
use crate::backend::Backend;
use crate::config::{BackendConfig, RouteDefaults};
use crate::error::{Error, ErrorKind, Result};
use crate::router::StackParts;
use crate::router::{RouteSpec, Topology};
use crate::runtime::{RouteContext, RouteReport, RouteStats, Shutdown};

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
    /// # Errors
    /// As [`Running::wait`].
    pub async fn run(self) -> Result<AppReport> {
        let signals = signals::drive(self.handle.clone());
        self.wait_with(signals).await
    }

    pub(super) async fn wait_with(mut self, drive: impl Future<Output = ()>) -> Result<AppReport> {
        let ended = async {
            let mut report = AppReport::default();
            let mut failure = None;
            while let Some(joined) = self.tasks.join_next().await {
                match joined.unwrap_or_else(|panic| Err(panicked(panic))) {
                    Ok(route) => report.routes.push(route),
                    Err(error) => {
                        tracing::error!(%error, "a route failed; the others are drained");
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
        for (backend, _) in self.handle.backends.values() {
            if let Err(error) = backend.close().await {
                tracing::warn!(%error, "closing a backend failed");
            }
        }
        result
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
}

pub(super) async fn start<S, R>(app: App<S, R>) -> Result<Running>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    let defaults: Vec<RouteDefaults> = app
        .routes
        .iter()
        .map(|route| route.defaults.clone())
        .collect();
    let resolved = app.config.resolve(&defaults)?;
    let mut open = BTreeMap::new();
    for config in resolved.backends {
        let used = resolved
            .routes
            .iter()
            .any(|route| route.backend == config.name);
        if !used && !resolved.routes.is_empty() {
            continue;
        }
        let backend = match app.given.get(&config.name) {
            Some(given) => Arc::clone(given),
            None => {
                let options = config.options(Arc::clone(&app.clock));
                R::registry().open(options).await?
            }
        };
        open.insert(config.name.clone(), Open { config, backend });
    }
    let (sender, shutdown) = watch::channel(Shutdown::No);
    let mut random = app
        .seed
        .map_or_else(fastrand::Rng::new, fastrand::Rng::with_seed);
    let mut handles = Vec::new();
    let mut tasks = JoinSet::new();
    for (route, spec) in app.routes.into_iter().zip(resolved.routes) {
        let open = &open[&spec.backend];
        let handle = handle_of(spec, open);
        let context = RouteContext {
            route: Arc::clone(&handle.spec),
            topology: Arc::clone(&handle.topology),
            backend: Arc::clone(&open.backend),
            auto_create: open
                .config
                .auto_create
                .then_some(open.config.auto_create_partitions),
            clock: Arc::clone(&app.clock),
            stats: Arc::clone(&handle.stats),
            shutdown: shutdown.clone(),
            seed: random.u64(..),
        };
        let parts = StackParts {
            route: Arc::clone(&handle.spec),
            topology: Arc::clone(&handle.topology),
            publisher: open.backend.publisher(),
            clock: Arc::clone(&app.clock),
            classes: app.classes.clone(),
            topic_prefix: open.config.topic_prefix.clone(),
            jitter_seed: random.u64(..),
        };
        tasks.spawn((route.start)(context, parts, Arc::clone(&app.state)));
        handles.push(handle);
    }
    let backends = open.into_iter().map(|(name, open)| {
        let publisher = TopicPublisher::new(
            &open.config.topic_prefix,
            open.backend.publisher(),
            Arc::clone(&app.clock),
        );
        (name, (open.backend, publisher))
    });
    let handle = AppHandle {
        shutdown: Arc::new(sender),
        routes: handles.into(),
        backends: Arc::new(backends.collect()),
    };
    Ok(Running { handle, tasks })
}

fn handle_of(spec: RouteSpec, open: &Open) -> RouteHandle {
    RouteHandle {
        topology: Arc::new(Topology::of(&spec, &open.config.topic_prefix)),
        spec: Arc::new(spec),
        stats: Arc::new(RouteStats::default()),
        backend: Arc::clone(&open.backend),
    }
}
