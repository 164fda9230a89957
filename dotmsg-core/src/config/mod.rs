//! Configuration: one shape, from a TOML file, the environment, profiles, attributes and code.
//!
//! A later source wins over an earlier one: defaults set in code, the handler's attribute, the file, its chosen profile,
//! the environment, values set in code for good (a command line option). Every value keeps its place. [`Config::resolve`]
//! reports everything that is wrong at once, each with key, place, what is wrong and the nearest valid name. URLs and
//! adapter settings may hold secrets: nothing here prints one.
//!
//! ```
//! use dotmsg_core::config::{Config, RouteDefaults};
//!
//! let config = Config::from_toml("dotmsg.toml", "backend.main.url = 'memory:'\nroutes.bill.concurrency = 64")?;
//! let bill = RouteDefaults::new("bill").with("topic", "orders").with("group", "billing");
//! let resolved = config.env_os(std::env::vars_os()).resolve(&[bill])?;
//! assert_eq!(resolved.routes[0].limits.concurrency, 64);
//! # Ok::<(), dotmsg_core::config::ConfigErrors>(())
//! ```

mod checks;
mod document;
mod environment;
mod errors;
mod explain;
mod keys;
mod kind;
mod layers;
mod misplaced;
mod nearest;
mod place;
mod resolve;
mod route;
mod sections;
#[cfg(test)]
mod tests;
mod value;
mod walk;

pub use errors::{ConfigError, ConfigErrors};
pub use explain::{Explained, Setting, SettingValue, Source, route_settings};
pub use place::Place;
pub use sections::{BackendConfig, StoreConfig};
pub use value::Value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use crate::backend::{Registry, SettingCheck};
use crate::router::{LimitSpec, RouteSpec};
use value::Table;

/// What the attribute of one handler said, by the keys of `[routes.<handler>]`.
#[derive(Clone, Debug)]
pub struct RouteDefaults {
    /// The handler's name.
    pub handler: String,
    /// Dotted key (`"retry.tiers"`) and value.
    pub entries: Vec<(&'static str, Value)>,
    /// It takes batches, so the keys under `batch` are for it.
    pub batch: bool,
}

impl RouteDefaults {
    /// Of a handler whose attribute said nothing.
    #[must_use]
    pub fn new(handler: impl Into<String>) -> Self {
        Self {
            handler: handler.into(),
            entries: Vec::new(),
            batch: false,
        }
    }

    /// Of a handler that takes batches.
    #[must_use]
    pub fn batches(mut self) -> Self {
        self.batch = true;
        self
    }

    /// Adds what the attribute said about one key.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.entries.push((key, value.into()));
        self
    }
}

/// A configuration without a mistake.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Resolved {
    /// The profile that was chosen.
    pub profile: Option<String>,
    /// Where values came from: the file, and the names of the environment's variables.
    pub sources: Vec<String>,
    /// One per handler, in the order of the handlers.
    pub routes: Vec<RouteSpec>,
    /// By name.
    pub backends: Vec<BackendConfig>,
    /// By name.
    pub stores: Vec<StoreConfig>,
    /// By name.
    pub limits: Vec<LimitSpec>,
    /// Where the HTTP endpoint listens; `None`: there is none.
    pub http: Option<SocketAddr>,
    /// The routes of the configuration that [`Config::resolve_configured`] left out, by name. Empty for an app.
    pub incomplete: Vec<IncompleteRoute>,
}

/// A table of `[routes]` that does not say by itself what it consumes.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct IncompleteRoute {
    /// Its name.
    pub name: String,
    /// The keys that it lacks: `topic`, `group` or both. The handler's attribute may have them.
    pub missing: Vec<&'static str>,
}

/// A configuration as it was given; [`Config::resolve`] checks and merges it.
#[derive(Clone, Default)]
pub struct Config {
    file: Option<(Arc<str>, Table)>,
    defaults: Vec<(String, Value)>,
    overrides: Vec<(String, Value)>,
    profile: Option<String>,
    environment: Vec<(String, String)>,
    /// Our variables that are no text.
    no_text: Vec<String>,
    /// Variables that resemble ours and set nothing.
    foreign: Vec<String>,
    checks: BTreeMap<&'static str, SettingCheck>,
    /// Which URL schemes can be opened; `None`: not looked at.
    registry: Option<Registry>,
    /// Backends that are open already: their URLs are not.
    given: Vec<String>,
}

