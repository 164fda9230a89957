//! Which source wins, how the environment is read, and that nothing prints a secret.

use std::time::Duration;

use super::super::{Config, ConfigErrors, RouteDefaults, Value};
use super::{bill, config, vars};
use crate::error::{Error, ErrorKind};
use crate::router::{DedupSpec, Ordering, RetryOrder, ShedSpec};

#[test]
fn each_source_wins_over_the_one_before() {
    let text = "
backend.main.url = 'memory:'
[routes.bill]
commit_interval = '3s'
drain_timeout = '3s'
timeout = '3s'
[profile.production.routes.bill]
drain_timeout = '4s'
timeout = '4s'
";
    let bill = bill()
        .with("retry.backoff", "2s")
        .with("commit_interval", "2s");
    let resolved = config(text)
        .default_value("routes.bill.retry.backoff", "1s")
        .default_value("routes.bill.retry.max_backoff", "11s")
        .profile(Some("production"))
        .env(vars(&[
            ("DOTMSG__ROUTES__BILL__TIMEOUT", "5s"),
            ("DOTMSG__ROUTES__BILL__GROUP", "environment"),
        ]))
        .set("routes.bill.group", "code")
        .resolve(&[bill])
        .unwrap();
    let route = &resolved.routes[0];
    let seconds = Duration::from_secs;
    assert_eq!(route.retry.in_place.max_backoff, seconds(11), "code");
    assert_eq!(route.retry.in_place.backoff, seconds(2), "attribute");
    assert_eq!(route.commit_interval, seconds(3), "file");
    assert_eq!(route.drain_timeout, seconds(4), "profile");
    assert_eq!(route.timeout, Some(seconds(5)), "environment");
    assert_eq!(route.group, "code", "set for good");
}

#[test]
fn the_environment_needs_no_case_no_quotes_and_no_file() {
    let resolved = Config::new()
        .env(vars(&[
            ("dotmsg__backend__main__url", "log:./here"),
            ("DOTMSG__BACKEND__MAIN__AUTO_CREATE", "true"),
            ("DOTMSG__BACKEND__MAIN__LOG__SEGMENT_BYTES", "1024"),
            ("DOTMSG__ROUTES__BILLHANDLER__CONCURRENCY", "7"),
            ("DOTMSG__ROUTES__BILLHANDLER__RETRY__TIERS", "5s, 1m"),
            ("HOME", "/"),
        ]))
        .resolve(&[RouteDefaults {
            handler: "BillHandler".into(),
            ..bill()
        }])
        .unwrap();
    let backend = &resolved.backends[0];
    assert!(backend.auto_create);
    assert_eq!(backend.settings["segment_bytes"], "1024");
    assert_eq!(resolved.routes[0].limits.concurrency, 7);
    assert_eq!(resolved.routes[0].retry.tiers.len(), 2);
    assert_eq!(resolved.routes[0].retry.in_place.attempts, 1);
}

#[test]
fn the_environment_chooses_the_profile_and_wins_over_code() {
    let text = "
backend.main.url = 'memory:'
profile.a.backend.main.topic_prefix = 'a.'
profile.b.backend.main.topic_prefix = 'b.'
";
    let config = config(text).profile(Some("a"));
    assert_eq!(config.backends().unwrap()[0].topic_prefix, "a.");
    let config = config.env(vars(&[("DOTMSG_PROFILE", "b")]));
    assert_eq!(config.backends().unwrap()[0].topic_prefix, "b.");
}

#[test]
fn an_empty_list_takes_the_tiers_of_the_attribute_away() {
    let text = "backend.main.url = 'memory:'\nroutes.bill.retry.tiers = []";
    let bill = bill().with("retry.tiers", ["5s", "1m"]);
    let resolved = config(text).resolve(&[bill]).unwrap();
    assert!(resolved.routes[0].retry.tiers.is_empty());
    assert_eq!(resolved.routes[0].retry.in_place.attempts, 3);
}

#[test]
fn defaults_give_way_to_a_smaller_limit_around_them() {
    let bill = bill()
        .with("max_held_messages", 100)
        .with("max_held_bytes", "1MiB")
        .with("ordering", "none");
    let config = Config::new().set("backend.main.url", "memory:");
    let route = config.resolve(&[bill]).unwrap().routes.remove(0);
    assert_eq!(route.limits.concurrency, 100);
    assert_eq!(route.limits.batch_messages, 100);
    assert_eq!(route.limits.park.max_held_messages, 50);
    assert_eq!(route.limits.park.max_held_bytes, 1 << 19);
    assert_eq!(route.limits.max_payload_bytes, 1 << 20);
    assert_eq!(route.ordering, Ordering::None);
    assert_eq!(route.retry.order, RetryOrder::Relax);
}

