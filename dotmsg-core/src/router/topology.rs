//! The topics of a route and their names.
//!
//! Retry, replay and dead-letter topics are private to the group: `<topic>.<group>.retry.<delay>`,
//! `<topic>.<group>.replay`, `<topic>.<group>.dlq`. Names are pluggable; the defaults read well in any broker's console
//! and sort beside their source.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::RouteSpec;

/// How the group's own topics are named. `topic` comes with the backend's prefix.
pub trait TopicNames: fmt::Debug + Send + Sync + 'static {
    /// The retry topic of one delay.
    fn tier(&self, topic: &str, group: &str, delay: Duration) -> String {
        format!("{}{}", self.tier_prefix(topic, group), delay_text(delay))
    }

    /// What all retry topics of the group start with; the rest is the delay, so that tiers are found by listing.
    fn tier_prefix(&self, topic: &str, group: &str) -> String {
        format!("{topic}.{group}.retry.")
    }

    /// The replay topic.
    fn replay(&self, topic: &str, group: &str) -> String {
        format!("{topic}.{group}.replay")
    }

    /// The dead-letter topic.
    fn dead_letter(&self, topic: &str, group: &str) -> String {
        format!("{topic}.{group}.dlq")
    }
}

/// The default names.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultNames;

impl TopicNames for DefaultNames {}

/// A duration as a topic name says it: the largest units first, without spaces (`5s`, `1m30s`, `100ms`).
fn delay_text(delay: Duration) -> String {
    humantime::format_duration(delay)
        .to_string()
        .replace(' ', "")
}

/// The topics of one route, as the broker knows them.
#[derive(Clone, Debug)]
pub struct Topology {
    /// The source topic.
    pub source: Arc<str>,
    /// The configured tiers, ascending.
    pub tiers: Vec<(Duration, Arc<str>)>,
    /// The replay topic.
    pub replay: Arc<str>,
    /// The dead-letter topic.
    pub dead_letter: Arc<str>,
    /// What the names of all its tiers start with.
    pub tier_prefix: String,
    names: Arc<dyn TopicNames>,
    group: String,
}

impl Topology {
    /// The topics of `route` on a backend with this topic prefix.
    #[must_use]
    pub fn of(route: &RouteSpec, topic_prefix: &str) -> Self {
        Self::named(route, topic_prefix, Arc::new(DefaultNames))
    }

    /// The same with other names.
    #[must_use]
    pub fn named(route: &RouteSpec, topic_prefix: &str, names: Arc<dyn TopicNames>) -> Self {
        let source = format!("{topic_prefix}{}", route.topic);
        let group = &route.group;
        Self {
            tiers: route
                .retry
                .tiers
                .iter()
                .map(|delay| (*delay, names.tier(&source, group, *delay).into()))
                .collect(),
            replay: names.replay(&source, group).into(),
            dead_letter: names.dead_letter(&source, group).into(),
            tier_prefix: names.tier_prefix(&source, group),
            source: source.into(),
            group: group.clone(),
            names,
        }
    }

    /// The consumer group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The group in which replays note, as positions in the dead-letter topic, what they have replayed. The configuration
    /// refuses a route of this group on that topic.
    #[must_use]
    pub fn replay_group(&self) -> String {
        format!("{}.replay", self.group)
    }

    /// The delay a retry topic stands for, when `topic` is one of this route's.
    #[must_use]
    pub fn tier_delay(&self, topic: &str) -> Option<Duration> {
        humantime::parse_duration(topic.strip_prefix(&self.tier_prefix)?).ok()
    }

    /// The retry topic of a delay, also of one that is not configured any more.
    #[must_use]
    pub fn tier_topic(&self, delay: Duration) -> Arc<str> {
        match self.tiers.iter().find(|(have, _)| *have == delay) {
            Some((_, topic)) => Arc::clone(topic),
            None => self.names.tier(&self.source, &self.group, delay).into(),
        }
    }

    /// All topics the group itself writes.
    pub fn own_topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tiers
            .iter()
            .map(|(_, topic)| topic)
            .chain([&self.replay, &self.dead_letter])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_name_tells_its_delay() {
        let mut route = RouteSpec::new("bill", "orders", "billing");
        route.retry.tiers = vec![Duration::from_millis(100), Duration::from_secs(90)];
        let topology = Topology::of(&route, "staging.");
        assert_eq!(&*topology.tiers[1].1, "staging.orders.billing.retry.1m30s");
        for (delay, topic) in &topology.tiers {
            assert_eq!(topology.tier_delay(topic), Some(*delay));
        }
        assert_eq!(topology.tier_delay(&topology.dead_letter), None);
    }
}
