//! Where a key belongs that stands somewhere else: a valid name in the wrong table is no typing error.
//!
//! A hint is given only for the exact name; what merely resembles one is the business of [`nearest`](super::nearest).

use std::collections::BTreeMap;

use super::keys::{self, Key};
use super::kind;
use super::value::{Node, Table};
use crate::backend::{SettingCheck, WrongSetting};

/// A name at the top that belongs into a table of `[backend]`, `[routes]`, `[limits]` or `[telemetry]`.
pub(super) fn at_the_top(name: &str) -> Option<String> {
    let sections = ["routes", "backend", "limits", "telemetry"];
    sections
        .iter()
        .find_map(|section| in_section(section, name))
}

/// A key of a route that is one of the limits which it shares.
pub(super) fn in_route(name: &str) -> Option<&'static str> {
    (name == "rate").then_some("It belongs into [limits.<name>], and <name> into `limits` here")
}

/// A name directly below a section (`[routes] concurrency = 3`) that belongs into one of the section's tables.
pub(super) fn in_section(section: &str, name: &str) -> Option<String> {
    let (known, table, example) = match section {
        "routes" => (keys::ROUTE, "[routes.<handler>]", "every route has its own"),
        "backend" => (keys::BACKEND, "[backend.<name>]", "[backend.main] is usual"),
        "store" => (keys::STORE, "[store.<name>]", "every store has its own"),
        "limits" => (keys::LIMIT, "[limits.<name>]", "every limit has its own"),
        "telemetry" => (keys::HTTP, "[telemetry.http]", "so that others may follow"),
        _ => return None,
    };
    is_first_part(known, name).then(|| format!("It belongs into {table}; {example}"))
}

fn is_first_part(known: &[Key], name: &str) -> bool {
    known
        .iter()
        .any(|key| key.path.split('.').next() == Some(name))
}

/// A setting of an adapter that stands in the backend's own table.
pub(super) fn in_backend(
    backend: &str,
    table: &Table,
    key: &str,
    checks: &BTreeMap<&'static str, SettingCheck>,
) -> Option<String> {
    let takes = |check: &SettingCheck| !matches!(check(key, ""), Err(WrongSetting::UnknownKey(_)));
    let url = table.get("url").and_then(|entry| match &entry.node {
        Node::Leaf(value) => kind::url(value).ok(),
        Node::Table(_) => None,
    });
    let of_url = url.map(keys::adapter);
    let tables: Vec<String> = checks
        .iter()
        .filter(|(adapter, check)| of_url.is_none_or(|of_url| of_url == **adapter) && takes(check))
        .map(|(adapter, _)| format!("[backend.{backend}.{adapter}]"))
        .collect();
    (!tables.is_empty()).then(|| {
        let tables = tables.join(" or ");
        format!("It is a setting of the adapter: put it into {tables}")
    })
}

/// A key of the backend itself that stands in the table of its adapter.
pub(super) fn in_adapter(backend: &str, key: &str) -> Option<String> {
    let known = keys::BACKEND.iter().any(|known| known.path == key);
    known.then(|| format!("It belongs one level up, into [backend.{backend}]"))
}
