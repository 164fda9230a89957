//! Wrong keys, types and texts, and the exact words that refuse each.

use super::super::{Config, RouteDefaults};
use super::{bill, config, refused, vars};
use crate::backend::Registry;

#[test]
fn an_unknown_key_of_a_route() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
concurency = 5
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: routes.bill.concurency: unknown key. Did you mean `concurrency`?
"#,
    );
}

#[test]
fn a_key_at_the_wrong_level() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
tiers = ["5s"]
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: routes.bill.tiers: unknown key. Did you mean `retry.tiers`?
"#,
    );
}

#[test]
fn a_key_that_resembles_none() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill.retry]
zzz = 1
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: routes.bill.retry.zzz: unknown key. Known: tiers, order, attempts, backoff, max_backoff
"#,
    );
}

#[test]
fn an_unknown_table() {
    refused(
        r#"
backend.main.url = "memory:"
[route.bill]
group = "x"
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:3: route: unknown table. Did you mean `routes`?
"#,
    );
}

#[test]
fn an_unknown_key_of_a_backend() {
    refused(
        r#"
[backend.main]
url = "memory:"
topic_prefx = "x"
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: backend.main.topic_prefx: unknown key. Did you mean `topic_prefix`?
"#,
    );
}

#[test]
fn an_unknown_adapter_table() {
    refused(
        r#"
[backend.main]
url = "memory:"
[backend.main.kafak]
acks = "all"
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: backend.main.kafak: unknown table. Did you mean `kafka`?
"#,
    );
}

#[test]
fn settings_of_the_embedded_log_all_at_once_in_every_layer() {
    let mut registry = schemes();
    registry.check_settings("log", crate::log::check_setting);
    let text = r#"
[backend.main]
url = "log:./orders-log"
[backend.main.log]
segment_byte = "1MiB"
fsync = "canary"
default_partitions = 0
retention.bytes = "canary"
retention_bytes = "1GiB"
seed = ["canary"]
[backend.main.memory]
segment_byte = "no check is registered for it"
[profile.production.backend.main.log]
max_record_bytes = "9GiB"
"#;
    let environment = vars(&[("DOTMSG__BACKEND__MAIN__LOG__AUTO_CREATE", "canary")]);
    let errors = config(text)
        .env(environment)
        .adapters(&registry)
        .resolve(&[bill().with("concurrency", 0)])
        .unwrap_err();
    let expected = r#"
8 errors
  dotmsg.toml:5: backend.main.log.segment_byte: unknown key. Did you mean `segment_bytes`?
  dotmsg.toml:6: backend.main.log.fsync: expected group or never
  dotmsg.toml:7: backend.main.log.default_partitions: expected a number from 1 to 10000
  dotmsg.toml:8: backend.main.log.retention.bytes: unknown key. Did you mean `retention_bytes`?
  dotmsg.toml:10: backend.main.log.seed: expected a string, a whole number or a boolean
  dotmsg.toml:14: profile.production.backend.main.log.max_record_bytes: expected a size from 1B to 1GiB
  environment variable DOTMSG__BACKEND__MAIN__LOG__AUTO_CREATE: backend.main.log.auto_create: expected true or false
  attribute of handler bill: routes.bill.concurrency: expected a whole number from 1 to 1000000, found 0
"#;
    assert_eq!(errors.to_string(), expected.trim());
}

#[test]
fn a_handler_that_does_not_exist() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bil]
group = "x"
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:3: routes.bil: there is no handler `bil`. Did you mean `bill`?
"#,
    );
}

#[test]
fn no_handler_at_all() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
group = "x"
"#,
        &[],
        &[],
        r#"
1 error
  dotmsg.toml:3: routes.bill: there is no handler `bill`. There is no handler in this app
"#,
    );
}

#[test]
fn wrong_types_all_at_once() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
concurrency = "many"
group = 7
timeout = 5
max_held_bytes = true
retry = 3
ordering = "keys"
workers = 1.5
"#,
        &[],
        &[bill()],
        r#"
7 errors
  dotmsg.toml:4: routes.bill.concurrency: expected a whole number from 1 to 1000000, found "many"
  dotmsg.toml:5: routes.bill.group: expected a string, found 7
  dotmsg.toml:6: routes.bill.timeout: expected "none" or a duration with its unit such as "200ms", "5s" or "1m30s", found 5
  dotmsg.toml:7: routes.bill.max_held_bytes: expected a size above zero such as "64MiB", or bytes as a number, found true
  dotmsg.toml:8: routes.bill.retry: expected a table [routes.bill.retry], found a whole number
  dotmsg.toml:9: routes.bill.ordering: expected one of key, partition, none, found "keys". Did you mean `key`?
  dotmsg.toml:10: routes.bill.workers: expected a whole number from 1 to 1024, found 1.5
