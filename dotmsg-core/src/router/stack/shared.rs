//! The limits that routes share, by name: what stands in `[limits.<name>]`, once for all routes of an app.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::middleware::concurrency_limit::{CallPermits, ConcurrencyLimitLayer};
use crate::middleware::rate_limit::{RateLimitLayer, TokenBucket};
use crate::router::{LimitSpec, RouteSpec};

/// The limits of an app, by name. A clone is the same limits.
#[derive(Clone, Debug, Default)]
pub struct SharedLimits {
    limits: Arc<BTreeMap<String, Shared>>,
}

#[derive(Debug)]
struct Shared {
    permits: Option<CallPermits>,
    tokens: Option<TokenBucket>,
}

impl SharedLimits {
    /// Limits that nothing has been taken from.
    #[must_use]
    pub fn new(specs: &[LimitSpec]) -> Self {
        let shared = |spec: &LimitSpec| Shared {
            permits: spec.concurrency.map(CallPermits::new),
            tokens: spec.rate.map(TokenBucket::new),
        };
        let limits = specs.iter().map(|spec| (spec.name.clone(), shared(spec)));
        Self {
            limits: Arc::new(limits.collect()),
        }
    }

    /// The rates of the limits that a route names.
    pub(super) fn rate(&self, route: &RouteSpec) -> RateLimitLayer {
        RateLimitLayer::all(self.of(route).filter_map(|limit| limit.tokens.clone()))
    }

    /// The calls at once of the limits that a route names.
    pub(super) fn concurrency(&self, route: &RouteSpec) -> ConcurrencyLimitLayer {
        ConcurrencyLimitLayer::all(self.of(route).filter_map(|limit| limit.permits.clone()))
    }

    /// Those that a route names, in the order of their names, whatever the order in which it names them: two routes that took
    /// them in two orders could wait for each other.
    fn of<'a>(&'a self, route: &'a RouteSpec) -> impl Iterator<Item = &'a Shared> {
        for name in &route.shared_limits {
            let known = self.limits.contains_key(name);
            assert!(known, "route {}: there is no limit `{name}`", route.handler);
        }
        let limits = self.limits.iter();
        limits.filter_map(|(name, limit)| route.shared_limits.contains(name).then_some(limit))
    }
}
