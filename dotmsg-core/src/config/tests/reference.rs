//! The documented reference file against the code: every key, every default.

use std::collections::BTreeSet;

use super::super::keys::{self, Key};
use super::super::value::{self, Node, Table};
use super::super::{BackendConfig, Config, RouteDefaults, document};
use crate::backend::WrongSetting;
use crate::log::{LogOptions, check_setting};
use crate::router::{BatchSpec, BreakerSpec, DedupSpec, RouteSpec};

const REFERENCE: &str = include_str!("../../../../docs/reference.toml");

/// The tables of adapters there are; that of Kafka is compared with the adapter in its own tests.
const ADAPTERS: [&str; 3] = ["kafka.", "log.", "memory."];

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
        ("limits", "database", keys::LIMIT),
        ("telemetry", "http", keys::HTTP),
        ("routes", "bill", keys::ROUTE),
    ] {
        let table = value::table(value::table(&root, section).unwrap(), name).unwrap();
        let mut documented = BTreeSet::new();
        paths(table, "", &mut documented);
        documented.retain(|path| !ADAPTERS.iter().any(|adapter| path.starts_with(adapter)));
        let known: BTreeSet<String> = known.iter().map(|key: &Key| key.path.to_owned()).collect();
        assert_eq!(documented, known, "[{section}]");
    }
}

#[test]
fn the_reference_file_shows_the_defaults() {
    let config = Config::from_toml("reference.toml", REFERENCE).unwrap();
    let resolved = config
        .resolve(&[RouteDefaults::new("bill").batches()])
        .unwrap();
    let mut bill = RouteSpec::new("bill", "orders", "billing");
    bill.batch = Some(BatchSpec::default());
    bill.breaker = Some(BreakerSpec::default());
    // Every key of it is in the file, and any of them turns it on.
    bill.dedup = Some(DedupSpec::default());
    assert_eq!(resolved.routes, [bill]);
    let mut main = BackendConfig::new("main", "log:./dotmsg-log");
    main.settings.clone_from(&resolved.backends[0].settings);
    assert_eq!(resolved.backends, [main]);
    assert_eq!(resolved.stores.len(), 1);
    assert_eq!(resolved.limits.len(), 1);
    assert_eq!(resolved.http, None);
}

#[test]
fn the_reference_file_shows_every_setting_of_the_embedded_log_with_its_default() {
    let Err(WrongSetting::UnknownKey(known)) = check_setting("none of them", "") else {
        panic!("every key is taken");
    };
    for url in ["log:./dotmsg-log", "memory:"] {
        let config = Config::from_toml("reference.toml", REFERENCE).unwrap();
        let config = config.set("backend.main.url", url);
        let resolved = config
            .resolve(&[RouteDefaults::new("bill").batches()])
            .unwrap();
        let settings = &resolved.backends[0].settings;
        assert!(settings.keys().eq(known), "{url}: {settings:?}");
        let documented = LogOptions::default().with_settings(settings).unwrap();
        let defaults = LogOptions::default();
        assert_eq!(format!("{documented:?}"), format!("{defaults:?}"), "{url}");
    }
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
