//! The sources of a configuration as layers: each walked on its own, then laid on one another.
//!
//! A later layer wins. The layers outlive the merging, because only they tell which of them a value comes from.

use super::errors::ConfigError;
use super::value::{self, Table, Value};
use super::walk::{self, Handlers};
use super::{Config, Place, RouteDefaults, environment};

/// Whose configuration is wanted.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// The backends alone.
    Backends,
    /// An app with these handlers.
    App(&'a [RouteDefaults]),
    /// A tool's, which knows no handlers: the routes of the configuration itself.
    Configured,
}

/// What the place of a value does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A default that is set in code.
    CodeDefault,
    /// The chosen profile.
    Profile,
    /// Any other; the place says which.
    Other,
}

/// One source.
pub(super) struct Layer {
    pub(super) origin: Origin,
    pub(super) table: Table,
}

/// All of them, and what they come to.
pub(super) struct Merged {
    pub(super) layers: Vec<Layer>,
    pub(super) root: Table,
}

impl Layer {
    fn new(origin: Origin, table: Table) -> Self {
        Self { origin, table }
    }
}

impl Config {
    /// All layers, each walked, then laid on one another.
    pub(super) fn merged(&self, asked: Asked<'_>, errors: &mut Vec<ConfigError>) -> Merged {
        let handlers = match asked {
            Asked::App(handlers) => handlers,
            Asked::Backends | Asked::Configured => &[],
        };
        let names: Vec<&str> = handlers.iter().map(|route| &*route.handler).collect();
        let defaults = code(&self.defaults, errors);
        let mut layers = vec![Layer::new(Origin::CodeDefault, defaults)];
        for handler in handlers {
            layers.push(Layer::new(Origin::Other, attribute(handler, errors)));
        }
        if let Some((_, file)) = &self.file {
            layers.push(Layer::new(Origin::Other, file.clone()));
        }
        if let Some(profile) = self.chosen_profile(errors) {
            layers.push(Layer::new(Origin::Profile, profile));
        }
        let overrides = Layer::new(Origin::Other, code(&self.overrides, errors));
        let environment = self.environment_layer(&layers, &overrides, &names, errors);
        layers.extend([Layer::new(Origin::Other, environment), overrides]);
        let known = match asked {
            Asked::Backends => Handlers::Ignored,
            Asked::App(_) => Handlers::These(&names),
            Asked::Configured => Handlers::Any,
        };
        // A profile is walked as a part of the file.
        let walked: Vec<&Table> = layers
            .iter()
            .filter(|layer| layer.origin != Origin::Profile)
            .map(|layer| &layer.table)
            .collect();
        errors.extend(walk::layers(&walked, known, &self.checks));
        let mut root = Table::new();
        for layer in &layers {
            value::merge(&mut root, &layer.table);
        }
        Merged { layers, root }
    }

    /// The environment's variables, spelled as the other layers and the handlers spell them.
    fn environment_layer(
        &self,
        below: &[Layer],
        above: &Layer,
        names: &[&str],
        errors: &mut Vec<ConfigError>,
    ) -> Table {
        let mut known = Table::new();
        for layer in below.iter().chain([above]) {
            value::merge(&mut known, &layer.table);
        }
        for name in names {
            let path = ["routes".to_owned(), (*name).to_owned(), String::new()];
            // A leaf in the way is reported by the walk.
            let _ = value::insert(&mut known, &path, Value::Boolean(true), &Place::Code);
        }
        let (environment, wrong) = environment::tree(&self.environment, &known);
        errors.extend(wrong);
        errors.extend(self.no_text.iter().map(|name| environment::no_text(name)));
        let mistaken = |name: &String| environment::mistaken(name);
        errors.extend(self.foreign.iter().filter_map(mistaken));
        environment
    }
}

/// A layer of values set in code; the last of several for one key counts.
fn code(entries: &[(String, Value)], errors: &mut Vec<ConfigError>) -> Table {
    let mut table = Table::new();
    for (key, value) in entries {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let mut one = Table::new();
        if value::insert(&mut one, &path, value.clone(), &Place::Code).is_err()
            || path[0] == "profile"
        {
            let message = "cannot be set in code";
            errors.push(ConfigError::new(&Place::Code, key, message));
            continue;
        }
        value::merge(&mut table, &one);
    }
    table
}

/// The layer of one attribute.
fn attribute(handler: &RouteDefaults, errors: &mut Vec<ConfigError>) -> Table {
    let place = Place::Attribute(handler.handler.as_str().into());
    let mut table = Table::new();
    for (key, value) in &handler.entries {
        let path: Vec<String> = ["routes", &handler.handler]
            .into_iter()
            .chain(key.split('.'))
            .map(str::to_owned)
            .collect();
        if value::insert(&mut table, &path, value.clone(), &place).is_err() {
            let message = "given twice in one attribute. Remove one of them";
            errors.push(ConfigError::new(&place, path.join("."), message));
        }
    }
    table
}
