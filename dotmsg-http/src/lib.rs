//! The HTTP endpoint of a dotmsg app: metrics for Prometheus, health for whoever restarts it, lag for whoever is called at night.
//!
//! | Path | Answer |
//! |---|---|
//! | `/metrics` | every [figure](dotmsg_core::app::FIGURES) of every route, as OpenMetrics text |
//! | `/health/live` | 200 while a restart would not help, else 503; it does not depend on a broker |
//! | `/health/ready` | 200 while every route works, rebalances included, else 503 |
//! | `/lag` | for people: the table and the diagnosis of each route, as looked at last |
//!
//! The two of health say in JSON why. There is nothing to change through it, and nothing that holds a key or a payload; still it
//! belongs on an address that only the own network reaches.
//!
//! It runs beside the routes on the same runtime, which is the point of `/health/live`: if handlers block its threads, nothing
//! answers. What must stay true: no answer waits for a broker.

mod health;
mod metrics;
mod serve;

#[cfg(test)]
mod tests;

pub use metrics::metrics_text;
pub use serve::{Endpoint, bind};

use std::net::SocketAddr;

use dotmsg_core::app::AppHandle;
use dotmsg_core::backend::BoxFuture;
use dotmsg_core::error::Result;

/// For [`Adapters::http`](dotmsg_core::app::Adapters::http): listens, and serves until what it gives is dropped.
///
/// # Errors
/// As [`bind`].
#[must_use]
pub fn serve_http(
    address: SocketAddr,
    app: AppHandle,
) -> BoxFuture<'static, Result<BoxFuture<'static, ()>>> {
    Box::pin(async move {
        let endpoint = bind(address).await?;
        let listens = endpoint.address().unwrap_or(address);
        tracing::info!(address = %listens, "the HTTP endpoint is open: /metrics, /health/live, /health/ready, /lag");
        Ok(Box::pin(endpoint.serve(app)) as BoxFuture<'static, ()>)
    })
}
