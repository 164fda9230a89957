//! The binary: a configuration file and the environment, without handlers.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, Parser};
use dotmsg::App;
use dotmsg::config::{Config, RouteDefaults, Value};

use crate::args::{self, Source, Standalone};
use crate::console::Console;
use crate::exit::{Exit, Failure, Outcome};
use crate::{closing, ended};

const DEFAULT_FILE: &str = "dotmsg.toml";

pub(crate) async fn run(args: impl IntoIterator<Item = OsString>, console: &mut Console) -> Exit {
    match Standalone::try_parse_from(args) {
        Ok(line) => {
            let json = line.common.json;
            let outcome = command(line, console).await;
            ended(console, json, outcome)
        }
        Err(error) => args::refused(&error, console),
    }
}

async fn command(line: Standalone, console: &mut Console) -> Outcome {
    let mut description = Standalone::command();
    if let Some(done) = line.command.without_app(&mut description, console)? {
        return Ok(done);
    }
    if line.command.works() {
        let message = "--work is for the command of a service, which has the handlers to run";
        return Err(Failure::usage(message));
    }
    let app = app(&line)?;
    let handle = app.open().await?;
    closing(&handle, line.command, line.common, console).await
}

fn app(line: &Standalone) -> Outcome<App> {
    let source = &line.source;
    let mut config = file(source)?
        .profile(source.profile.as_deref())
        .env_os(std::env::vars_os());
    if let Some(url) = &source.url {
        let backend = line.common.backend.as_deref().unwrap_or("main");
        config = config.set(&format!("backend.{backend}.url"), &**url);
    }
    let app = App::with_config(config);
    match named(line)? {
        Some(route) => Ok(app.route(route, async || {})),
        None => Ok(app),
    }
}

fn file(source: &Source) -> Outcome<Config> {
    match &source.config {
        Some(path) => Ok(Config::from_file(path)?),
        None if Path::new(DEFAULT_FILE).exists() => Ok(Config::from_file(DEFAULT_FILE)?),
        None => Ok(Config::new()),
    }
}

/// The route that the command line names.
fn named(line: &Standalone) -> Outcome<Option<RouteDefaults>> {
    let Source {
        topic,
        group,
        tiers,
        ..
    } = &line.source;
    let (Some(topic), Some(group)) = (topic, group) else {
        return match (topic, group, tiers.is_empty()) {
            (None, None, true) => Ok(None),
            _ => Err(Failure::usage("a route needs both --topic and --group")),
        };
    };
    let mut route = RouteDefaults::new(name(group))
        .with("topic", &**topic)
        .with("group", &**group);
    if let Some(backend) = &line.common.backend {
        route = route.with("backend", &**backend);
    }
    if !tiers.is_empty() {
        let tiers = tiers.iter().map(|tier| Value::from(&**tier)).collect();
        route = route.with("retry.tiers", Value::List(tiers));
    }
    Ok(Some(route))
}

/// A route of the command line is called like its group, as far as a name may be.
fn name(group: &str) -> String {
    let allowed = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
    group
        .chars()
        .map(|one| if allowed(one) { one } else { '-' })
        .collect()
}
