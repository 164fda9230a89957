//! `describe`: routes as they are resolved: settings, layers in order, topics.

use clap::Args;
use dotmsg::app::RouteHandle;
use dotmsg::router::{RouteSpec, layers};
use dotmsg::runtime::{PlannedTopic, TopicRole};
use serde_json::json;

use crate::desk::Desk;
use crate::exit::{Exit, Outcome};
use crate::time::age;

#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The routes [default: all]
    #[arg(value_name = "ROUTE")]
    routes: Vec<String>,
}

impl Describe {
    pub(crate) async fn run(self, desk: &mut Desk<'_>) -> Outcome {
        for (index, route) in desk.routes(&self.routes)?.iter().enumerate() {
            let topics = route.topics().plan().await?.topics;
            if desk.json {
                desk.object(&object(route, &topics))?;
                continue;
            }
            if index > 0 {
                desk.line("")?;
            }
            print(desk, route, &topics)?;
        }
        Ok(Exit::Done)
    }
}

fn print(desk: &mut Desk<'_>, route: &RouteHandle, topics: &[PlannedTopic]) -> Outcome<()> {
    let spec = &route.spec;
    desk.line(format!(
        "{}: {} in group {}",
        spec.handler, spec.topic, spec.group
    ))?;
    desk.line("  settings")?;
    for (key, value) in settings(spec) {
        desk.line(format!("    {key} = {value}"))?;
    }
    desk.line("  layers, from the outermost to the handler")?;
    for layer in layers(spec) {
        desk.line(format!("    {layer}"))?;
    }
    desk.line("  topics")?;
    for topic in topics {
        let found = match &topic.found {
            Some(found) => partitions(found.partitions),
            None => "missing".to_owned(),
        };
        desk.line(format!(
            "    {}: {} ({found})",
            role(topic.role),
            topic.name
        ))?;
    }
    Ok(())
}

fn object(route: &RouteHandle, topics: &[PlannedTopic]) -> serde_json::Value {
    let spec = &route.spec;
    let settings: serde_json::Map<_, _> = settings(spec)
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let layers: Vec<_> = layers(spec)
        .into_iter()
        .map(|layer| json!({ "name": layer.name, "settings": layer.settings }))
        .collect();
    let topics: Vec<_> = topics
        .iter()
        .map(|topic| {
            let partitions = topic.found.as_ref().map(|found| found.partitions);
            json!({ "name": &*topic.name, "role": role(topic.role), "partitions": partitions })
        })
        .collect();
    json!({
        "route": spec.handler,
        "topic": spec.topic,
        "group": spec.group,
        "settings": settings,
        "layers": layers,
        "topics": topics,
    })
}

/// What a topic is to a route, in a word or two.
pub(super) fn role(role: TopicRole) -> &'static str {
    match role {
        TopicRole::Source => "source",
        TopicRole::Tier => "retry tier",
        TopicRole::Replay => "replay",
        TopicRole::DeadLetter => "dead letters",
        _ => "other",
    }
}

pub(super) fn partitions(count: u32) -> String {
    match count {
        1 => "1 partition".to_owned(),
        count => format!("{count} partitions"),
    }
}

/// What tells routes apart, in the words of the configuration; what its layers say is left out.
fn settings(spec: &RouteSpec) -> Vec<(&'static str, String)> {
    let word = |value: &dyn std::fmt::Debug| snake(&format!("{value:?}"));
    let limits = &spec.limits;
    vec![
        ("backend", spec.backend.clone()),
        ("ordering", word(&spec.ordering)),
        ("delivery", word(&spec.delivery)),
        ("retry.order", word(&spec.retry.order)),
        ("start", word(&spec.start)),
        ("concurrency", limits.concurrency.to_string()),
        ("workers", limits.workers.to_string()),
        ("max_held_messages", limits.max_held_messages.to_string()),
        ("max_held_bytes", limits.max_held_bytes.to_string()),
        (
            "park.max_held_messages",
            limits.park.max_held_messages.to_string(),
        ),
        (
            "park.max_held_bytes",
            limits.park.max_held_bytes.to_string(),
        ),
        ("park.max_keys", limits.park.max_keys.to_string()),
        ("on_missing_position", word(&spec.on_missing_position)),
        ("on_log_mismatch", word(&spec.on_log_mismatch)),
        ("on_partition_growth", word(&spec.on_partition_growth)),
        (
            "commit_interval",
            format!("{} ms", spec.commit_interval.as_millis()),
        ),
        ("drain_timeout", age(spec.drain_timeout)),
    ]
}

/// `AtLeastOnce` as `at_least_once`.
fn snake(name: &str) -> String {
    let mut word = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(character.to_lowercase());
    }
    word
}
