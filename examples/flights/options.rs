//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dotmsg::Config;
use lexopt::prelude::*;

use crate::Failure;
use crate::publish::PARTITIONS;
use crate::trial::{Disturbances, now_us};

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
27,004 flights through an annotated handler.

Usage: flights [OPTIONS]

  --backend URL     where the topics live [log:./.dotmsg/flights/log]; dotmsg.toml and DOTMSG__... apply too
  --input FILE      CSV, plain or .gz [flights-2013-01.csv.gz, which comes with the example]
  --state DIR       notes of this and other processes [beside the log: ./.dotmsg/flights/log.state]
  --role ROLE       all | publish | handle [all]
  --concurrency N   handlers running at once
  --delay-ms N      every call of the handler takes this long [0]
  --fail-rate R     share of calls that fail and are retried, from 0 to 1 [0]
  --seed S          which calls these are [0]
  --json            print the table as one JSON object
  --audit DIR       append one JSON line per call of the handler to a file there
  --help            print this

A run that ends before all rows are handled (an error, SIGTERM, SIGINT) exits with 1; start it again to go on.
";

/// Where the topics live unless something says otherwise.
const BACKEND: &str = "log:./.dotmsg/flights/log";
const INPUT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/examples/data/flights-2013-01.csv.gz"
);

/// What this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    All,
    Publish,
    Handle,
}

/// The options.
#[derive(Debug)]
pub(crate) struct Options {
    backend: Option<String>,
    pub(crate) input: PathBuf,
    state: Option<PathBuf>,
    pub(crate) role: Role,
    concurrency: Option<i64>,
    pub(crate) disturbances: Disturbances,
    pub(crate) json: bool,
    pub(crate) audit: Option<PathBuf>,
}

impl Options {
    /// Parses the arguments; `None`: help is asked for.
    pub(crate) fn parse(
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Option<Self>, Failure> {
        let mut options = Self {
            backend: None,
            input: INPUT.into(),
            state: None,
            role: Role::All,
            concurrency: None,
            disturbances: Disturbances::default(),
            json: false,
            audit: None,
        };
        let disturbances = &mut options.disturbances;
        let mut parser = lexopt::Parser::from_args(arguments);
        while let Some(argument) = parser.next()? {
            match argument {
                Long("help") | Short('h') => return Ok(None),
                Long("json") => options.json = true,
                Long("backend") => options.backend = Some(parser.value()?.string()?),
                Long("input") => options.input = parser.value()?.into(),
                Long("state") => options.state = Some(parser.value()?.into()),
                Long("audit") => options.audit = Some(parser.value()?.into()),
                Long("role") => options.role = parser.value()?.parse_with(role)?,
                Long("concurrency") => options.concurrency = Some(parser.value()?.parse()?),
                Long("delay-ms") => {
                    disturbances.delay = Duration::from_millis(parser.value()?.parse()?);
                }
                Long("fail-rate") => disturbances.fail_rate = parser.value()?.parse_with(rate)?,
                Long("seed") => disturbances.seed = parser.value()?.parse()?,
                _ => return Err(format!("{}; see --help", argument.unexpected()).into()),
            }
        }
        Ok(Some(options))
    }

    /// The configuration: these options before the environment, that before `dotmsg.toml`, that before the defaults.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let file = Path::new("dotmsg.toml");
        let config = if file.exists() {
            Config::from_file(file)?
        } else {
            Config::new()
        };
        let mut config = config
            .env_os(std::env::vars_os())
            .default_value("backend.main.url", BACKEND)
            .default_value("backend.main.auto_create", true)
            .default_value("backend.main.auto_create_partitions", i64::from(PARTITIONS));
        if let Some(url) = &self.backend {
            config = config.set("backend.main.url", url.as_str());
        }
        if let Some(concurrency) = self.concurrency {
            config = config.set("routes.flight.concurrency", concurrency);
        }
        Ok(config)
    }

    /// Where notes are kept: as asked, else beside the log's directory, for backends that have one. A log in memory is gone
    /// with its process, so each has notes of its own.
    pub(crate) fn state(&self, url: &str) -> PathBuf {
        if let Some(state) = &self.state {
            return state.clone();
        }
        if url.starts_with("memory:") {
            return format!("./.dotmsg/flights/memory-{}.state", now_us()).into();
        }
        let log = url.strip_prefix("log:").unwrap_or("./.dotmsg/flights/log");
        let mut state = Path::new(log).components().as_path().as_os_str().to_owned();
        state.push(".state");
        state.into()
    }
}

fn role(text: &str) -> Result<Role, &'static str> {
    match text {
        "all" => Ok(Role::All),
        "publish" => Ok(Role::Publish),
        "handle" => Ok(Role::Handle),
        _ => Err("expected all, publish or handle"),
    }
}

fn rate(text: &str) -> Result<f64, &'static str> {
    let rate = text.parse().ok();
    rate.filter(|rate| (0.0..=1.0).contains(rate))
        .ok_or("expected a number from 0 to 1")
}
