//! What an attribute said, as the weakest source of a route's configuration.

use crate::config::{RouteDefaults, Value};
use crate::handler::HandlerMeta;

/// The route keys that the attribute of a handler sets.
pub(super) fn defaults(meta: &HandlerMeta) -> RouteDefaults {
    let texts = [
        ("topic", Some(meta.topic)),
        ("group", meta.group),
        ("backend", meta.backend),
        ("ordering", meta.ordering),
        ("timeout", meta.timeout),
        ("delivery", meta.delivery),
        ("start", meta.start),
        ("retry.order", meta.retry.order),
    ];
    let numbers = [
        ("concurrency", meta.concurrency),
        (
            "retry.attempts",
            meta.retry.attempts.map(|attempts| attempts as usize),
        ),
    ];
    let mut route = RouteDefaults::new(meta.name);
    for (key, text) in texts {
        if let Some(text) = text {
            route = route.with(key, text);
        }
    }
    for (key, number) in numbers {
        if let Some(number) = number {
            let number = i64::try_from(number).unwrap_or(i64::MAX);
            route = route.with(key, number);
        }
    }
    if let Some(batch) = meta.batch {
        route = route.batches();
        if let Some(size) = batch.size {
            route = route.with("batch.size", i64::try_from(size).unwrap_or(i64::MAX));
        }
        if let Some(linger) = batch.linger {
            route = route.with("batch.linger", linger);
        }
    }
    if let Some(tiers) = meta.retry.tiers {
        let tiers = tiers.iter().map(|tier| Value::from(*tier)).collect();
        route = route.with("retry.tiers", Value::List(tiers));
    }
    route
}
