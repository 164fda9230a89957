//! The app: handlers, state and configuration together, run until they are told to stop.
//!
//! It lives in core and takes its adapters from outside ([`Adapters`]), so that it knows no broker. The facade fills them
//! in: `dotmsg::App` is this type with the adapters of its features.

mod adding;
mod annotated;
mod backends;
mod figures;
mod handle;
mod health;
mod needs;
mod partitioning;
mod run_on;
mod running;
mod signals;
mod starting;
mod tool;
mod topics;

pub use figures::{Attribute, FIGURES, Figure, FigureKind, FigureValue};
pub use handle::{AppHandle, RouteHandle};
pub use health::{Health, RouteHealth, RouteState};
pub use running::{AppReport, Running};

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use self::adding::Defined;
use self::partitioning::Partitioners;
use self::signals::Signals;
use self::starting::StartRoute;
use crate::backend::{Backend, BoxFuture, Partitioner, Registry};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Explained, RouteDefaults};
use crate::error::{Error, ErrorKind, Result};
use crate::handler::{Classify, ErrorClass, ErrorClasses, Layers};
#[cfg(feature = "testing")]
use crate::middleware::Observer;
use crate::trace::Tracer;

/// Which backends an app can open.
pub trait Adapters {
    /// The registry of their URL schemes.
    fn registry() -> Registry;

    /// What serves the endpoint of `[telemetry.http]`. Default: nothing, and a configuration that asks for it is refused.
    fn http() -> Option<ServeHttp> {
        None
    }
}

/// Shows elsewhere what an app measures: all of [`FIGURES`].
pub trait Exporter: fmt::Debug + Send + Sync + 'static {
    /// Called once, before the first message is handled. What reads the figures keeps a clone of the handle.
    fn start(&self, app: &AppHandle);
}

/// Listens on an address for an app; what it gives serves until it is dropped.
pub type ServeHttp =
    fn(SocketAddr, AppHandle) -> BoxFuture<'static, Result<BoxFuture<'static, ()>>>;

/// No backend but those given in code.
#[derive(Clone, Copy, Debug)]
pub struct NoAdapters;

impl Adapters for NoAdapters {
    fn registry() -> Registry {
        Registry::new()
    }
}

/// Filled before the start by whoever watches: the test harness.
#[cfg(feature = "testing")]
type ObserverSlot = Arc<std::sync::OnceLock<Arc<dyn Observer>>>;

struct Route<S> {
    defined: Defined,
    start: StartRoute<S>,
}

/// Handlers, state and configuration.
///
/// Set the state before the first handler; the rest in any order.
pub struct App<S = (), R = NoAdapters> {
    config: Config,
    state: Arc<S>,
    routes: Vec<Route<S>>,
    layers: Layers,
    classes: ErrorClasses,
    clock: Arc<dyn Clock>,
    given: BTreeMap<String, Arc<dyn Backend>>,
    partitioners: Partitioners,
    seed: Option<u64>,
    measured: bool,
    exporters: Vec<Box<dyn Exporter>>,
    tracer: Option<Arc<dyn Tracer>>,
    /// Handlers that were added before the state, for the error.
    too_early: Vec<String>,
    #[cfg(feature = "testing")]
    observer: ObserverSlot,
    adapters: PhantomData<fn() -> R>,
}

impl<R: Adapters> App<(), R> {
    /// An app from this configuration, without handlers. The environment is what [`Config::env`] was given.
    #[must_use]
    pub fn with_config(config: Config) -> Self {
        Self {
            config,
            state: Arc::new(()),
            routes: Vec::new(),
            layers: Layers::default(),
            classes: ErrorClasses::default(),
            clock: Arc::new(SystemClock),
            given: BTreeMap::new(),
            partitioners: Partitioners::new(),
            seed: None,
            measured: false,
            exporters: Vec::new(),
            tracer: None,
            too_early: Vec::new(),
            #[cfg(feature = "testing")]
            observer: ObserverSlot::default(),
            adapters: PhantomData,
        }
    }

    /// An app from a TOML file and the process's environment (`DOTMSG__…`).
    ///
    /// # Errors
    /// The file cannot be read or is not TOML. Everything else that is wrong with it is reported by [`App::run`], when
    /// the handlers are known.
    pub fn from_config(path: impl AsRef<Path>) -> Result<Self> {
        let config = Config::from_file(path)?.env_os(std::env::vars_os());
        Ok(Self::with_config(config))
    }

    /// The shared state that handlers extract with `State`. Set it before the first handler: a handler that was added
    /// before it was made for another state, and the app refuses to start.
    #[must_use]
    pub fn state<S>(self, state: S) -> App<S, R> {
        App {
            config: self.config,
            state: Arc::new(state),
            routes: Vec::new(),
            layers: self.layers,
            classes: self.classes,
            clock: self.clock,
            given: self.given,
            partitioners: self.partitioners,
            seed: self.seed,
            measured: self.measured,
            exporters: self.exporters,
            tracer: self.tracer,
            too_early: self
                .routes
                .into_iter()
                .map(|route| route.defined.defaults.handler)
                .collect(),
            #[cfg(feature = "testing")]
            observer: self.observer,
            adapters: PhantomData,
        }
    }
}