impl Config {
    /// An empty configuration, to be built in code.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigErrors> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let line = None;
            let name = name.as_str().into();
            ConfigError::new(
                &Place::File { name, line },
                "",
                format!("cannot be read: {error}"),
            )
        })?;
        Self::from_toml(&name, &text)
    }

    /// Parses TOML text; `name` stands for it in errors.
    ///
    /// # Errors
    /// It is not TOML.
    pub fn from_toml(name: &str, text: &str) -> Result<Self, ConfigErrors> {
        let file = Some((name.into(), document::parse(name, text)?));
        Ok(Self {
            file,
            ..Self::default()
        })
    }

    /// Chooses a profile of the file; the environment's `DOTMSG_PROFILE` wins over it.
    #[must_use]
    pub fn profile(mut self, name: Option<&str>) -> Self {
        self.profile = name.map(str::to_owned);
        self
    }

    /// Takes the environment's variables; those that are not ours are left out.
    #[must_use]
    pub fn env(mut self, vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let vars: Vec<_> = vars.into_iter().collect();
        self.foreign = environment::foreign(vars.iter().map(|(name, _)| name));
        self.environment = environment::ours(vars);
        self
    }

    /// Takes the environment's variables as [`std::env::vars_os`] gives them: one that is not UTF-8 is an error if it is
    /// ours, and left out otherwise.
    #[must_use]
    pub fn env_os(mut self, vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let (texts, no_text) = environment::texts(vars);
        self.no_text = no_text;
        self.env(texts)
    }

    /// A default for a dotted key such as `backend.main.url`: attribute, file and environment win over it.
    #[must_use]
    pub fn default_value(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.defaults.push((key.to_owned(), value.into()));
        self
    }

    /// Sets a dotted key for good, as a command line option does: it wins over everything.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.overrides.push((key.to_owned(), value.into()));
        self
    }

    /// Checks against these adapters as well: the settings of each (`[backend.<name>.<adapter>]`), and that there is one for
    /// the URL of every backend that a route uses. An app does it with its own.
    #[must_use]
    pub fn adapters(mut self, registry: &Registry) -> Self {
        self.checks = registry.setting_checks().collect();
        self.registry = Some(registry.clone());
        self
    }

    /// These backends are given open: no adapter is needed for their URLs.
    #[must_use]
    pub(crate) fn given<'a>(mut self, names: impl IntoIterator<Item = &'a String>) -> Self {
        self.given = names.into_iter().cloned().collect();
        self
    }

    fn profile_name(&self) -> Option<(&str, Place)> {
        match environment::profile(&self.environment) {
            Some((variable, name)) => Some((name, Place::Environment(variable.into()))),
            None => Some((self.profile.as_deref()?, Place::Code)),
        }
    }

    /// The file and our variables, by name: a variable's value may be a secret.
    fn sources(&self) -> Vec<String> {
        let file = self.file.iter().map(|(name, _)| name.to_string());
        let environment = self.environment.iter().map(|(name, _)| name.clone());
        file.chain(environment).collect()
    }

    fn chosen_profile(&self, errors: &mut Vec<ConfigError>) -> Option<Table> {
        let (name, place) = self.profile_name()?;
        let empty = Table::new();
        let profiles = self
            .file
            .as_ref()
            .and_then(|(_, file)| value::table(file, "profile"))
            .unwrap_or(&empty);
        if let Some(profile) = value::table(profiles, name) {
            return Some(profile.clone());
        }
        let known: Vec<&str> = profiles.keys().map(String::as_str).collect();
        let advice = nearest::advice(name, &known, "profile in the file");
        let message = format!("there is no profile `{name}`. {advice}");
        errors.push(ConfigError::new(&place, "profile", message));
        None
    }

    /// Where something that is missing should be.
    fn place(&self) -> Place {
        match &self.file {
            Some((name, _)) => Place::File {
                name: Arc::clone(name),
                line: None,
            },
            None => Place::Code,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("file", &self.file.as_ref().map(|(name, _)| name))
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}
