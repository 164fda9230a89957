//! The binary: a configuration file and the environment, without handlers.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, Parser};
use dotmsg::App;
use dotmsg::config::{Config, Value};

use crate::args::{self, Source, Standalone};
use crate::commands::Command;
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

async fn command(mut line: Standalone, console: &mut Console) -> Outcome {
    let mut description = Standalone::command();
    if let Some(done) = line.command.without_app(&mut description, console)? {
        return Ok(done);
    }
    if line.command.works() {
        let message = "--work is for the command of a service, which has the handlers to run";
        return Err(Failure::usage(message));
    }
    let app = App::with_config(config(&line)?);
    if let Command::Config(show) = line.command {
        let explained = app.explain_configured()?;
        return show.run(&explained, line.common.json, console);
    }
    line.common.described = line.source.group.as_deref().map(name);
    let handle = match line.command.needs_routes() {
        true => app.open_configured().await?,
        false => {
            let backend = line.common.backend.as_deref();
            app.open_backend(backend.unwrap_or("main")).await?
        }
    };
    closing(&handle, line.command, line.common, console).await
}

/// File, profile and environment, and what the command line says beside them.
fn config(line: &Standalone) -> Outcome<Config> {
    let source = &line.source;
    let mut config = file(source)?
        .profile(source.profile.as_deref())
        .env_os(std::env::vars_os());
    if let Some(url) = &source.url {
        let backend = line.common.backend.as_deref().unwrap_or("main");
        config = config.set(&format!("backend.{backend}.url"), &**url);
    }
    match &source.group {
        Some(group) => named(config, line, group),
        None if source.topic.is_some() || !source.tiers.is_empty() => {
            Err(Failure::usage("a route needs both --topic and --group"))
        }
        None => Ok(config),
    }
}

fn file(source: &Source) -> Outcome<Config> {
    match &source.config {
        Some(path) => Ok(Config::from_file(path)?),
        None if Path::new(DEFAULT_FILE).exists() => Ok(Config::from_file(DEFAULT_FILE)?),
        None => Ok(Config::new()),
    }
}

/// Adds the route that the command line names.
fn named(config: Config, line: &Standalone, group: &str) -> Outcome<Config> {
    let Some(topic) = &line.source.topic else {
        return Err(Failure::usage("a route needs both --topic and --group"));
    };
    let key = |key: &str| format!("routes.{}.{key}", name(group));
    let mut config = config
        .set(&key("topic"), &**topic)
        .set(&key("group"), group);
    if let Some(backend) = &line.common.backend {
        config = config.set(&key("backend"), &**backend);
    }
    let tiers = &line.source.tiers;
    if !tiers.is_empty() {
        let tiers = tiers.iter().map(|tier| Value::from(&**tier)).collect();
        config = config.set(&key("retry.tiers"), Value::List(tiers));
    }
    Ok(config)
}

/// A route of the command line is called like its group, as far as a name may be.
fn name(group: &str) -> String {
    let allowed = |character: char| character.is_alphanumeric() || matches!(character, '_' | '-');
    group
        .chars()
        .map(|one| if allowed(one) { one } else { '-' })
        .collect()
}
