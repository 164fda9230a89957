//! Traces and metrics of [dotmsg](https://docs.rs/dotmsg) for OpenTelemetry: [`Traces`], [`Metrics`].
//!
//! Only the API of OpenTelemetry is used: SDK, sampler and exporter are the application's.
//!
//! ```
//! use dotmsg_core::app::{App, NoAdapters};
//! use dotmsg_core::config::Config;
//! use dotmsg_otel::Traces;
//! use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
//!
//! let provider = SdkTracerProvider::builder()
//!     .with_simple_exporter(InMemorySpanExporter::default()) // a service has a batch exporter of OTLP here
//!     .build();
//! let app: App<(), NoAdapters> = App::with_config(Config::new()).tracer(Traces::new(&provider));
//! ```
//!
//! # Spans
//!
//! | Span | Kind | Parent | Links |
//! |---|---|---|---|
//! | `process <topic>`: one call of a handler | consumer | the producer's span, by `traceparent` | to it |
//! | `process <topic>`: a call with a batch | consumer | that of its first message that is traced | to each of its messages |
//! | `send <topic>`: a message that a handler returned | producer | the call | |
//! | `send <topic>`: a copy for a retry topic, a dead letter | producer | the call | |
//! | `send <topic>`: a call of a `Publisher` | producer | the current span | |
//!
//! Their attributes follow the semantic conventions for messaging, version 1.42 (in development).
//!
//! **One message is one trace**: each attempt, in place and over retry topics, a dead letter, and what is called after a replay go
//! on in the trace of the first. Retries find it in the control header `dotmsg-trace` of their records, which only the framework's own
//! topics honour.
//!
//! **What is traced** is decided once for a message, before its first call. Its producer's context says whether it is sampled; one
//! without a context begins a trace, if the SDK's sampler says so ([`Traces::roots`]). Everything that follows from it, messages that
//! its handler returns among it, goes by that.
//!
//! **The handler runs in the context of its span** (`opentelemetry::Context::current()`), each time it is polled. So what it traces itself,
//! and what instrumented clients do, lies below.
//!
//! What must stay true: a message that its producer did not sample costs a look at its headers and allocates nothing; nothing that stands in a
//! header makes anything fail.

mod call;
mod context;
mod metrics;
mod names;
mod route;
mod sending;
mod settings;
mod span;
mod story;
mod traces;

pub use metrics::Metrics;
pub use traces::Traces;