"#,
    );
}

#[test]
fn durations_and_sizes_without_sense() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
timeout = "0s"
commit_interval = "0ms"
drain_timeout = "0s"
max_payload_bytes = 0
max_key_bytes = "5 parsec"
retry.backoff = "1000years"
"#,
        &[],
        &[bill()],
        r#"
6 errors
  dotmsg.toml:4: routes.bill.timeout: zero; it must be longer. "none" means no limit
  dotmsg.toml:5: routes.bill.commit_interval: zero; it must be longer
  dotmsg.toml:6: routes.bill.drain_timeout: zero; it must be longer
  dotmsg.toml:7: routes.bill.max_payload_bytes: expected a size above zero such as "64MiB", or bytes as a number, found 0
  dotmsg.toml:8: routes.bill.max_key_bytes: expected a size above zero such as "64MiB", or bytes as a number, found "5 parsec"
  dotmsg.toml:9: routes.bill.retry.backoff: "1000years" is longer than ten years
"#,
    );
}

#[test]
fn counts_out_of_range() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
concurrency = 0
batch_messages = -1
retry.attempts = 0
crash_loop.takeovers = 99999999999999999999
"#,
        &[],
        &[bill()],
        r#"
4 errors
  dotmsg.toml:4: routes.bill.concurrency: expected a whole number from 1 to 1000000, found 0
  dotmsg.toml:5: routes.bill.batch_messages: expected a whole number from 1 to 1000000, found -1
  dotmsg.toml:6: routes.bill.retry.attempts: expected a whole number from 1 to 1000, found 0
  dotmsg.toml:7: routes.bill.crash_loop.takeovers: expected a whole number from 0 to 1000000, found a number out of range
"#,
    );
}

#[test]
fn an_environment_variable_of_the_wrong_type() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[("DOTMSG__ROUTES__BILL__CONCURRENCY", "many")],
        &[bill()],
        r#"
1 error
  environment variable DOTMSG__ROUTES__BILL__CONCURRENCY: routes.bill.concurrency: expected a whole number from 1 to 1000000, found "many"
"#,
    );
}

#[test]
fn an_unknown_environment_variable() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[
            ("DOTMSG__BACKEND__MAIN__URI", "memory:"),
            ("DOTMSG__BACKND__MAIN__URL", "memory:"),
        ],
        &[bill()],
        r#"
2 errors
  environment variable DOTMSG__BACKEND__MAIN__URI: backend.main.uri: unknown key. Did you mean `url`?
  environment variable DOTMSG__BACKND__MAIN__URL: backnd: unknown table. Did you mean `backend`?
"#,
    );
}

#[test]
fn environment_variables_of_impossible_form() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[
            ("DOTMSG__BACKEND____URL", "x"),
            ("DOTMSG__PROFILE__A__B", "x"),
            ("DOTMSG__ROUTES__BILL__GROUP", "a"),
            ("dotmsg__routes__bill__group", "b"),
        ],
        &[bill()],
        r#"
3 errors
  environment variable DOTMSG__BACKEND____URL: backend..url: empty part in the name. Parts are separated by two underscores, as in DOTMSG__BACKEND__MAIN__URL
  environment variable DOTMSG__PROFILE__A__B: profile.a.b: a profile cannot be changed from the environment. Leave PROFILE__<name>__ out: the environment wins over every profile
  environment variable dotmsg__routes__bill__group: routes.bill.group: contradicts environment variable DOTMSG__ROUTES__BILL__GROUP. Remove one of them
"#,
    );
}

#[test]
fn a_value_where_a_table_belongs() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[("DOTMSG__ROUTES__BILL", "x")],
        &[bill()],
        r#"
1 error
  environment variable DOTMSG__ROUTES__BILL: routes.bill: expected a table [routes.bill], found a string
"#,
    );
}

#[test]
fn a_wrong_attribute() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[],
        &[bill().with("orderin", "key").with("concurrency", 0)],
        r#"
2 errors
  attribute of handler bill: routes.bill.concurrency: expected a whole number from 1 to 1000000, found 0
  attribute of handler bill: routes.bill.orderin: unknown key. Did you mean `ordering`?
"#,
    );
}