#[test]
fn dead_letters_may_be_consumed() {
    let totals = RouteDefaults::new("totals")
        .with("topic", "orders.billing.dlq")
        .with("group", "totals");
    let config = Config::new().set("backend.main.url", "memory:");
    assert_eq!(config.resolve(&[bill(), totals]).unwrap().routes.len(), 2);
}

#[test]
fn an_adapter_of_somebody_else_has_its_settings_table() {
    let text = "
[backend.main]
url = 'acme+tls://host'
[backend.main.acme]
depth.max = 3
[backend.main.kafka]
acks = 'all'
";
    let config = config(text).env(vars(&[("DOTMSG__BACKEND__MAIN__ACME__FAST", "yes")]));
    let backend = config.backends().unwrap().remove(0);
    let settings: Vec<_> = backend.settings.into_iter().collect();
    assert_eq!(settings, vars(&[("depth.max", "3"), ("fast", "yes")]));
}

#[test]
fn no_secret_is_printed() {
    let text = "
[backend.main]
url = 'amqp://user:canary@host/?password=canary'
auto_create = 'canary'
[backend.main.amqp]
password = 'canary'
certificates = ['canary']
[backend.other]
url = 'canary host'
[store.main]
url = '//user:canary@host'
";
    let config = config(text).set("backend.third.url", "canary").env(vars(&[(
        "DOTMSG__BACKEND__MAIN__AUTO_CREATE_PARTITIONS",
        "canary",
    )]));
    let errors = config.resolve(&[bill()]).unwrap_err();
    assert_eq!(errors.iter().count(), 6, "{errors}");
    let good = Config::new().set("backend.main.url", "amqp://user:canary@host");
    let resolved = good.resolve(&[bill()]).unwrap();
    let all = format!(
        "{errors} {errors:?} {config:?} {good:?} {resolved:?} {:?}",
        Value::from("canary")
    );
    assert!(!all.contains("canary"), "{all}");
    let broken = "[backend.main]\nurl = 'amqp://user:canary@host\n";
    let errors = Config::from_toml("dotmsg.toml", broken).unwrap_err();
    assert!(!errors.to_string().contains("canary"), "{errors}");
}

#[test]
fn the_errors_become_one_error_of_the_framework() {
    let error: Error = Config::new().resolve(&[bill()]).unwrap_err().into();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.downcast_source::<ConfigErrors>().is_some());
    assert!(error.to_string().contains("no backend is configured"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let errors = Config::from_file("no/such/dotmsg.toml").unwrap_err();
    assert!(
        errors
            .to_string()
            .starts_with("1 error\n  no/such/dotmsg.toml: cannot be read: "),
        "{errors}"
    );
}

#[test]
fn a_generated_topic_that_is_too_long_is_refused() {
    let bill = RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "g".repeat(240));
    let config = Config::new().set("backend.main.url", "memory:");
    let errors = config.resolve(&[bill]).unwrap_err().to_string();
    assert!(
        errors.contains("would have 254 characters; brokers take 249. Shorten topic or group"),
        "{errors}"
    );
}

#[test]
fn duplicates_are_known_once_one_key_of_it_is_given_and_fractions_are_read_from_every_source() {
    let dedup = |key: &str, value: Value| {
        let config = config("backend.main.url = 'memory:'").set(key, value);
        config.resolve(&[bill()]).unwrap().routes[0].dedup
    };
    let default = DedupSpec::default();
    let max_ids = dedup("routes.bill.dedup.max_ids", 7.into());
    assert_eq!(
        max_ids,
        Some(DedupSpec {
            max_ids: 7,
            ..default
        })
    );
    let keep_for = Duration::from_secs(60);
    let found = dedup("routes.bill.dedup.keep_for", "1m".into());
    assert_eq!(
        found,
        Some(DedupSpec {
            keep_for,
            ..default
        })
    );
    assert_eq!(dedup("routes.bill.workers", 1.into()), None);

    let shed = |config: Config| config.resolve(&[bill()]).unwrap().routes[0].shed;
    let file = "backend.main.url = 'memory:'\n[routes.bill.shed]\nkeep = 0.25\nolder_than = '5m'";
    let older_than = Some(Duration::from_secs(300));
    let keep_ppm = 250_000;
    assert_eq!(
        shed(config(file)),
        ShedSpec {
            keep_ppm,
            older_than
        }
    );
    let environment = vars(&[("DOTMSG__ROUTES__BILL__SHED__KEEP", "0.000001")]);
    assert_eq!(
        shed(config(file).env(environment)),
        ShedSpec {
            keep_ppm: 1,
            older_than
        }
    );
    let code = config(file)
        .set("routes.bill.shed.keep", 1)
        .set("routes.bill.shed.older_than", "none");
    assert_eq!(shed(code), ShedSpec::default());
}
