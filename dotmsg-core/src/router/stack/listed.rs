//! The layers of a route as a list, outermost first: what a tool shows of the order that `mod` composes.

use std::fmt;

use crate::router::{Ordering, RouteSpec, ShedSpec, duration, size};

/// A layer that a route has, and how it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedLayer {
    /// Its name, that of its folder under `middleware`.
    pub name: &'static str,
    /// How it is set, in the words of the configuration; empty where there is nothing to set.
    pub settings: String,
}

/// The layers of a route, outermost first, the handler left out. Layers of the app's own stand innermost and are not known here.
#[must_use]
pub fn layers(route: &RouteSpec) -> Vec<ListedLayer> {
    let mut list = List::default();
    shed(&route.shed, &mut list);
    if let Some(dedup) = route.dedup {
        let kept = duration(dedup.keep_for);
        list.add(
            "dedup",
            format!("max_ids = {}, keep_for = {kept}", dedup.max_ids),
        );
    }
    list.add("trace", "");
    list.add("dead_letter", "");
    if route.ordering != Ordering::Partition && !route.retry.tiers.is_empty() {
        let tiers: Vec<String> = route.retry.tiers.iter().copied().map(duration).collect();
        list.add("tiers", tiers.join(", "));
    }
    sizes(route, &mut list);
    let in_place = route.retry.in_place;
    list.add(
        "retry_in_place",
        format!(
            "attempts = {}, backoff = {}, max_backoff = {}",
            in_place.attempts,
            duration(in_place.backoff),
            duration(in_place.max_backoff)
        ),
    );
    list.add("publish_returned", "");
    if !route.shared_limits.is_empty() {
        list.add("rate_limit", route.shared_limits.join(", "));
    }
    if let Some(breaker) = route.breaker {
        let pause = duration(breaker.pause);
        list.add(
            "circuit_breaker",
            format!("failures = {}, pause = {pause}", breaker.failures),
        );
    }
    if let Some(batch) = route.batch {
        let linger = duration(batch.linger);
        list.add("batch", format!("size = {}, linger = {linger}", batch.size));
    }
    if !route.shared_limits.is_empty() {
        list.add("concurrency_limit", route.shared_limits.join(", "));
    }
    if let Some(limit) = route.timeout {
        list.add("timeout", duration(limit));
    }
    list.add("catch_panic", "");
    list.0
}

#[derive(Default)]
struct List(Vec<ListedLayer>);

impl List {
    fn add(&mut self, name: &'static str, settings: impl Into<String>) {
        let settings = settings.into();
        self.0.push(ListedLayer { name, settings });
    }
}

fn shed(shed: &ShedSpec, list: &mut List) {
    let all = ShedSpec::default().keep_ppm;
    if *shed == ShedSpec::default() {
        return;
    }
    let mut settings = Vec::new();
    if shed.keep_ppm < all {
        settings.push(format!(
            "keep = {}",
            f64::from(shed.keep_ppm) / f64::from(all)
        ));
    }
    if let Some(age) = shed.older_than {
        settings.push(format!("older_than = {}", duration(age)));
    }
    list.add("shed", settings.join(", "));
}

fn sizes(route: &RouteSpec, list: &mut List) {
    let limits = &route.limits;
    list.add(
        "limits",
        format!(
            "max_payload_bytes = {}, max_header_bytes = {}, max_key_bytes = {}",
            size(limits.max_payload_bytes),
            size(limits.max_header_bytes),
            size(limits.max_key_bytes)
        ),
    );
}

/// Name and settings.
impl fmt::Display for ListedLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.settings {
            "" => f.write_str(self.name),
            settings => write!(f, "{}: {settings}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::router::{BatchSpec, BreakerSpec, DedupSpec};

    /// The order in which the module doc of the stack, and its code, put them.
    const ORDER: &str = "shed dedup trace dead_letter tiers limits retry_in_place publish_returned rate_limit \
                         circuit_breaker batch concurrency_limit timeout catch_panic";

    fn names(route: &RouteSpec) -> String {
        let names: Vec<&str> = layers(route).iter().map(|layer| layer.name).collect();
        names.join(" ")
    }

    #[test]
    fn a_route_has_the_layers_that_it_asks_for_in_the_order_of_the_stack() {
        let mut route = RouteSpec::new("bill", "orders", "billing");
        let least = "trace dead_letter limits retry_in_place publish_returned catch_panic";
        assert_eq!(names(&route), least);
        route.shed.older_than = Some(Duration::from_secs(60));
        route.dedup = Some(DedupSpec::default());
        route.retry.tiers = vec![Duration::from_secs(5), Duration::from_secs(90)];
        route.shared_limits = vec!["bank".to_owned()];
        route.breaker = Some(BreakerSpec::default());
        route.batch = Some(BatchSpec::default());
        route.timeout = Some(Duration::from_millis(1500));
        route.limits.max_payload_bytes = 16 << 20;
        route.limits.max_header_bytes = 64 << 10;
        route.limits.max_key_bytes = 1000;
        assert_eq!(names(&route), ORDER);
        let said: Vec<String> = layers(&route).iter().map(ToString::to_string).collect();
        assert!(said.contains(&"tiers: 5s, 1m30s".to_owned()), "{said:?}");
        assert!(
            said.contains(&"shed: older_than = 1m".to_owned()),
            "{said:?}"
        );
        let sizes =
            "limits: max_payload_bytes = 16MiB, max_header_bytes = 64KiB, max_key_bytes = 1000B";
        assert!(said.contains(&sizes.to_owned()), "{said:?}");
        // Under partition order a message away would stop its whole partition.
        route.ordering = Ordering::Partition;
        assert!(!names(&route).contains("tiers"));
    }
}
