//! The binary: a configuration file and the environment, without handlers.

use std::ffi::OsString;
use std::path::Path;

use clap::{CommandFactory, Parser};
use dotmsg::App;
use dotmsg::config::Config;

use crate::args::{self, Source, Standalone};
use crate::commands::Command;
use crate::console::Console;
use crate::described;
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
    log(line.source.verbose);
    if has_no_source(&line.source) {
        let message = format!(
            "there is no {DEFAULT_FILE} here: --config names one, --url or DOTMSG__BACKEND__MAIN__URL a backend"
        );
        return Err(Failure::usage(message));
    }
    let config = config(&line)?;
    let app = App::with_config(config.clone());
    if let Command::Config(show) = line.command {
        let explained = app.explain_configured()?;
        return show.run(&explained, line.common.json, console);
    }
    line.common.described = described::name(&line.source);
    let handle = match line.command.needs_routes() {
        true => {
            line.common.incomplete = described::incomplete(&config)?;
            app.open_configured().await?
        }
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
    match described::name(source) {
        Some(route) => Ok(described::with_route(config, line, &route)),
        None if source.tiers.is_empty() => Ok(config),
        None => Err(Failure::usage(
            "--tiers is for a route that --topic and --group name",
        )),
    }
}

/// What happens, on standard error; nothing of it, unless it is asked for.
fn log(verbose: u8) {
    let level = match verbose {
        0 => return,
        1 => tracing::Level::INFO,
        _ => tracing::Level::DEBUG,
    };
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    // Somebody may have set another one; then that is told.
    let _ = subscriber.try_init();
}

/// Whether nothing could name a backend: neither a file, nor the command line, nor the environment.
fn has_no_source(source: &Source) -> bool {
    let is_of_backend = |name: OsString| {
        let name = name.to_string_lossy().to_ascii_uppercase();
        name.starts_with("DOTMSG__BACKEND__")
    };
    let has_file = source.config.is_some() || Path::new(DEFAULT_FILE).exists();
    let has_url = source.url.is_some() || std::env::vars_os().any(|(name, _)| is_of_backend(name));
    !has_file && !has_url
}

fn file(source: &Source) -> Outcome<Config> {
    match &source.config {
        Some(path) => Ok(Config::from_file(path)?),
        None if Path::new(DEFAULT_FILE).exists() => Ok(Config::from_file(DEFAULT_FILE)?),
        None => Ok(Config::new()),
    }
}
