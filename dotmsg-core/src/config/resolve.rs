//! From the merged sources to a configuration without a mistake, or to all of them.

use std::borrow::Cow;

use super::errors::{ConfigError, ConfigErrors};
use super::layers::{Asked, Merged};
use super::value::{self, Entry, Node, Table};
use super::{
    BackendConfig, Config, IncompleteRoute, Place, Resolved, RouteDefaults, checks, environment,
    kind, route, sections,
};

impl Config {
    /// The backends alone, for a tool that has no handlers; `[routes]` is not looked at.
    ///
    /// # Errors
    /// All that is wrong outside `[routes]`.
    pub fn backends(&self) -> Result<Vec<BackendConfig>, ConfigErrors> {
        let mut errors = Vec::new();
        let root = self.merged(Asked::Backends, &mut errors).root;
        let backends = self.backends_of(&root, &mut errors);
        sections::stores(&root, &mut errors);
        sections::limits(&root, &mut errors);
        ConfigErrors::unless_any(errors, backends)
    }

    /// Merges all sources for these handlers and checks everything.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn resolve(&self, handlers: &[RouteDefaults]) -> Result<Resolved, ConfigErrors> {
        self.read(Asked::App(handlers))
            .map(|(_, resolved)| resolved)
    }

    /// Merges all sources for the routes that the configuration itself describes: those of `[routes]` with a topic and a
    /// group. For a tool that does not have the app's handlers, and so does not know what their attributes say; the routes
    /// that lack something are in [`Resolved::incomplete`]. A route with keys under `batch` is taken for one of batches.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn resolve_configured(&self) -> Result<Resolved, ConfigErrors> {
        self.read(Asked::Configured).map(|(_, resolved)| resolved)
    }

    /// Reads and checks everything; what was merged goes with it.
    pub(super) fn read(&self, asked: Asked<'_>) -> Result<(Merged, Resolved), ConfigErrors> {
        let mut errors = Vec::new();
        let merged = self.merged(asked, &mut errors);
        let root = &merged.root;
        let backends = self.backends_of(root, &mut errors);
        let stores = sections::stores(root, &mut errors);
        let limits = sections::limits(root, &mut errors);
        let empty = Table::new();
        let tables = value::table(root, "routes").unwrap_or(&empty);
        let mut incomplete = Vec::new();
        let handlers = match asked {
            Asked::App(handlers) => {
                checks::names(handlers, &mut errors);
                Cow::Borrowed(handlers)
            }
            Asked::Configured => Cow::Owned(configured(tables, &mut incomplete, &mut errors)),
            Asked::Backends => Cow::Borrowed(&[][..]),
        };
        let routes: Vec<_> = handlers
            .iter()
            .map(|given| {
                let handler = &*given.handler;
                let place = match (asked, tables.get(handler)) {
                    (Asked::Configured, Some(entry)) => entry.place.clone(),
                    _ => Place::Attribute(handler.into()),
                };
                let values = route::Values {
                    handler,
                    place,
                    table: value::table(tables, handler).unwrap_or(&empty),
                    batch: given.batch,
                };
                let spec = values.spec();
                checks::route(&values, &spec, &mut errors);
                (values, spec)
            })
            .collect();
        checks::routes(&routes, &backends, &mut errors);
        checks::limit_names(&routes, &limits, &mut errors);
        if let Some(registry) = &self.registry {
            let needed = backends
                .iter()
                .filter(|backend| !self.given.contains(&backend.name));
            checks::schemes(root, needed, &routes, registry, &mut errors);
        }
        environment::warn_of_foreign(&self.foreign);
        let routes = routes.into_iter().map(|(_, spec)| spec).collect();
        let resolved = Resolved {
            profile: self.profile_name().map(|(name, _)| name.to_owned()),
            sources: self.sources(),
            routes,
            backends,
            stores,
            limits,
            http: sections::http(root),
            incomplete,
        };
        ConfigErrors::unless_any(errors, (merged, resolved))
    }

    fn backends_of(&self, root: &Table, errors: &mut Vec<ConfigError>) -> Vec<BackendConfig> {
        let backends = sections::backends(root, errors);
        if backends.is_empty() && root.get("backend").is_none_or(is_table) {
            let message = "no backend is configured. Set `url` in [backend.main], or DOTMSG__BACKEND__MAIN__URL, for example to `log:./dotmsg-log`";
            errors.push(ConfigError::new(&self.place(), "backend", message));
        }
        backends
    }
}

fn is_table(entry: &Entry) -> bool {
    matches!(entry.node, Node::Table(_))
}

/// The routes that the configuration describes without a handler.
fn configured(
    tables: &Table,
    incomplete: &mut Vec<IncompleteRoute>,
    errors: &mut Vec<ConfigError>,
) -> Vec<RouteDefaults> {
    let mut routes = Vec::new();
    for (name, entry) in tables {
        // A leaf is reported by the walk.
        let Node::Table(table) = &entry.node else {
            continue;
        };
        if let Err(message) = kind::route_name(name) {
            let path = format!("routes.{name}");
            errors.push(ConfigError::new(&entry.place, path, message));
        }
        let missing: Vec<&'static str> = ["topic", "group"]
            .into_iter()
            .filter(|key| !table.contains_key(*key))
            .collect();
        if missing.is_empty() {
            routes.push(RouteDefaults {
                batch: table.contains_key("batch"),
                ..RouteDefaults::new(name)
            });
        } else {
            let name = name.clone();
            incomplete.push(IncompleteRoute { name, missing });
        }
    }
    routes
}
