//! The walk over one layer: every key known, every value of its kind.
//!
//! Each layer (file, every profile, environment, attributes, code) is walked on its own, also the profiles that are not
//! chosen: a typing error in `production` shows on the developer's machine.

use std::collections::BTreeMap;

use super::Value;
use super::errors::ConfigError;
use super::keys::{self, Key};
use super::kind::{self, Kind};
use super::misplaced;
use super::nearest::{advice, nearest};
use super::value::{Entry, Node, Table};
use crate::backend::{SettingCheck, WrongSetting};

/// Which handlers `[routes]` may name.
#[derive(Clone, Copy)]
pub(super) enum Handlers<'a> {
    /// `[routes]` is not looked at.
    Ignored,
    /// The handlers are not known; the keys of a route are.
    Any,
    /// Those of an app.
    These(&'a [&'a str]),
}

/// Walks these layers.
pub(super) fn layers(
    layers: &[&Table],
    handlers: Handlers<'_>,
    checks: &BTreeMap<&'static str, SettingCheck>,
) -> Vec<ConfigError> {
    let mut adapters = keys::ADAPTERS.to_vec();
    for layer in layers {
        adapters_of(layer, &mut adapters);
    }
    let mut walk = Walk {
        handlers,
        adapters,
        checks,
        errors: Vec::new(),
    };
    for layer in layers {
        walk.sections(layer, "", keys::SECTIONS);
    }
    walk.errors
}

/// What the walk compares names with.
struct Walk<'a> {
    handlers: Handlers<'a>,
    /// The adapters whose settings tables are known.
    adapters: Vec<&'a str>,
    /// Those of them that check their settings here.
    checks: &'a BTreeMap<&'static str, SettingCheck>,
    errors: Vec<ConfigError>,
}

impl Walk<'_> {
    fn sections(&mut self, root: &Table, prefix: &str, valid: &[&str]) {
        for (name, entry) in root {
            let path = format!("{prefix}{name}");
            if !valid.contains(&name.as_str()) {
                let advice = misplaced::at_the_top(name)
                    .unwrap_or_else(|| advice(name, valid, "table here"));
                self.error(entry, path, format!("unknown table. {advice}"));
                continue;
            }
            for (item, entry) in self.table_of(entry, &path).into_iter().flatten() {
                if let (Node::Leaf(_), Some(advice)) =
                    (&entry.node, misplaced::in_section(name, item))
                {
                    let message = format!("no key for all of [{path}] at once. {advice}");
                    self.error(entry, format!("{path}.{item}"), message);
                    continue;
                }
                self.item(name, item, entry, &format!("{path}.{item}"));
            }
        }
    }

    fn item(&mut self, section: &str, name: &str, entry: &Entry, path: &str) {
        let Some(table) = self.table_of(entry, path) else {
            return;
        };
        match section {
            "profile" => self.sections(table, &format!("{path}."), keys::PROFILE_SECTIONS),
            "backend" => self.backend(table, entry, name, path),
            "store" => {
                self.named(entry, name, path);
                self.keys(keys::STORE, table, path, "");
            }
            "limits" => {
                self.named(entry, name, path);
                self.keys(keys::LIMIT, table, path, "");
            }
            "telemetry" if keys::TELEMETRY.contains(&name) => {
                self.keys(keys::HTTP, table, path, "");
            }
            "telemetry" => {
                let advice = advice(name, keys::TELEMETRY, "table here");
                self.error(entry, path.to_owned(), format!("unknown table. {advice}"));
            }
            _ => self.route(table, entry, name, path),
        }
    }

    fn backend(&mut self, table: &Table, entry: &Entry, name: &str, path: &str) {
        self.named(entry, name, path);
        for (key, entry) in table {
            let is_table = matches!(entry.node, Node::Table(_));
            let adapters = &self.adapters;
            if is_table && adapters.contains(&key.as_str()) {
                if let Some(check) = self.checks.get(key.as_str()) {
                    self.adapter((name, *check), entry, "", &format!("{path}.{key}"));
                }
                continue;
            }
            let known = keys::BACKEND.iter().any(|known| known.path == key);
            let near = || nearest(key, adapters.iter().copied());
            match (is_table && !known).then(near).flatten() {
                Some(near) => {
                    let message = format!("unknown table. Did you mean `{near}`?");
                    self.error(entry, format!("{path}.{key}"), message);
                }
                None if known => self.key(keys::BACKEND, key, entry, path, ""),
                None => match misplaced::in_backend(name, table, key, self.checks) {
                    Some(advice) => {
                        let message = format!("unknown key. {advice}");
                        self.error(entry, format!("{path}.{key}"), message);
                    }
                    None => self.key(keys::BACKEND, key, entry, path, ""),
                },
            }
        }
    }

    /// Checks the settings of one adapter; `key` is the path within its table. A list is refused for every adapter.
    fn adapter(
        &mut self,
        (backend, check): (&str, SettingCheck),
        entry: &Entry,
        key: &str,
        path: &str,
    ) {
        match &entry.node {
            Node::Table(below) => {
                for (name, entry) in below {
                    let within = match key {
                        "" => name.clone(),
                        key => format!("{key}.{name}"),
                    };
                    let path = format!("{path}.{name}");
                    self.adapter((backend, check), entry, &within, &path);
                }
            }
            Node::Leaf(value) => {
                let Some(Err(wrong)) = setting(value).map(|value| check(key, &value)) else {
                    return;
                };
                let message = match wrong {
                    WrongSetting::UnknownKey(known) => {
                        let advice = misplaced::in_adapter(backend, key)
                            .unwrap_or_else(|| advice(key, known, "key here"));
                        format!("unknown key. {advice}")
                    }
                    WrongSetting::Expected(expected) => {
                        let value = setting(value).unwrap_or_default();
                        let takes = |word: &&str| check(key, word).is_ok();
                        match nearest(&value, words_of(&expected).filter(takes)) {
                            Some(near) => format!("expected {expected}. Did you mean `{near}`?"),
                            None => format!("expected {expected}"),
                        }
                    }
                    WrongSetting::Refused(reason) => reason,
                };
                self.error(entry, path.to_owned(), message);
            }
        }
    }

    fn route(&mut self, table: &Table, entry: &Entry, name: &str, path: &str) {
        match self.handlers {
            Handlers::Ignored => return,
            Handlers::These(handlers) if !handlers.contains(&name) => {
                let message = format!(
                    "there is no handler `{name}`. {}",
                    advice(name, handlers, "handler in this app")
                );
                self.error(entry, path.to_owned(), message);
            }
            Handlers::Any | Handlers::These(_) => {}
        }
        self.keys(keys::ROUTE, table, path, "");
    }

    /// Checks the keys of one table; `prefix` is its path within the section.
    fn keys(&mut self, known: &'static [Key], table: &Table, path: &str, prefix: &str) {
        for (name, entry) in table {
            self.key(known, name, entry, path, prefix);
        }
    }

    fn key(&mut self, known: &'static [Key], name: &str, entry: &Entry, path: &str, prefix: &str) {
        let within = format!("{prefix}{name}");
        let full = format!("{path}.{name}");
        let inner = format!("{within}.");
        if let Some(key) = known.iter().find(|key| key.path == within) {
            let public = [keys::ROUTE, keys::LIMIT];
            let public = public.iter().any(|keys| std::ptr::eq(*keys, known));
            self.leaf(key.kind, entry, full, public);
        } else if known.iter().any(|key| key.path.starts_with(&inner)) {
            if let Some(table) = self.table_of(entry, &full) {
                self.keys(known, table, &full, &inner);
            }
        } else {
            let of_route =
                || misplaced::in_route(&within).filter(|_| std::ptr::eq(known, keys::ROUTE));
            let advice =
                of_route().map_or_else(|| advice_for_key(known, prefix, name), str::to_owned);
            self.error(entry, full, format!("unknown key. {advice}"));
        }
    }

    /// `public`: the value may be shown.
    fn leaf(&mut self, kind: Kind, entry: &Entry, path: String, public: bool) {
        let hidden;
        let value = match &entry.node {
            Node::Table(_) => &Value::Other("a table"),
            Node::Leaf(value) => value,
        };
        let Err(mut message) = kind.check(value) else {
            return;
        };
        if !public && matches!(kind, Kind::Boolean | Kind::Count { .. }) {
            hidden = Value::Other(value.type_name());
            message = kind.check(&hidden).err().unwrap_or(message);
        }
        self.error(entry, path, message);
    }

    fn named(&mut self, entry: &Entry, name: &str, path: &str) {
        if let Err(message) = kind::name(&Value::from(name)) {
            self.error(entry, path.to_owned(), message);
        }
    }

    fn table_of<'t>(&mut self, entry: &'t Entry, path: &str) -> Option<&'t Table> {
        match &entry.node {
            Node::Table(table) => Some(table),
            Node::Leaf(value) => {
                let message = format!("expected a table [{path}], found {}", value.type_name());
                self.error(entry, path.to_owned(), message);
                None
            }
        }
    }

    fn error(&mut self, entry: &Entry, path: String, message: String) {
        self.errors
            .push(ConfigError::new(&entry.place, path, message));
    }
}

