//! Which scheme of a backend URL opens which backend.
//!
//! The facade fills the registry with the adapters of its features; a third-party adapter registers itself the same way.
//! A scheme that belongs to a feature that is off is known by name, so that the error can name the feature.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::{Backend, BoxFuture};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// What a backend is opened with.
#[derive(Clone)]
pub struct BackendOptions {
    /// The name in the config (`main` in `[backend.main]`).
    pub name: String,
    /// The URL as configured. May hold a password: never print it, see [`BackendOptions::safe_url`].
    pub url: String,
    /// The adapter's own settings (`[backend.<name>.<adapter>]`), as strings by dotted key.
    pub settings: BTreeMap<String, String>,
    /// The clock that stamps records.
    pub clock: Arc<dyn Clock>,
}

impl BackendOptions {
    /// The part of the URL before the colon.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.url.split(':').next().unwrap_or_default()
    }

    /// The URL without user information and query, for errors and logs.
    #[must_use]
    pub fn safe_url(&self) -> String {
        safe_url(&self.url)
    }
}

/// A URL without user information and query.
pub(crate) fn safe_url(url: &str) -> String {
    let (head, rest) = match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            if is_unclear(url) {
                return format!("{}://***", &url[..scheme]);
            }
            (&url[..scheme], &url[at + 1..])
        }
        _ => ("", url),
    };
    let rest = rest.split('?').next().unwrap_or_default();
    match head {
        "" => rest.to_owned(),
        scheme => format!("{scheme}://***@{rest}"),
    }
}

/// A URL as a tool shows it that prints the configuration: the user stays, the password and what follows a `?` do not. User
/// information without a password is a token for some brokers, and goes too.
pub(crate) fn shown_url(url: &str) -> String {
    let scheme = url.find(':').map_or(0, |colon| colon + 1);
    let start = match url[scheme..].starts_with("//") {
        true => scheme + 2,
        false => scheme,
    };
    let (head, rest) = url.split_at(start);
    if is_unclear(rest) {
        return format!("{head}***");
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, "?***"),
        None => (rest, ""),
    };
    let Some((login, hosts)) = rest.rsplit_once('@') else {
        return format!("{head}{rest}{query}");
    };
    let is_plain = |sign: char| sign.is_alphanumeric() || "-._~%+!$".contains(sign);
    match login.split_once(':') {
        Some((user, _)) if user.chars().all(is_plain) => {
            format!("{head}{user}:***@{hosts}{query}")
        }
        _ => format!("{head}***@{hosts}{query}"),
    }
}

/// A `?` before an `@` is in a password, or the `@` is in a query: nobody knows which part of it is a secret.
fn is_unclear(url: &str) -> bool {
    matches!((url.find('?'), url.rfind('@')), (Some(query), Some(at)) if query < at)
}

impl fmt::Debug for BackendOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackendOptions")
            .field("name", &self.name)
            .field("url", &self.safe_url())
            .field("settings", &self.settings.keys())
            .finish_non_exhaustive()
    }
}

/// Opens a backend.
pub type BackendFactory =
    Arc<dyn Fn(BackendOptions) -> BoxFuture<'static, Result<Arc<dyn Backend>>> + Send + Sync>;

/// What is wrong with one of an adapter's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WrongSetting {
    /// There is no such key; these are all there are.
    UnknownKey(&'static [&'static str]),
    /// The value is impossible; this is what is possible (`a size like "64MiB"`). It must not hold the value, which may be
    /// a secret.
    Expected(String),
    /// The setting would break a guarantee: why, and what to do instead, as one or two sentences. It must not hold the value.
    Refused(String),
}

/// Checks one setting of an adapter by its dotted key and its value.
pub type SettingCheck = fn(&str, &str) -> std::result::Result<(), WrongSetting>;

/// What a tool that prints a configuration may show of an adapter's settings.
#[derive(Clone, Copy, Debug)]
pub struct SettingList {
    /// The adapter's own keys with their defaults, as a config file would have them (without quotes).
    pub defaults: &'static [(&'static str, &'static str)],
    /// Whether the value of a setting may be shown, by its key: no for a secret, and for a key that is not known. It is asked of
    /// every key that is given.
    pub may_show: fn(&str) -> bool,
}

/// Backends by URL scheme.
#[derive(Clone, Default)]
pub struct Registry {
    factories: BTreeMap<&'static str, BackendFactory>,
    checks: BTreeMap<&'static str, SettingCheck>,
    lists: BTreeMap<&'static str, SettingList>,
    features: BTreeMap<&'static str, &'static str>,
    planned: BTreeSet<&'static str>,
}

impl Registry {
    /// A registry that knows no scheme.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a scheme; a later registration replaces an earlier one.
    pub fn register(&mut self, scheme: &'static str, factory: BackendFactory) {
        self.factories.insert(scheme, factory);
    }

    /// Checks the settings of an adapter (`[backend.<name>.<adapter>]`) while the configuration is read: what is wrong is then
    /// reported with file and line, together with everything else that is. Without it the factory has to, when it opens.
    pub fn check_settings(&mut self, adapter: &'static str, check: SettingCheck) {
        self.checks.insert(adapter, check);
    }