impl<S, R> App<S, R>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    /// Uses an open backend under this name, instead of the URL the configuration gives for it. The app closes it when it
    /// ends; one that several apps share is given to each as a [`Connection`](crate::backend::Connection).
    #[must_use]
    pub fn backend(mut self, name: &str, backend: Arc<dyn Backend>) -> Self {
        self.config = self
            .config
            .default_value(&format!("backend.{name}.url"), "memory:");
        self.given.insert(name.to_owned(), backend);
        self
    }

    /// Asks this partitioner where a key goes, for every message that the app publishes to the backend of this name: what
    /// handlers return, and what goes through [`AppHandle::publisher`]. It is given topics by the names that handlers use,
    /// without the backend's `topic_prefix`. Default: murmur2, as in the Java client of Kafka. Give it to every app that
    /// publishes keys to the same topic. A backend that honours none is refused at the start.
    ///
    /// ```
    /// use dotmsg_core::app::{App, NoAdapters};
    /// use dotmsg_core::backend::{Partitioner, partition_for_key};
    /// use dotmsg_core::config::Config;
    ///
    /// /// Keys such as `acme/17`: all of one tenant go to one partition.
    /// #[derive(Debug)]
    /// struct ByTenant;
    ///
    /// impl Partitioner for ByTenant {
    ///     fn partition(&self, _topic: &str, key: &[u8], partitions: u32) -> u32 {
    ///         let tenant = key.split(|byte| *byte == b'/').next().unwrap_or(key);
    ///         partition_for_key(tenant, partitions)
    ///     }
    /// }
    ///
    /// let app: App<(), NoAdapters> = App::with_config(Config::new()).partitioner("main", ByTenant);
    /// ```
    #[must_use]
    pub fn partitioner(mut self, backend: &str, partitioner: impl Partitioner) -> Self {
        self.partitioners
            .insert(backend.to_owned(), Arc::new(partitioner));
        self
    }

    /// Errors of this type, also as a cause, go to the dead-letter topic at once, unless the handler itself said
    /// otherwise.
    #[must_use]
    pub fn permanent<E: std::error::Error + 'static>(mut self) -> Self {
        self.classes.add::<E>(ErrorClass::Permanent);
        self
    }

    /// Errors of this type, also as a cause, are tried again, unless the handler itself said otherwise.
    #[must_use]
    pub fn transient<E: std::error::Error + 'static>(mut self) -> Self {
        self.classes.add::<E>(ErrorClass::Transient);
        self
    }

    /// Errors of this type, also as a cause, are of the class and kind that they say themselves, unless the handler itself
    /// said otherwise. Among the rules for one error the first one decides.
    ///
    /// It is for errors that reach [`HandlerError`](crate::handler::HandlerError) by `?`. A function under
    /// `#[dotmsg::handler]` that returns the type as the error of its `Result` needs it not.
    ///
    /// ```
    /// use dotmsg_core::app::{App, NoAdapters};
    /// use dotmsg_core::config::Config;
    /// use dotmsg_core::handler::{Classify, ErrorClass};
    ///
    /// #[derive(Debug)]
    /// struct DbError {
    ///     is_constraint: bool,
    /// }
    ///
    /// impl Classify for DbError {
    ///     fn class(&self) -> ErrorClass {
    ///         match self.is_constraint {
    ///             true => ErrorClass::Permanent,
    ///             false => ErrorClass::Transient,
    ///         }
    ///     }
    /// }
    /// # impl std::fmt::Display for DbError {
    /// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    /// #         f.write_str("the database failed")
    /// #     }
    /// # }
    /// # impl std::error::Error for DbError {}
    ///
    /// let app: App<(), NoAdapters> = App::with_config(Config::new()).classify::<DbError>();
    /// ```
    #[must_use]
    pub fn classify<E: Classify + std::error::Error + 'static>(mut self) -> Self {
        self.classes.ask::<E>();
        self
    }

    /// The clock that stamps records and tells due times. Default: the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Seed of everything random (owner tokens, jitter, hashes). Default: from the operating system.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Measures how long calls of handlers take and counts their failures by kind, for whoever exports it
    /// ([`RouteMetrics`](crate::metrics::RouteMetrics)). Default: not measured, unless the configuration has an endpoint that
    /// shows it. All else that is measured costs no message anything and is always there.
    #[must_use]
    pub fn measured(mut self) -> Self {
        self.measured = true;
        self
    }

    /// Has this exporter show what the app measures, and measures calls of handlers ([`App::measured`]). There may be several. That
    /// of OpenTelemetry is in the crate `dotmsg-otel` (feature `otel` of `dotmsg`).
    #[must_use]
    pub fn exporter(mut self, exporter: impl Exporter) -> Self {
        self.exporters.push(Box::new(exporter));
        self.measured()
    }

    /// Traces what the app handles and publishes. Default: nobody does, and contexts of messages are passed on as they are. That of
    /// OpenTelemetry is in the crate `dotmsg-otel` (feature `otel` of `dotmsg`).
    #[must_use]
    pub fn tracer(mut self, tracer: impl Tracer) -> Self {
        self.tracer = Some(Arc::new(tracer));
        self
    }

    /// Changes the configuration in code.
    #[must_use]
    pub fn configure(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        self.config = change(self.config);
        self
    }

    /// The names of the backends that the configuration names, `main` among them.
    #[cfg(feature = "testing")]
    pub(crate) fn backend_names(&self) -> Vec<String> {
        let configured = self.config.backends().unwrap_or_default();
        let mut names: Vec<String> = configured.into_iter().map(|one| one.name).collect();
        if names.iter().all(|name| name != "main") {
            names.push("main".to_owned());
        }
        names
    }

    /// Tells what the routes do, from their start on.
    #[cfg(feature = "testing")]
    pub(crate) fn observed(self, observer: Arc<dyn Observer>) -> Self {
        let first = self.observer.set(observer).is_ok();
        debug_assert!(first, "an app is started once");
        self
    }

    /// Runs until SIGTERM or SIGINT, then drains; a second signal gives up what still runs. One that comes during the start
    /// ends it: nothing was handled by then, what was opened is closed, and the report is empty.
    ///
    /// # Errors
    /// Everything wrong with the configuration at once; an unreachable backend; what a backend cannot keep; a route that
    /// failed for good (the others are drained then).
    pub async fn run(self) -> Result<AppReport> {
        self.has_handlers()?;
        let mut signals = Signals::listen();
        self.has_one_state()?;
        match running::start_unless(self, signals.next()).await? {
            Some(running) => running.run_with(signals).await,
            None => {
                tracing::info!("stopped by a signal during the start");
                Ok(AppReport::default())
            }
        }
    }

    /// Runs until `stop` resolves, then drains.
    ///
    /// # Errors
    /// As [`App::run`].
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<AppReport> {
        self.has_handlers()?;
        let running = self.start().await?;
        let handle = running.handle().clone();
        let drive = async move {
            stop.await;
            handle.drain();
            std::future::pending::<()>().await;
        };
        running.wait_with(drive).await
    }

    /// To run without a handler would be to return at once, as if all were done.
    fn has_handlers(&self) -> Result<()> {
        if self.routes.is_empty() && self.too_early.is_empty() {
            return Err(
                Error::new(ErrorKind::Config, "run app", "the app has no handlers").remedy(
                    "Add one with App::handler; App::start runs an app that only publishes",
                ),
            );
        }
        Ok(())
    }

    /// Starts every route and returns at once; for tests and for apps that run beside something else.
    ///
    /// # Errors
    /// As [`App::run`], as far as it shows before the routes run.
    pub async fn start(self) -> Result<Running> {
        self.has_one_state()?;
        running::start(self).await
    }

    /// Opens the backends and runs nothing: for a program that lists or replays dead letters, or resets a position, while the
    /// service is stopped. No topic is made. Close the backends afterwards ([`AppHandle::close`]).
    ///
    /// # Errors
    /// Everything wrong with the configuration at once; an unreachable backend.
    pub async fn open(self) -> Result<AppHandle> {
        self.has_one_state()?;
        Ok(running::open(self).await?.handle)
    }

    /// Every key of the configuration with its effective value and its source, without secrets, for these handlers and with the
    /// settings of the adapters; nothing is opened. Print it as a TOML file, or serialise it.
    ///
    /// # Errors
    /// Everything wrong with the configuration at once.
    pub fn explain(&self) -> Result<Explained> {
        self.has_one_state()?;
        let config = self.whole_config(&R::registry());
        Ok(config.explain(&self.route_defaults())?)
    }

    /// The configuration, with what the app itself knows.
    fn whole_config(&self, registry: &Registry) -> Config {
        let config = self.config.clone().adapters(registry);
        config.given(self.given.keys())
    }

    /// What the attributes say.
    fn route_defaults(&self) -> Vec<RouteDefaults> {
        let routes = self.routes.iter();
        routes.map(|route| route.defined.defaults.clone()).collect()
    }

    fn has_one_state(&self) -> Result<()> {
        if self.too_early.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Config,
            "start app",
            "handlers were added before the state, and are made for another one",
        )
        .with("handlers", self.too_early.join(", "))
        .remedy("Call App::state before the first App::handler"))
    }
}

impl<S, R> fmt::Debug for App<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let routes = self
            .routes
            .iter()
            .map(|route| &route.defined.defaults.handler);
        f.debug_struct("App")
            .field("config", &self.config)
            .field("routes", &routes.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
