//! The backends of an app: opened as the configuration says, or given open.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::App;
use super::handle::OpenBackend;
use super::partitioning::{self, Partitioners};
use crate::backend::{Backend, Registry};
use crate::clock::Clock;
use crate::config::{BackendConfig, Resolved};
use crate::error::Result;
use crate::publisher::Publisher;
use crate::trace::{TracedPublisher, Tracer};

/// A backend that is open, with what the configuration says of it.
pub(super) struct Open {
    pub(super) config: BackendConfig,
    pub(super) backend: Arc<dyn Backend>,
    pub(super) publisher: Publisher,
    /// The same for handlers.
    pub(super) handlers_publisher: Publisher,
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
pub(super) struct Backends<'a> {
    registry: &'a Registry,
    given: &'a BTreeMap<String, Arc<dyn Backend>>,
    partitioners: &'a Partitioners,
    clock: &'a Arc<dyn Clock>,
    tracer: Option<&'a dyn Tracer>,
}

impl<'a> Backends<'a> {
    /// Those of an app.
    pub(super) fn of<S, R>(app: &'a App<S, R>, registry: &'a Registry) -> Self {
        Self {
            registry,
            given: &app.given,
            partitioners: &app.partitioners,
            clock: &app.clock,
            tracer: app.tracer.as_deref(),
        }
    }

    /// Opens those that a route names; all of them when there are no routes.
    pub(super) async fn open(&self, resolved: &Resolved) -> Result<BTreeMap<String, Open>> {
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
        log_configuration(resolved, &open, self.given);
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

/// As a handle gives them out.
pub(super) fn with_publishers(open: BTreeMap<String, Open>) -> BTreeMap<String, OpenBackend> {
    let with_publisher = |(name, open): (String, Open)| {
        let open = OpenBackend {
            backend: open.backend,
            publisher: open.publisher,
            topic_prefix: open.config.topic_prefix,
        };
        (name, open)
    };
    open.into_iter().map(with_publisher).collect()
}