    /// The checks of settings, by adapter.
    pub fn setting_checks(&self) -> impl Iterator<Item = (&'static str, SettingCheck)> + '_ {
        self.checks
            .iter()
            .map(|(adapter, check)| (*adapter, *check))
    }

    /// Lists the settings of an adapter, for tools that print the configuration. Without it they show none of their values.
    pub fn list_settings(&mut self, adapter: &'static str, list: SettingList) {
        self.lists.insert(adapter, list);
    }

    /// The settings of an adapter, as far as it told.
    #[must_use]
    pub fn setting_list(&self, adapter: &str) -> Option<SettingList> {
        self.lists.get(adapter).copied()
    }

    /// Notes that a scheme needs a cargo feature, for the error when it is off.
    pub fn needs_feature(&mut self, scheme: &'static str, feature: &'static str) {
        self.features.insert(scheme, feature);
    }

    /// Notes that a scheme's adapter is planned and not there yet, for the error.
    pub fn planned(&mut self, scheme: &'static str) {
        self.planned.insert(scheme);
    }

    /// The schemes that can be opened, in order.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.factories.keys().copied()
    }

    /// Opens the backend its URL names.
    ///
    /// # Errors
    /// Unknown scheme (names the nearest or the feature that is off), or the backend's own.
    pub async fn open(&self, options: BackendOptions) -> Result<Arc<dyn Backend>> {
        let factory = self.factory(&options)?;
        factory(options).await
    }

    fn factory(&self, options: &BackendOptions) -> Result<&BackendFactory> {
        let scheme = options.scheme();
        let refused = |(message, remedy): (&'static str, String)| {
            Error::new(ErrorKind::Config, "open backend", message)
                .with("backend", &options.name)
                .with("scheme", format!("{scheme}:"))
                .remedy(remedy)
        };
        match self.factories.get(scheme) {
            Some(factory) => Ok(factory),
            None => Err(refused(self.refusal(scheme))),
        }
    }

    /// Whether a scheme can be opened.
    #[must_use]
    pub fn knows(&self, scheme: &str) -> bool {
        self.factories.contains_key(scheme)
    }

    /// Every scheme that is known by name, also those that cannot be opened.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        let others = self.features.keys().chain(&self.planned).copied();
        self.schemes().chain(others)
    }

    /// Why a scheme that is not [known](Self::knows) cannot be opened, and what to do.
    #[must_use]
    pub fn refusal(&self, scheme: &str) -> (&'static str, String) {
        if let Some(feature) = self.features.get(scheme) {
            let remedy = format!(
                "Switch the feature `{feature}` of the crate dotmsg on; the command dotmsg has it when it is installed with `--features {feature}`"
            );
            return ("the adapter of this URL scheme is switched off", remedy);
        }
        let known: Vec<String> = self.schemes().map(|known| format!("{known}:")).collect();
        let known = format!("Known here: {}", known.join(", "));
        match self.planned.contains(scheme) {
            true => (
                "the adapter of this URL scheme is planned and not in this release",
                known,
            ),
            false => ("unknown URL scheme", known),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.factories.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn options(url: &str) -> BackendOptions {
        BackendOptions {
            name: "main".into(),
            url: url.into(),
            settings: BTreeMap::new(),
            clock: Arc::new(SystemClock),
        }
    }

    #[test]
    fn a_scheme_whose_feature_is_off_names_the_feature() {
        let mut registry = Registry::new();
        registry.needs_feature("kafka", "kafka");
        let error = registry.factory(&options("kafka://h")).err().unwrap();
        assert!(error.to_string().contains("feature `kafka`"), "{error}");
    }

    #[test]
    fn a_url_is_shown_with_its_user_and_without_its_secrets() {
        for (url, shown) in [
            ("memory:", "memory:"),
            ("log:./a/path", "log:./a/path"),
            ("kafka://a:9092,b:9092", "kafka://a:9092,b:9092"),
            ("kafka://app:canary@a:1,b:2", "kafka://app:***@a:1,b:2"),
            ("kafka://u:can@canary@a", "kafka://u:***@a"),
            ("kafka://u:can?canary@a", "kafka://***"),
            ("kafka://u:can:ary/canary@a", "kafka://u:***@a"),
            ("nats://canary@host", "nats://***@host"),
            ("nats://host?token=canary", "nats://host?***"),
            ("nats://host/?token=can?canary", "nats://host/?***"),
            (
                "amqp://u:canary@host/v?password=canary",
                "amqp://u:***@host/v?***",
            ),
            ("amqp://u:canary@host/v?mail=a@b&token=canary", "amqp://***"),
            ("http://h/a?canary:x@y", "http://***"),
            ("http://ca/nary:canary@y", "http://***@y"),
            ("kafka:u:canary://canary@host", "kafka:u:***@host"),
            ("log:canary@x", "log:***@x"),
        ] {
            assert_eq!(shown_url(url), shown);
            assert!(!shown.contains("canary"));
        }
    }

    #[test]
    fn a_password_is_never_printed() {
        let options = options("amqp://user:canary@host/vhost?password=canary");
        assert!(!format!("{options:?}").contains("canary"));
        assert_eq!(options.safe_url(), "amqp://***@host/vhost");
        for url in [
            "kafka://u:pass?canary@host",
            "kafka://u:canary@p@host?canary",
            "nats://host?token=canary",
            "amqp://u:canary@host?mail=a@b&token=canary",
        ] {
            assert!(!safe_url(url).contains("canary"), "{url}");
        }
    }
}
