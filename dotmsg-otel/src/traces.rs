//! The tracer that an app is given.

use std::fmt;
use std::sync::Arc;

use dotmsg_core::trace::{RouteTracer, SendTracer, TracedPublisher, TracedRoute, Tracer};
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{self, TracerProvider};

use crate::names;
use crate::route::Route;
use crate::sending::Sending;
use crate::settings::Settings;

/// Traces an app for OpenTelemetry: `App::tracer(Traces::new(&provider))`. See the [crate](crate).
pub struct Traces<T> {
    tracer: Arc<T>,
    settings: Settings,
}

impl<T> Traces<T> {
    /// Spans of this provider: the one that the SDK gave the application, or `opentelemetry::global::tracer_provider()`.
    #[must_use]
    pub fn new<P: TracerProvider<Tracer = T>>(provider: &P) -> Self {
        let scope = InstrumentationScope::builder("dotmsg")
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(names::SCHEMA_URL)
            .build();
        Self {
            tracer: Arc::new(provider.tracer_with_scope(scope)),
            settings: Settings::default(),
        }
    }

    /// Each message begins a trace of its own when it is handled first, which links to the producer's span, in place of one that
    /// goes on from there. The sampler decides on it. Default: it goes on.
    ///
    /// It is for topics whose consumers are many or far from the producer, where one trace would grow without an end. A message
    /// whose producer did not sample it is not traced either way.
    #[must_use]
    pub const fn own_traces(mut self) -> Self {
        self.settings.own_traces = true;
        self
    }

    /// Asks the SDK's sampler about this share of the messages that carry no context, from 0 to 1; the others are not traced.
    /// Default: 1, about each.
    ///
    /// To ask costs allocations and two random ids for each message, whatever the sampler says. On a topic whose producers do not
    /// trace, a share of 0.01 and a sampler that takes all gives the traces that a sampler of 0.01 would, and costs next to nothing.
    #[must_use]
    pub fn roots(mut self, share: f64) -> Self {
        self.settings.set_roots(share);
        self
    }
}

/// A tracer of OpenTelemetry whose spans may be held in contexts: that of every SDK.
pub(crate) trait SpanTracer:
    trace::Tracer<Span: Send + Sync + 'static> + Send + Sync + 'static
{
}

impl<T> SpanTracer for T
where
    T: trace::Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
}

impl<T> Tracer for Traces<T>
where
    T: trace::Tracer + Send + Sync + 'static,
    T::Span: Send + Sync + 'static,
{
    fn route(&self, route: &TracedRoute<'_>) -> Arc<dyn RouteTracer> {
        Arc::new(Route::new(Arc::clone(&self.tracer), self.settings, route))
    }

    fn publisher(&self, publisher: &TracedPublisher<'_>) -> Arc<dyn SendTracer> {
        Arc::new(Sending::new(Arc::clone(&self.tracer), publisher))
    }
}

impl<T> Clone for Traces<T> {
    fn clone(&self) -> Self {
        Self {
            tracer: Arc::clone(&self.tracer),
            settings: self.settings,
        }
    }
}

impl<T> fmt::Debug for Traces<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
