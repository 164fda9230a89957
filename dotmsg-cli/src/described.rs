//! A route that the command line describes, beside or instead of the configuration.

use dotmsg::FeatureAdapters;
use dotmsg::app::Adapters;
use dotmsg::config::{Config, IncompleteRoute, Value};

use crate::args::{Source, Standalone};
use crate::exit::Outcome;

/// The tables of `[routes]` that are left out, and what each lacks.
pub(crate) fn incomplete(config: &Config) -> Outcome<Vec<(String, String)>> {
    let checked = config.clone().adapters(&FeatureAdapters::registry());
    let incomplete = checked.resolve_configured()?.incomplete;
    let lacks = |route: IncompleteRoute| (route.name, route.missing.join(" and "));
    Ok(incomplete.into_iter().map(lacks).collect())
}

/// The name of the route that the command line describes.
pub(crate) fn name(source: &Source) -> Option<String> {
    match (&source.route, &source.group, &source.topic) {
        (Some(name), _, _) => Some(name.clone()),
        (None, Some(group), _) => Some(allowed(group)),
        (None, None, topic) => topic.as_deref().map(allowed),
    }
}

/// Adds what the command line says of a route. What it does not say may be in the configuration, or is told to be missing.
pub(crate) fn with_route(mut config: Config, line: &Standalone, route: &str) -> Config {
    let Source {
        topic,
        group,
        tiers,
        ..
    } = &line.source;
    let key = |key: &str| format!("routes.{route}.{key}");
    for (name, text) in [
        ("topic", topic),
        ("group", group),
        ("backend", &line.common.backend),
    ] {
        if let Some(text) = text {
            config = config.set(&key(name), &**text);
        }
    }
    if !tiers.is_empty() {
        let tiers = tiers.iter().map(|tier| Value::from(&**tier)).collect();
        config = config.set(&key("retry.tiers"), Value::List(tiers));
    }
    config
}

/// A route of the command line is called like its group, as far as a name may be.
fn allowed(group: &str) -> String {
    let is_allowed =
        |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
    group
        .chars()
        .map(|one| if is_allowed(one) { one } else { '-' })
        .collect()
}
