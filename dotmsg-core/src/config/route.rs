//! One route: from the merged values of `[routes.<handler>]` to its description.
//!
//! A default gives way to a smaller limit around it (512 messages a batch become 100 when 100 may be held; what may wait
//! behind retries becomes half of what may be held); two *given* values that contradict each other are an error.

use std::time::Duration;

use super::errors::ConfigError;
use super::keys::{self, Word};
use super::kind::{self, Kind};
use super::value::{Node, Table};
use super::{Place, Value};
use crate::router::{
    BatchSpec, BreakerSpec, DedupSpec, DeliverySemantics, Limits, Ordering, RetryOrder, RouteSpec,
    ShedSpec,
};

/// The merged values of one route.
pub(super) struct Values<'a> {
    pub(super) handler: &'a str,
    /// Where the handler itself is.
    pub(super) place: Place,
    pub(super) table: &'a Table,
    /// The handler takes batches.
    pub(super) batch: bool,
}

impl Values<'_> {
    /// The value at a dotted path, and its place.
    pub(super) fn at(&self, path: &str) -> Option<(&Value, &Place)> {
        let mut table = self.table;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            let entry = table.get(part)?;
            match &entry.node {
                Node::Table(below) => table = below,
                Node::Leaf(value) if parts.peek().is_none() => return Some((value, &entry.place)),
                Node::Leaf(_) => return None,
            }
        }
        None
    }

    /// Where the value at this path was given, else where the handler is.
    pub(super) fn place(&self, path: &str) -> &Place {
        self.at(path).map_or(&self.place, |(_, place)| place)
    }

    pub(super) fn given(&self, path: &str) -> bool {
        self.at(path).is_some()
    }

    pub(super) fn error(&self, path: &str, message: impl Into<String>) -> ConfigError {
        let key = format!("routes.{}.{path}", self.handler);
        ConfigError::new(self.place(path), key, message)
    }

    fn name(&self, path: &str) -> Option<String> {
        kind::name(self.at(path)?.0).ok().map(str::to_owned)
    }

    fn count(&self, path: &str) -> Option<usize> {
        let key = keys::ROUTE.iter().find(|key| key.path == path)?;
        let Kind::Count { min, max } = key.kind else {
            return None;
        };
        let number = kind::count(self.at(path)?.0, min, max).ok()?;
        usize::try_from(number).ok()
    }

    fn small(&self, path: &str, default: u32) -> u32 {
        let number = self
            .count(path)
            .and_then(|number| u32::try_from(number).ok());
        number.unwrap_or(default)
    }

    fn bytes(&self, path: &str) -> Option<usize> {
        kind::bytes(self.at(path)?.0).ok()
    }

    fn duration(&self, path: &str) -> Option<Duration> {
        kind::duration(self.at(path)?.0, true).ok()
    }

    fn word<T: Word + Default>(&self, path: &str) -> T {
        self.at(path)
            .and_then(|(value, _)| kind::word(value, T::WORDS).ok())
            .map_or_else(T::default, |index| T::VALUES[index])
    }

    /// The route; values that the walk refused are left at their defaults.
    pub(super) fn spec(&self) -> RouteSpec {
        let topic = self.name("topic").unwrap_or_default();
        let group = self.name("group").unwrap_or_default();
        let mut spec = RouteSpec::new(self.handler, topic, group);
        if let Some(backend) = self.name("backend") {
            spec.backend = backend;
        }
        spec.ordering = self.word::<Ordering>("ordering");
        spec.delivery = self.word::<DeliverySemantics>("delivery");
        if let Some(Ok(timeout)) = self.at("timeout").map(|(value, _)| kind::limit(value)) {
            spec.timeout = timeout;
        }
        spec.start = self.word("start");
        spec.on_missing_position = self.word("on_missing_position");
        spec.on_log_mismatch = self.word("on_log_mismatch");
        spec.on_partition_growth = self.word("on_partition_growth");
        spec.commit_interval = self
            .duration("commit_interval")
            .unwrap_or(spec.commit_interval);
        spec.drain_timeout = self.duration("drain_timeout").unwrap_or(spec.drain_timeout);
        let crash = &mut spec.crash_loop;
        crash.takeovers = self.small("crash_loop.takeovers", crash.takeovers);
        crash.confirmations = self.small("crash_loop.confirmations", crash.confirmations);
        self.retry(&mut spec);
        self.limits(&mut spec.limits);
        if let Some(Ok(names)) = self.at("limits").map(|(value, _)| kind::names(value)) {
            spec.shared_limits = names;
        }
        spec.batch = self.batch.then(|| self.batch(&spec.limits));
        spec.breaker = self.breaker();
        spec.dedup = self.dedup();
        self.shed(&mut spec.shed);
        spec
    }

    fn breaker(&self) -> Option<BreakerSpec> {
        let failures = self.count("breaker.failures");
        let pause = self.duration("breaker.pause");
        let BreakerSpec {
            failures: few,
            pause: short,
        } = BreakerSpec::default();
        (failures.is_some() || pause.is_some()).then(|| BreakerSpec {
            failures: failures.unwrap_or(few),
            pause: pause.unwrap_or(short),
        })
    }

    /// Either of its keys turns it on.
    fn dedup(&self) -> Option<DedupSpec> {
        let given = ["dedup.max_ids", "dedup.keep_for"];
        given.into_iter().find(|path| self.given(path))?;
        let DedupSpec { max_ids, keep_for } = DedupSpec::default();
        Some(DedupSpec {
            max_ids: self.count("dedup.max_ids").unwrap_or(max_ids),
            keep_for: self.duration("dedup.keep_for").unwrap_or(keep_for),
        })
    }

    fn shed(&self, shed: &mut ShedSpec) {
        if let Some(Ok(keep)) = self
            .at("shed.keep")
            .map(|(value, _)| kind::fraction_ppm(value))
        {
            shed.keep_ppm = keep;
        }
        if let Some(Ok(limit)) = self
            .at("shed.older_than")
            .map(|(value, _)| kind::limit(value))
        {
            shed.older_than = limit;
        }
    }

    fn batch(&self, limits: &Limits) -> BatchSpec {
        let BatchSpec { size, linger } = BatchSpec::default();
        BatchSpec {
            size: self
                .count("batch.size")
                .unwrap_or(size.min(limits.max_held_messages)),
            linger: self.duration("batch.linger").unwrap_or(linger),
        }
    }

    fn retry(&self, spec: &mut RouteSpec) {
        let retry = &mut spec.retry;
        if let Some(Ok(tiers)) = self.at("retry.tiers").map(|(value, _)| kind::tiers(value)) {
            retry.tiers = tiers;
        }
        let in_place = &mut retry.in_place;
        let once = spec.delivery == DeliverySemantics::AtMostOnce;
        let attempts = match retry.tiers.is_empty() && !once {
            true => in_place.attempts,
            false => 1,
        };
        in_place.attempts = self.small("retry.attempts", attempts);
        let (backoff, max) = (
            self.duration("retry.backoff"),
            self.duration("retry.max_backoff"),
        );
        in_place.max_backoff = max.unwrap_or(in_place.max_backoff.max(backoff.unwrap_or_default()));
        in_place.backoff = backoff.unwrap_or(in_place.backoff.min(in_place.max_backoff));
        retry.order = match (self.given("retry.order"), spec.ordering) {
            (false, Ordering::None) => RetryOrder::Relax,
            _ => self.word("retry.order"),
        };
    }

    fn limits(&self, limits: &mut Limits) {
        let held = self
            .count("max_held_messages")
            .unwrap_or(limits.max_held_messages);
        let bytes = self
            .bytes("max_held_bytes")
            .unwrap_or(limits.max_held_bytes);
        limits.max_held_messages = held;
        limits.max_held_bytes = bytes;
        let messages = |path: &str, default: usize| self.count(path).unwrap_or(default.min(held));
        limits.concurrency = messages("concurrency", limits.concurrency);
        limits.workers = self.count("workers").unwrap_or(limits.workers);
        limits.batch_messages = messages("batch_messages", limits.batch_messages);
        let park = &mut limits.park;
        // Half of what may be held in all: one failing key must not stop the others.
        park.max_held_messages = self
            .count("park.max_held_messages")
            .unwrap_or(park.max_held_messages.min(held.div_ceil(2)));
        park.max_held_bytes = self
            .bytes("park.max_held_bytes")
            .unwrap_or(park.max_held_bytes.min(bytes.div_ceil(2)));
        park.max_keys = self.count("park.max_keys").unwrap_or(park.max_keys);
        let size = |path: &str, default: usize| self.bytes(path).unwrap_or(default.min(bytes));
        limits.max_payload_bytes = size("max_payload_bytes", limits.max_payload_bytes);
        limits.max_header_bytes = size("max_header_bytes", limits.max_header_bytes);
        limits.max_key_bytes = size("max_key_bytes", limits.max_key_bytes);
    }
}