#[test]
fn a_wrong_key_in_a_profile_that_is_not_chosen() {
    refused(
        r#"
backend.main.url = "memory:"
[profile.production.backend.main]
urll = "memory:"
[profile.production.profile.x]
"#,
        &[],
        &[bill()],
        r#"
2 errors
  dotmsg.toml:4: profile.production.backend.main.urll: unknown key. Did you mean `url`?
  dotmsg.toml:5: profile.production.profile: unknown table. Known: backend, store, limits, routes
"#,
    );
}

#[test]
fn a_profile_that_does_not_exist() {
    refused(
        r#"
backend.main.url = "memory:"
[profile.production.routes.bill]
"#,
        &[("DOTMSG_PROFILE", "prodution")],
        &[bill()],
        r#"
1 error
  environment variable DOTMSG_PROFILE: profile: there is no profile `prodution`. Did you mean `production`?
"#,
    );
}

#[test]
fn text_that_is_not_toml() {
    let errors = Config::from_toml("dotmsg.toml", "[routes\nx = = 1\n").unwrap_err();
    let expected = r#"
3 errors
  dotmsg.toml:1: not valid TOML: unclosed table, expected `]`
  dotmsg.toml:2: not valid TOML: extra `=`, expected nothing
  dotmsg.toml:2: not valid TOML: unexpected key or value, expected newline, `#`
"#;
    assert_eq!(errors.to_string(), expected.trim());
}

#[test]
fn variables_that_are_no_text_are_refused_when_they_are_ours() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let text = |text: &str| OsString::from(text);
    let other = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let given = || config("backend.main.url = 'memory:'");
    let foreign = [
        (text("LS_COLORS"), other(b"\xff")),
        (other(b"\xfe"), text("x")),
    ];
    let resolved = given().env_os(foreign).resolve(&[bill()]);
    assert!(resolved.is_ok(), "{resolved:?}");
    let ours = [
        (text("DOTMSG__BACKEND__MAIN__URL"), other(b"log:secret\xff")),
        (text("dotmsg_profile"), other(b"\xff")),
    ];
    let errors = given().env_os(ours).resolve(&[bill()]).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "2 errors
  environment variable DOTMSG__BACKEND__MAIN__URL: its name or value is not valid UTF-8
  environment variable dotmsg_profile: its name or value is not valid UTF-8"
    );
}

#[test]
fn text_of_any_depth_is_an_error_and_no_overflow() {
    use super::Config;
    let depth = 100_000;
    for text in [
        format!("a = {}", "[".repeat(depth)),
        format!("a = {}{}", "[".repeat(depth), "]".repeat(depth)),
        format!("a = {}", "{a=".repeat(depth)),
        format!("{} = 1", vec!["a"; depth].join(".")),
        format!("[{}]", vec!["a"; depth].join(".")),
    ] {
        let read = Config::from_toml("deep.toml", &text);
        let resolved = read.and_then(|config| config.resolve(&[bill()]));
        assert!(resolved.is_err());
    }
}

#[test]
fn a_byte_order_mark_and_line_ends_of_windows_are_taken() {
    let text = "\u{feff}backend.main.url = 'memory:'\r\n\r\n[routes.bill]\r\nconcurency = 1\r\n";
    refused(
        text,
        &[],
        &[bill()],
        "1 error
  dotmsg.toml:4: routes.bill.concurency: unknown key. Did you mean `concurrency`?",
    );
}

/// Schemes of this and of later releases, as the facade registers them.
fn schemes() -> Registry {
    let mut registry = Registry::new();
    registry.register(
        "memory",
        crate::log::memory_factory(crate::log::MemoryLogs::new()),
    );
    registry.register("log", crate::log::log_factory());
    registry.planned("kafka");
    registry.needs_feature("amqp", "amqp");
    registry
}

