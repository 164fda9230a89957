//! The resolved configuration with its sources: what it prints, that it can be read again, and that it shows no secret.

use proptest::prelude::*;

use super::super::kind::Kind;
use super::super::{Config, RouteDefaults, SettingValue, Source, Value, keys};
use super::{bill, config, vars};
use crate::backend::{Registry, SettingList};
use crate::log::log_factory;

/// Kafka's settings as they may look; the adapter itself is another crate.
fn registry() -> Registry {
    let mut registry = super::registry();
    registry.register("kafka", log_factory());
    let kafka = SettingList {
        defaults: &[("password", ""), ("tls", "false"), ("username", "")],
        may_show: |key| matches!(key, "tls" | "username" | "session.timeout.ms"),
    };
    registry.list_settings("kafka", kafka);
    registry
}

const FILE: &str = r#"
[backend.main]
url = "kafka://app:canary@kafka:9092"
topic_prefix = "staging."
[backend.main.kafka]
"session.timeout.ms" = 30000
sasl.oauthbearer.config = "canary"
[store.main]
url = "postgres://canary@host/db?password=canary"
[limits.database]
rate = "100/s"
[routes.bill]
max_held_messages = 101
[profile.production]
backend.main.topic_prefix = ""
backend.main.kafka.password = "canary"
routes.bill.retry.tiers = ["5s", "90s"]
"#;

fn explained() -> Config {
    config(FILE)
        .default_value("routes.bill.workers", 2)
        .env(vars(&[
            ("DOTMSG_PROFILE", "production"),
            ("DOTMSG__ROUTES__BILL__DRAIN_TIMEOUT", "1500ms"),
            ("DOTMSG__BACKEND__MAIN__KAFKA__TLS", "true"),
        ]))
        .set("routes.bill.timeout", "1h")
        .adapters(&registry())
}

#[test]
fn every_key_with_its_value_and_its_source() {
    let bill = bill().with("concurrency", 64);
    let text = explained().explain(&[bill]).unwrap().to_string();
    let expected = include_str!("explained.toml");
    if std::env::var_os("DOTMSG_BLESS").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/config/tests/explained.toml"
        );
        std::fs::write(path, &text).unwrap();
    } else {
        assert_eq!(text, expected, "to accept it: DOTMSG_BLESS=1");
    }
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn no_key_is_left_out() {
    let config = Config::new()
        .set("backend.main.url", "memory:")
        .set("store.main.url", "memory:")
        .set("limits.database.rate", "1/s");
    let explained = config.explain(&[bill().batches()]).unwrap();
    for (section, known) in [
        ("backend", keys::BACKEND),
        ("store", keys::STORE),
        ("limits", keys::LIMIT),
        ("telemetry", keys::HTTP),
        ("routes", keys::ROUTE),
    ] {
        let of_section = explained
            .settings
            .iter()
            .filter(|one| one.section == section);
        let listed: Vec<&str> = of_section.map(|one| &*one.key).collect();
        let known: Vec<&str> = known.iter().map(|key| key.path).collect();
        assert_eq!(listed, known, "{section}");
    }
}

#[test]
fn what_is_printed_resolves_to_the_same_without_any_other_source() {
    let odd = "
backend.main.url = 'log:./orders'
backend.'a.b'.url = 'memory:x'
backend.main.log.segment_bytes = 1234567
backend.main.log.seed = '007'
limits.database.concurrency = 3
telemetry.http.listen = '[::1]:9464'
[routes.bill]
max_held_messages = 1
max_held_bytes = 1025
max_payload_bytes = 1
ordering = 'partition'
delivery = 'at_most_once'
commit_interval = '1d 2h 3m 4s 5ms 6us 7ns'
shed = { keep = 0.333333, older_than = '365d' }
limits = ['database']
[routes.'größe']
topic = 'sizes'
";
    let largest = RouteDefaults::new("größe")
        .with("group", "g")
        .with("backend", "a.b")
        .with("retry.tiers", ["1s", "2s"])
        .with("breaker.failures", 3)
        .with("dedup.max_ids", 3)
        .with("ordering", "none")
        .batches();
    let handlers = [bill(), largest];
    let given = config(odd).adapters(&registry());
    let printed = given.explain(&handlers).unwrap().to_string();
    let bare = [
        RouteDefaults::new("bill"),
        RouteDefaults::new("größe").batches(),
    ];
    let mut read = config(&printed).resolve(&bare).unwrap();
    let mut resolved = given.resolve(&handlers).unwrap();
    // The defaults of the adapters are given now.
    for (read, resolved) in read.backends.iter_mut().zip(&mut resolved.backends) {
        assert!(
            resolved
                .settings
                .iter()
                .all(|(key, value)| read.settings[key] == *value)
        );
        read.settings.clear();
        resolved.settings.clear();
    }
    assert_eq!(read.backends, resolved.backends);
    assert_eq!(read.routes, resolved.routes);
    assert_eq!(read.limits, resolved.limits);
    assert!(read.http.is_some());
    assert_eq!(read.http, resolved.http);
}

