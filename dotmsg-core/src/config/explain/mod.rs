//! The resolved configuration, every key with its effective value and where that comes from, without secrets.
//!
//! It is made of the same key lists that the walk and the reader use, so no key is left out. What it prints is a
//! configuration file again: read without any other source it resolves to the same, but for the secrets.

mod effective;
mod source;
mod text;

use serde::Serialize;

pub use effective::SettingValue;
pub use source::Source;

use self::source::Sources;
use super::layers::Asked;
use super::{BackendConfig, Config, ConfigErrors, IncompleteRoute, Resolved, RouteDefaults, keys};
use crate::backend::{SettingList, shown_url};
use crate::router::RouteSpec;

/// One key, and what it comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Setting {
    /// The table at the top: `backend`, `store`, `limits`, `telemetry` or `routes`.
    pub section: &'static str,
    /// The table in it, such as `main` in `[backend.main]`.
    pub name: String,
    /// The dotted key in that, such as `retry.tiers`, or `log.fsync` for a setting of an adapter.
    pub key: String,
    /// The effective value, as the file would have it; `None`: there is none, and what the key speaks of is off. A secret is
    /// `***`, or has that in it.
    pub value: Option<SettingValue>,
    /// Where the value comes from.
    pub source: Source,
    /// The value, or a part of it, is not shown.
    pub redacted: bool,
}

/// Every key of a configuration, resolved. Its `Display` is a TOML file with the sources as comments; its `Serialize` is for
/// other programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explained {
    /// The profile that was chosen, and by what.
    pub profile: Option<(String, Source)>,
    /// By section and name, in the order of the reference file. A key that a route cannot have (those of batches, for a handler
    /// that takes single messages) is left out.
    pub settings: Vec<Setting>,
    /// Routes of the configuration that are not in it, as [`Resolved::incomplete`].
    pub incomplete: Vec<IncompleteRoute>,
}

impl Explained {
    /// Only what somebody gave: without the keys that are at their defaults.
    #[must_use]
    pub fn without_defaults(mut self) -> Self {
        self.settings
            .retain(|setting| !matches!(setting.source, Source::Default | Source::Derived));
        self
    }
}

/// Every key of a route that has a value, in the order of the reference file: what a tool shows of one.
#[must_use]
pub fn route_settings(route: &RouteSpec) -> Vec<(&'static str, SettingValue)> {
    let keys = keys::ROUTE.iter().map(|key| key.path);
    keys.filter_map(|path| Some((path, effective::route(route, path)?)))
        .collect()
}

impl Config {
    /// Every key with its effective value and its source, for these handlers. Settings of an adapter are listed with their
    /// defaults and shown as far as it says ([`Registry::list_settings`](crate::backend::Registry::list_settings)): without
    /// [`Config::adapters`], those that were given are listed and none is shown.
    ///
    /// ```
    /// use dotmsg_core::config::{Config, RouteDefaults};
    ///
    /// let config = Config::from_toml("dotmsg.toml", "backend.main.url = 'kafka://app:geheim@kafka:9092'")?;
    /// let bill = RouteDefaults::new("bill").with("topic", "orders").with("group", "billing");
    /// let text = config.explain(&[bill])?.to_string();
    /// assert!(text.contains(r#"url = "kafka://app:***@kafka:9092"  # dotmsg.toml:1"#), "{text}");
    /// # Ok::<(), dotmsg_core::config::ConfigErrors>(())
    /// ```
    ///
    /// # Errors
    /// All that is wrong, as [`Config::resolve`].
    pub fn explain(&self, handlers: &[RouteDefaults]) -> Result<Explained, ConfigErrors> {
        self.explained(Asked::App(handlers))
    }

    /// The same for the routes that the configuration itself describes, as [`Config::resolve_configured`].
    ///
    /// # Errors
    /// All that is wrong.
    pub fn explain_configured(&self) -> Result<Explained, ConfigErrors> {
        self.explained(Asked::Configured)
    }

