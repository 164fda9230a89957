//! `describe`: routes as they are resolved: settings, layers in order, topics.

use clap::Args;
use dotmsg::app::RouteHandle;
use dotmsg::config::{SettingValue, route_settings};
use dotmsg::router::{RouteSpec, layers};
use dotmsg::runtime::{PlannedTopic, TopicRole};
use serde_json::json;

use crate::desk::Desk;
use crate::exit::{Exit, Outcome};

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
        .map(|(key, value)| (key.to_owned(), json!(value)))
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

/// What tells routes apart; what their layers say is left out.
const SHOWN: [&str; 17] = [
    "backend",
    "ordering",
    "delivery",
    "retry.order",
    "start",
    "concurrency",
    "workers",
    "max_held_messages",
    "max_held_bytes",
    "park.max_held_messages",
    "park.max_held_bytes",
    "park.max_keys",
    "on_missing_position",
    "on_log_mismatch",
    "on_partition_growth",
    "commit_interval",
    "drain_timeout",
];

/// These, as the configuration would have them.
fn settings(spec: &RouteSpec) -> Vec<(&'static str, SettingValue)> {
    let mut settings = route_settings(spec);
    settings.retain(|(key, _)| SHOWN.contains(key));
    settings
}