#[test]
fn without_a_list_of_its_settings_an_adapter_s_are_not_shown() {
    let text = "
backend.main.url = 'nats://host'
backend.main.nats.credentials = 'canary'
";
    let explained = config(text).explain(&[bill()]).unwrap();
    let found = explained
        .settings
        .iter()
        .find(|one| one.key == "nats.credentials");
    let found = found.unwrap();
    assert_eq!(found.value, Some(SettingValue::Text("***".into())));
    assert!(found.redacted);
    let json = serde_json::to_string(&explained).unwrap();
    assert!(!json.contains("canary"), "{json}");
    assert!(json.contains(r#""source":"dotmsg.toml:3""#), "{json}");
}

#[test]
fn a_backend_that_is_given_open_has_no_url_to_show() {
    let config = Config::new().default_value("backend.main.url", "memory:");
    let explained = config
        .given([&"main".to_owned()])
        .explain(&[bill()])
        .unwrap();
    let url = &explained.settings[0];
    assert_eq!(
        (&*url.key, &url.value, &url.source),
        ("url", &None, &Source::Open)
    );
    let text = explained.to_string();
    assert!(text.contains("# url "), "{text}");
    assert!(text.contains("# open backend, given in code"), "{text}");
}

#[test]
fn a_tool_without_handlers_has_the_routes_that_say_what_they_consume() {
    let text = "
backend.main.url = 'memory:'
[routes.bill]
topic = 'orders'
group = 'billing'
concurrency = 3
[routes.pack]
topic = 'orders'
group = 'packing'
batch.size = 7
[routes.ship]
topic = 'parcels'
[routes.audit]
concurrency = 4
[profile.production.routes.only-there]
group = 'x'
";
    let config = config(text).env(vars(&[("DOTMSG__ROUTES__PACK__CONCURRENCY", "9")]));
    let resolved = config.resolve_configured().unwrap();
    let names: Vec<&str> = resolved
        .routes
        .iter()
        .map(|route| &*route.handler)
        .collect();
    assert_eq!(names, ["bill", "pack"]);
    assert_eq!(resolved.routes[0].limits.concurrency, 3);
    assert_eq!(resolved.routes[1].limits.concurrency, 9);
    assert_eq!(resolved.routes[1].batch.unwrap().size, 7);
    let missing: Vec<_> = resolved
        .incomplete
        .iter()
        .map(|route| (&*route.name, &route.missing[..]))
        .collect();
    let expected: [(&str, &[&str]); 2] = [("audit", &["topic", "group"]), ("ship", &["group"])];
    assert_eq!(missing, expected);
    let printed = config.explain_configured().unwrap().to_string();
    assert!(
        printed.contains("# [routes.ship] lacks group here"),
        "{printed}"
    );
    let production = config
        .profile(Some("production"))
        .resolve_configured()
        .unwrap();
    assert_eq!(production.incomplete.len(), 3);
}

/// A value that a key of this kind takes, often.
fn value_of(kind: Kind) -> BoxedStrategy<Value> {
    let duration = (1_u32..100, prop_oneof!["ms", "s", "m"]);
    let duration = duration.prop_map(|(number, unit)| format!("{number}{unit}"));
    let texts = |texts: &[&'static str]| {
        let texts: Vec<Value> = texts.iter().map(|text| Value::from(*text)).collect();
        proptest::sample::select(texts).boxed()
    };
    match kind {
        Kind::Count { min, max } => {
            let range = i64::try_from(min).unwrap()..=i64::try_from(max.min(2_000)).unwrap();
            range.prop_map(Value::Integer).boxed()
        }
        Kind::Bytes => {
            let size = (1_u32..5_000, prop_oneof!["B", "KiB", "MiB"]);
            let size = size.prop_map(|(number, unit)| format!("{number}{unit}"));
            size.prop_map(Value::from).boxed()
        }
        Kind::Duration { .. } | Kind::Limit => duration.prop_map(Value::from).boxed(),
        Kind::Fraction => (1_u32..=1_000_000)
            .prop_map(|ppm| Value::Float(f64::from(ppm) / 1e6))
            .boxed(),
        Kind::Tiers => {
            prop_oneof![Just(Value::from(["5s", "90s"])), Just(Value::List(vec![]))].boxed()
        }
        Kind::Word(words) => texts(words),
        Kind::Names => Just(Value::from(["database"])).boxed(),
        Kind::Name => texts(&["main", "other"]),
        Kind::Prefix | Kind::Url | Kind::Boolean | Kind::Rate | Kind::Listen => {
            unreachable!("no key of a route")
        }
    }
}

/// A handler with a few of the keys that a route may have.
fn any_route() -> impl Strategy<Value = RouteDefaults> {
    let free = keys::ROUTE
        .iter()
        .filter(|key| !matches!(key.path, "topic" | "group"));
    let free: Vec<_> = free.collect();
    let some = proptest::sample::subsequence(free, 0..10);
    let given = some.prop_flat_map(|given| {
        let values = given
            .into_iter()
            .map(|key| (Just(key.path), value_of(key.kind)));
        values.collect::<Vec<_>>()
    });
    (given, any::<bool>()).prop_map(|(given, takes_batches)| RouteDefaults {
        batch: takes_batches,
        entries: bill().entries.into_iter().chain(given).collect(),
        ..bill()
    })
}

proptest! {
    /// Whatever the keys: the printed file alone comes to the same route, and to the same text but for the sources.
    #[test]
    fn any_route_that_is_printed_is_read_as_the_same(route in any_route()) {
        let given = Config::new()
            .set("backend.main.url", "memory:")
            .set("backend.other.url", "memory:")
            .set("limits.database.rate", "1/s");
        let resolved = given.resolve(std::slice::from_ref(&route));
        prop_assume!(resolved.is_ok());
        let printed = given.explain(std::slice::from_ref(&route)).unwrap().to_string();
        let bare = RouteDefaults { entries: Vec::new(), ..route };
        let read = config(&printed).resolve(&[bare]);
        let read = read.map_err(|errors| TestCaseError::fail(format!("{errors}\n{printed}")))?;
        prop_assert_eq!(&read.routes, &resolved.unwrap().routes, "{}", printed);
    }
}