/// The nearest name at this level, else the same name at another level, else all of this level.
fn advice_for_key(known: &'static [Key], prefix: &str, wrong: &str) -> String {
    let here = keys::below(known, prefix);
    if nearest(wrong, here.iter().copied()).is_none() {
        let elsewhere = known
            .iter()
            .find(|key| key.path.rsplit('.').next() == Some(wrong));
        if let Some(key) = elsewhere {
            return format!("Did you mean `{}`?", key.path);
        }
    }
    advice(wrong, &here, "key here")
}

/// The adapters of all URLs in a layer, on top of those that are known anyway.
fn adapters_of<'t>(table: &'t Table, into: &mut Vec<&'t str>) {
    for (key, entry) in table {
        match &entry.node {
            Node::Table(below) => adapters_of(below, into),
            Node::Leaf(value) if key == "url" => {
                into.extend(kind::url(value).ok().map(keys::adapter));
            }
            Node::Leaf(_) => {}
        }
    }
}

/// The settings of one adapter as strings by dotted key; those that cannot be one come back.
pub(super) fn settings<'t>(
    table: &'t Table,
    prefix: &str,
    into: &mut BTreeMap<String, String>,
) -> Vec<(String, &'t Entry)> {
    let mut refused = Vec::new();
    for (name, entry) in table {
        let key = format!("{prefix}{name}");
        match &entry.node {
            Node::Table(below) => refused.extend(settings(below, &format!("{key}."), into)),
            Node::Leaf(value) => match setting(value) {
                Some(text) => drop(into.insert(key, text)),
                None => refused.push((key, entry)),
            },
        }
    }
    refused
}

/// The words in what an adapter says that it takes (`one of a, b or c`). A number is none: nobody means its neighbour.
fn words_of(expected: &str) -> impl Iterator<Item = &str> {
    let words = expected.split([' ', ',', '"']);
    words.filter(|word| word.starts_with(char::is_alphabetic))
}

/// A setting as its adapter gets it; `None` when it cannot be one.
fn setting(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Untyped(text) => Some(text.clone()),
        Value::Integer(_) | Value::Boolean(_) => Some(value.shown()),
        Value::Float(_) | Value::List(_) | Value::Other(_) => None,
    }
}
