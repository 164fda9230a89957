//! The schemes `memory:` and `log:` for the registry.
//!
//! `memory:name` is one log per name and [`MemoryLogs`]: two backends of one process that name the same log share it. A path
//! is no name: whoever writes one expects to find the records again. `log:./path` opens a directory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::broker::LogBroker;
use super::lock;
use super::options::LogOptions;
use crate::backend::{Backend, BackendFactory, BackendOptions};
use crate::error::{Error, ErrorKind, Result};

/// Logs in memory by name. A clone is the same map, so that a test can reach the log the app uses.
#[derive(Clone, Debug, Default)]
pub struct MemoryLogs(Arc<Mutex<BTreeMap<String, LogBroker>>>);

impl MemoryLogs {
    /// No logs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The log of this name, if it was opened.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<LogBroker> {
        lock(&self.0).get(name).cloned()
    }

    /// Puts a log under a name, so that `memory:name` opens it.
    pub fn insert(&self, name: impl Into<String>, log: LogBroker) {
        lock(&self.0).insert(name.into(), log);
    }

    fn open(&self, options: &BackendOptions) -> Result<LogBroker> {
        let name = options.url.split_once(':').map_or("", |(_, name)| name);
        if name.contains(['/', '\\']) {
            return Err(Error::new(
                ErrorKind::Config,
                "open log",
                "a log in memory has a name and no path: it is gone with the app",
            )
            .with("backend", &options.name)
            .remedy("Write memory: or memory:name, or log:./path for a log that stays"));
        }
        let settings = settings(options)?;
        let mut logs = lock(&self.0);
        let log = logs
            .entry(name.to_owned())
            .or_insert_with(|| LogBroker::memory(settings));
        Ok(log.clone())
    }
}

/// Opens `memory:` and `memory:name`.
#[must_use]
pub fn memory_factory(logs: MemoryLogs) -> BackendFactory {
    Arc::new(move |options| {
        let opened = logs.open(&options);
        let backend = opened.map(|log| Arc::new(log) as Arc<dyn Backend>);
        Box::pin(std::future::ready(backend))
    })
}

/// Opens `log:./path` and `log:/path`.
#[must_use]
pub fn log_factory() -> BackendFactory {
    Arc::new(|options| {
        let opened = open_directory(&options);
        let backend = opened.map(|log| Arc::new(log) as Arc<dyn Backend>);
        Box::pin(std::future::ready(backend))
    })
}

fn open_directory(options: &BackendOptions) -> Result<LogBroker> {
    let path = options.url.split_once(':').map_or("", |(_, path)| path);
    if path.is_empty() {
        return Err(
            Error::new(ErrorKind::Config, "open log", "the URL names no directory")
                .with("backend", &options.name)
                .remedy("Write it as log:./path"),
        );
    }
    if let Some(host) = path.strip_prefix("//") {
        // Read as a path it would name a directory at the root that nobody meant.
        return Err(Error::new(
            ErrorKind::Config,
            "open log",
            "a log is a directory and has no host",
        )
        .with("backend", &options.name)
        .remedy(match shown(host) {
            Some(path) if path.starts_with(['.', '/']) => format!("Write log:{path}"),
            Some(name) => format!(
                "Write log:./{name} for a directory here, or log:/{name} for one from the root"
            ),
            None => {
                "Write log:./path for a directory here, or log:/path for one from the root".into()
            }
        }));
    }
    let settings = settings(options)?;
    LogBroker::open(path, settings).map_err(|error| error.with("backend", &options.name))
}

/// The rest of a URL, unless it may hold a secret.
fn shown(host: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    host.chars().all(plain).then_some(host)
}

fn settings(options: &BackendOptions) -> Result<LogOptions> {
    LogOptions::new(Arc::clone(&options.clock))
        .with_settings(&options.settings)
        .map_err(|error| error.with("backend", &options.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use std::collections::BTreeMap;

    fn options(url: &str) -> BackendOptions {
        BackendOptions {
            name: "main".into(),
            url: url.into(),
            settings: BTreeMap::new(),
            clock: Arc::new(SystemClock),
        }
    }

    #[test]
    fn a_url_with_a_host_is_refused_and_opens_nothing() {
        let error = open_directory(&options("log://orders-log")).unwrap_err();
        assert!(error.to_string().contains("log:./orders-log"), "{error}");
        // What says already where it is stays as it is.
        for (url, right) in [
            ("log://./orders", "Write log:./orders"),
            ("log://../orders", "Write log:../orders"),
            ("log:///var/orders", "Write log:/var/orders"),
        ] {
            let error = open_directory(&options(url)).unwrap_err().to_string();
            assert!(error.ends_with(right), "{error}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_not_shown() {
        let error = open_directory(&options("log://user:secret@host/path")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }

    #[test]
    fn a_log_in_memory_has_a_name_and_no_path() {
        let logs = MemoryLogs::new();
        for url in ["memory:./orders", "memory:/tmp/x", "memory://x"] {
            let error = logs.open(&options(url)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("log:./path"), "{error}");
        }
        logs.open(&options("memory:orders")).unwrap();
        assert!(logs.get("orders").is_some() && logs.get("").is_none());
    }
}
