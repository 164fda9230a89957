//! Backends, stores, limits and telemetry, resolved.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::errors::ConfigError;
use super::kind;
use super::value::{self, Node, Table};
use super::{Place, Value, keys, walk};
use crate::backend::{BackendOptions, safe_url};
use crate::clock::Clock;
use crate::router::LimitSpec;

/// One `[backend.<name>]`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendConfig {
    /// Its name; routes use `main` unless they say otherwise.
    pub name: String,
    /// The URL, which may hold a password.
    pub url: String,
    /// What every topic name starts with on this backend. Default empty.
    pub topic_prefix: String,
    /// Whether missing source topics are created at start-up. Default false: a wrong topic name must not create a topic.
    pub auto_create: bool,
    /// The partitions of a topic created so. Default 12: shared evenly by 1, 2, 3, 4, 6 or 12 processes, and growing
    /// later moves keys.
    pub auto_create_partitions: u32,
    /// The lasting name of this process among the members of its groups (static membership, KIP-345): after a restart within
    /// the session timeout it gets its partitions back, and nobody else is disturbed. Each process needs one of its own.
    /// Default empty: none.
    pub instance_id: String,
    /// The settings of the adapter that the URL names (`[backend.<name>.<adapter>]`), as strings by dotted key.
    pub settings: BTreeMap<String, String>,
}

impl BackendConfig {
    /// A backend with every default.
    #[must_use]
    pub fn new(name: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            url: url.into(),
            topic_prefix: String::new(),
            auto_create: false,
            auto_create_partitions: 12,
            instance_id: String::new(),
            settings: BTreeMap::new(),
        }
    }

    /// What the registry opens it with.
    #[must_use]
    pub fn options(&self, clock: Arc<dyn Clock>) -> BackendOptions {
        BackendOptions {
            name: self.name.clone(),
            url: self.url.clone(),
            settings: self.settings.clone(),
            clock,
        }
    }

    /// Which adapter it is of: the scheme of its URL, such as `kafka`, `log` or `memory`.
    #[must_use]
    pub fn adapter(&self) -> &str {
        keys::adapter(&self.url)
    }

    /// The URL as errors and logs may show it.
    #[must_use]
    pub fn safe_url(&self) -> String {
        safe_url(&self.url)
    }
}

impl fmt::Debug for BackendConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendConfig")
            .field("name", &self.name)
            .field("adapter", &keys::adapter(&self.url))
            .field("topic_prefix", &self.topic_prefix)
            .field("auto_create", &self.auto_create)
            .field("auto_create_partitions", &self.auto_create_partitions)
            .field("instance_id", &self.instance_id)
            .field("settings", &self.settings.keys())
            .finish_non_exhaustive()
    }
}

/// One `[store.<name>]`: where dedup tables and outboxes live.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreConfig {
    /// Its name.
    pub name: String,
    /// The URL, which may hold a password.
    pub url: String,
}

impl fmt::Debug for StoreConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreConfig")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All backends of the merged tree. A value that the walk refused is left at its default.
pub(super) fn backends(root: &Table, errors: &mut Vec<ConfigError>) -> Vec<BackendConfig> {
    let mut backends = Vec::new();
    for (name, place, table) in items(root, "backend") {
        let path = format!("backend.{name}");
        let mut backend = BackendConfig::new(name, url(table, place, &path, errors));
        if let Some(Ok(prefix)) = leaf(table, "topic_prefix").map(kind::prefix) {
            prefix.clone_into(&mut backend.topic_prefix);
        }
        if let Some(Ok(create)) = leaf(table, "auto_create").map(kind::boolean) {
            backend.auto_create = create;
        }
        let partitions = leaf(table, "auto_create_partitions")
            .and_then(|value| kind::count(value, 1, 10_000).ok())
            .and_then(|count| u32::try_from(count).ok());
        backend.auto_create_partitions = partitions.unwrap_or(backend.auto_create_partitions);
        if let Some(Ok(instance)) = leaf(table, "instance_id").map(kind::prefix) {
            instance.clone_into(&mut backend.instance_id);
        }
        let adapter = keys::adapter(&backend.url).to_owned();
        if let Some(settings) = value::table(table, &adapter) {
            let refused = walk::settings(settings, "", &mut backend.settings);
            errors.extend(refused.into_iter().map(|(key, entry)| {
                let message = "expected a string, a whole number or a boolean";
                ConfigError::new(&entry.place, format!("{path}.{adapter}.{key}"), message)
            }));
        }
        backends.push(backend);
    }
    backends
}

/// All stores of the merged tree.
pub(super) fn stores(root: &Table, errors: &mut Vec<ConfigError>) -> Vec<StoreConfig> {
    items(root, "store")
        .map(|(name, place, table)| StoreConfig {
            name: name.to_owned(),
            url: url(table, place, &format!("store.{name}"), errors),
        })
        .collect()
}

/// All limits of the merged tree. A value that the walk refused is left out.
pub(super) fn limits(root: &Table, errors: &mut Vec<ConfigError>) -> Vec<LimitSpec> {
    items(root, "limits")
        .map(|(name, place, table)| {
            let mut limit = LimitSpec::new(name);
            limit.concurrency = leaf(table, "concurrency")
                .and_then(|value| kind::count(value, 1, 1_000_000).ok())
                .and_then(|count| usize::try_from(count).ok());
            limit.rate = leaf(table, "rate").and_then(|value| kind::rate(value).ok());
            if !table.contains_key("concurrency") && !table.contains_key("rate") {
                let path = format!("limits.{name}");
                let message = "limits nothing. Set `concurrency`, `rate` or both";
                errors.push(ConfigError::new(place, path, message));
            }
            limit
        })
        .collect()
}

/// Where the HTTP endpoint listens. A value that the walk refused is left out.
pub(super) fn http(root: &Table) -> Option<SocketAddr> {
    let (_, _, table) = items(root, "telemetry").find(|(name, ..)| *name == "http")?;
    kind::listen(leaf(table, "listen")?).ok()?
}

fn url(table: &Table, place: &Place, path: &str, errors: &mut Vec<ConfigError>) -> String {
    match leaf(table, "url") {
        Some(value) => kind::url(value).unwrap_or_default().to_owned(),
        // A table in its place is reported by the walk.
        None if table.contains_key("url") => String::new(),
        None => {
            let variable = path.replace('.', "__").to_uppercase();
            let message = format!("has no url. Set `url` in [{path}], or DOTMSG__{variable}__URL");
            errors.push(ConfigError::new(place, path, message));
            String::new()
        }
    }
}

fn items<'a>(
    root: &'a Table,
    section: &str,
) -> impl Iterator<Item = (&'a str, &'a Place, &'a Table)> {
    value::table(root, section)
        .into_iter()
        .flatten()
        .filter_map(|(name, entry)| match &entry.node {
            Node::Table(table) => Some((name.as_str(), &entry.place, table)),
            Node::Leaf(_) => None,
        })
}

fn leaf<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match &table.get(key)?.node {
        Node::Leaf(value) => Some(value),
        Node::Table(_) => None,
    }
}
