//! The documented reference file against the code: every key, every default.

use std::collections::BTreeSet;

use super::super::keys::{self, Key};
use super::super::value::{self, Node, Table};
use super::super::{BackendConfig, Config, RouteDefaults, document};
use crate::router::RouteSpec;

const REFERENCE: &str = include_str!("../../../../docs/reference.toml");

fn paths(table: &Table, prefix: &str, into: &mut BTreeSet<String>) {
    for (name, entry) in table {
        let path = format!("{prefix}{name}");
        match &entry.node {
            Node::Table(below) => paths(below, &format!("{path}."), into),
            Node::Leaf(_) => {
                into.insert(path);
            }
        }
    }
}

#[test]
fn the_reference_file_has_exactly_the_known_keys() {
    let root = document::parse("reference.toml", REFERENCE).unwrap();
    for (section, name, known) in [
        ("backend", "main", keys::BACKEND),
        ("store", "main", keys::STORE),
        ("routes", "bill", keys::ROUTE),
    ] {
        let table = value::table(value::table(&root, section).unwrap(), name).unwrap();
        let mut documented = BTreeSet::new();
        paths(table, "", &mut documented);
        let known: BTreeSet<String> = known.iter().map(|key: &Key| key.path.to_owned()).collect();
        assert_eq!(documented, known, "[{section}]");
    }
}

#[test]
fn the_reference_file_shows_the_defaults() {
    let config = Config::from_toml("reference.toml", REFERENCE).unwrap();
    let resolved = config.resolve(&[RouteDefaults::new("bill")]).unwrap();
    assert_eq!(
        resolved.routes,
        [RouteSpec::new("bill", "orders", "billing")]
    );
    assert_eq!(
        resolved.backends,
        [BackendConfig::new("main", "log:./dotmsg-log")]
    );
    assert_eq!(resolved.stores.len(), 1);
}

#[test]
fn without_any_key_the_defaults_are_those_of_the_code() {
    let bill = super::bill();
    let config = Config::new().default_value("backend.main.url", "memory:");
    let resolved = config.resolve(&[bill]).unwrap();
    assert_eq!(
        resolved.routes,
        [RouteSpec::new("bill", "orders", "billing")]
    );
}