    fn explained(&self, asked: Asked<'_>) -> Result<Explained, ConfigErrors> {
        let (merged, resolved) = self.read(asked)?;
        let profile = self.profile_name();
        let sources = Sources::new(&merged.layers, profile.as_ref().map(|(name, _)| *name));
        let mut all = Listing {
            sources,
            settings: Vec::new(),
        };
        for backend in &resolved.backends {
            all.backend(backend, self.given.contains(&backend.name));
            all.adapter(backend, self.list_of(backend));
        }
        all.others(&resolved);
        Ok(Explained {
            profile: profile.map(|(name, place)| (name.to_owned(), Source::At(place))),
            settings: all.settings,
            incomplete: resolved.incomplete,
        })
    }

    fn list_of(&self, backend: &BackendConfig) -> Option<SettingList> {
        let registry = self.registry.as_ref()?;
        registry.setting_list(keys::adapter(&backend.url))
    }
}

/// The settings found so far.
struct Listing<'a> {
    sources: Sources<'a>,
    settings: Vec<Setting>,
}

impl Listing<'_> {
    /// A key with its source, which is not in the list yet.
    fn setting(
        &self,
        section: &'static str,
        name: &str,
        key: &str,
        value: Option<SettingValue>,
    ) -> Setting {
        Setting {
            section,
            name: name.to_owned(),
            key: key.to_owned(),
            value,
            source: self.sources.of(section, name, key),
            redacted: false,
        }
    }

    fn add(&mut self, section: &'static str, name: &str, key: &str, value: Option<SettingValue>) {
        let setting = self.setting(section, name, key, value);
        self.settings.push(setting);
    }

    fn url(&mut self, section: &'static str, name: &str, url: &str) {
        let shown = shown_url(url);
        let redacted = shown != url;
        let value = Some(SettingValue::Text(shown));
        self.settings.push(Setting {
            redacted,
            ..self.setting(section, name, "url", value)
        });
    }

    fn backend(&mut self, backend: &BackendConfig, is_given: bool) {
        let name = &*backend.name;
        for key in keys::BACKEND {
            match key.path {
                "url" if is_given => self.settings.push(Setting {
                    source: Source::Open,
                    ..self.setting("backend", name, "url", None)
                }),
                "url" => self.url("backend", name, &backend.url),
                path => self.add("backend", name, path, effective::backend(backend, path)),
            }
        }
    }

    /// The settings of the adapter that the URL names.
    fn adapter(&mut self, backend: &BackendConfig, list: Option<SettingList>) {
        let adapter = keys::adapter(&backend.url);
        let mut settings = backend.settings.clone();
        let defaults = list.iter().flat_map(|list| list.defaults);
        for (key, default) in defaults {
            let key = (*key).to_owned();
            settings.entry(key).or_insert_with(|| (*default).to_owned());
        }
        for (key, value) in &settings {
            // An empty secret is none.
            let may_show = value.is_empty() || list.is_some_and(|list| (list.may_show)(key));
            let value = match may_show {
                true => effective::setting(value),
                false => SettingValue::Text("***".to_owned()),
            };
            let key = format!("{adapter}.{key}");
            self.settings.push(Setting {
                redacted: !may_show,
                ..self.setting("backend", &backend.name, &key, Some(value))
            });
        }
    }

    fn others(&mut self, resolved: &Resolved) {
        for store in &resolved.stores {
            for key in keys::STORE {
                debug_assert_eq!(key.path, "url", "a store has a URL only");
                self.url("store", &store.name, &store.url);
            }
        }
        for limit in &resolved.limits {
            for key in keys::LIMIT {
                let value = effective::limit(limit, key.path);
                self.add("limits", &limit.name, key.path, value);
            }
        }
        for key in keys::HTTP {
            let value = effective::http(resolved.http, key.path);
            self.add("telemetry", "http", key.path, Some(value));
        }
        for route in &resolved.routes {
            self.route(route);
        }
    }

    fn route(&mut self, route: &RouteSpec) {
        let plain = effective::plain(route);
        let is_of_another = |path: &str| route.batch.is_none() && path.starts_with("batch.");
        for key in keys::ROUTE.iter().filter(|key| !is_of_another(key.path)) {
            let value = effective::route(route, key.path);
            let is_plain = value == effective::route(&plain, key.path);
            let mut setting = self.setting("routes", &route.handler, key.path, value);
            if setting.source == Source::Default && !is_plain {
                setting.source = Source::Derived;
            }
            self.settings.push(setting);
        }
    }
}
