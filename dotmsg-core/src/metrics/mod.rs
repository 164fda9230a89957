//! What is measured of one route beside its counters: how long things take, and what fails.
//!
//! Plain atomics and nothing that exports them: an exporter reads [`RouteMetrics`], [`RouteStats`](crate::runtime::RouteStats)
//! and the [`Lag`](crate::lag::Lag) at its own pace, so that no message pays for how often it does. Who writes what:
//!
//! | Measured | Where |
//! |---|---|
//! | [`calls`](RouteMetrics::calls), [`failures`](RouteMetrics::failures) | the layer [`metrics`](crate::middleware::metrics), around each call of the handler |
//! | [`dead_letters`](RouteMetrics::dead_letters) | the layer that writes them, once they are confirmed |
//! | [`settlements`](RouteMetrics::settlements), [`commits`](RouteMetrics::commits) | the route's own task |
//!
//! What must stay true: nothing here grows with what messages hold ([`Kinds`] has a bound).

mod histogram;
mod kinds;

pub use histogram::{BOUNDS_SECONDS, Histogram, HistogramSnapshot};
pub use kinds::{KINDS_MAX, Kinds, OTHER_KINDS};

/// What is measured of one route, since it started: [`RouteStats::metrics`](crate::runtime::RouteStats::metrics).
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RouteMetrics {
    /// How long calls of the handler take, repeats included; measured when the app was asked to
    /// ([`App::measured`](crate::app::App::measured)).
    pub calls: Histogram,
    /// Calls that failed, by the kind of the error; counted like `calls`.
    pub failures: Kinds,
    /// Dead letters that were written, by the kind of the error.
    pub dead_letters: Kinds,
    /// From when a message was fetched until every message up to it was settled: of one message of each partition at a time.
    pub settlements: Histogram,
    /// How long a commit of progress takes until the broker has answered.
    pub commits: Histogram,
}