#[test]
fn urls_without_an_adapter_all_at_once_where_a_route_uses_them() {
    let text = r#"
[backend.main]
url = "kafka://user:canary@host"
[backend.other]
url = "lgo:./orders-log"
[backend.third]
url = "amqp://host"
[backend.fourth]
url = "kafak://host"
[backend.unused]
url = "kafka://host"
[routes.ship]
backend = "other"
[routes.pack]
backend = "third"
concurrency = 0
[routes.send]
backend = "fourth"
"#;
    let handlers = ["bill", "ship", "pack", "send"].map(|handler| {
        crate::config::RouteDefaults::new(handler)
            .with("topic", "orders")
            .with("group", handler)
    });
    let checked = config(text).adapters(&schemes());
    let errors = checked.clone().resolve(&handlers).unwrap_err();
    let expected = r#"
5 errors
  dotmsg.toml:3: backend.main.url: `kafka:`, which routes use (bill): the adapter of this URL scheme is planned and not in this release. Known here: log:, memory:
  dotmsg.toml:5: backend.other.url: `lgo:`, which routes use (ship): unknown URL scheme. Did you mean `log:`?
  dotmsg.toml:7: backend.third.url: `amqp:`, which routes use (pack): the adapter of this URL scheme is switched off. Switch the feature `amqp` of the crate dotmsg on
  dotmsg.toml:9: backend.fourth.url: `kafak:`, which routes use (send): unknown URL scheme. Did you mean `kafka:`? Of that, the adapter of this URL scheme is planned and not in this release. Known here: log:, memory:
  dotmsg.toml:16: routes.pack.concurrency: expected a whole number from 1 to 1000000, found 0
"#;
    assert_eq!(errors.to_string(), expected.trim());
    let given: Vec<String> = ["main", "other", "third", "fourth"]
        .map(str::to_owned)
        .into();
    let errors = checked.given(&given).resolve(&handlers).unwrap_err();
    assert!(errors.to_string().starts_with("1 error"), "{errors}");
}

#[test]
fn variables_that_were_meant_to_be_ours() {
    refused(
        "backend.main.url = \"memory:\"",
        &[
            ("DOTMSG_PROFIL", "production"),
            ("DOTMSG_ROUTES__BILL__CONCURRENCY", "8"),
            ("DOTMSG__PROFILE", "production"),
            ("dotmsg_backend__main__url", "log:./x"),
            ("DOTMSG_BACKND__MAIN__URL", "canary"),
            ("DOTMSG_PROFILING", "another tool's"),
            ("DOTMSG_LOG_LEVEL", "another tool's"),
            ("DOTMSGX", "another tool's"),
        ],
        &[bill()],
        r#"
5 errors
  environment variable DOTMSG_BACKND__MAIN__URL: names no key. Did you mean DOTMSG__BACKEND__MAIN__URL, with two underscores after DOTMSG?
  environment variable DOTMSG_PROFIL: names no key. Did you mean DOTMSG_PROFILE?
  environment variable DOTMSG_ROUTES__BILL__CONCURRENCY: names no key. Did you mean DOTMSG__ROUTES__BILL__CONCURRENCY, with two underscores after DOTMSG?
  environment variable DOTMSG__PROFILE: profile: a profile is chosen by DOTMSG_PROFILE, with one underscore
  environment variable dotmsg_backend__main__url: names no key. Did you mean DOTMSG__BACKEND__MAIN__URL, with two underscores after DOTMSG?
"#,
    );
}

#[test]
fn fractions_that_are_none() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.a.shed]
keep = 0
older_than = "0s"
[routes.b.shed]
keep = 1.5
[routes.c.shed]
keep = "a tenth"
[routes.d.shed]
keep = nan
[routes.e.dedup]
max_ids = 0
keep_for = "none"
"#,
        &[("DOTMSG__ROUTES__F__SHED__KEEP", "10%")],
        &["a", "b", "c", "d", "e", "f"].map(|name| {
            RouteDefaults::new(name)
                .with("topic", "orders")
                .with("group", name)
        }),
        r#"
8 errors
  dotmsg.toml:4: routes.a.shed.keep: expected a number above 0 and at most 1, such as 0.1 (the smallest is 0.000001), found 0
  dotmsg.toml:5: routes.a.shed.older_than: zero; it must be longer. "none" means no limit
  dotmsg.toml:7: routes.b.shed.keep: expected a number above 0 and at most 1, such as 0.1 (the smallest is 0.000001), found 1.5
  dotmsg.toml:9: routes.c.shed.keep: expected a number above 0 and at most 1, such as 0.1 (the smallest is 0.000001), found "a tenth"
  dotmsg.toml:11: routes.d.shed.keep: expected a number above 0 and at most 1, such as 0.1 (the smallest is 0.000001), found NaN
  dotmsg.toml:13: routes.e.dedup.max_ids: expected a whole number from 1 to 100000000, found 0
  dotmsg.toml:14: routes.e.dedup.keep_for: expected a duration with its unit such as "200ms", "5s" or "1m30s", found "none"
  environment variable DOTMSG__ROUTES__F__SHED__KEEP: routes.f.shed.keep: expected a number above 0 and at most 1, such as 0.1 (the smallest is 0.000001), found "10%"
"#,
    );
}
