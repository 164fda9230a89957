//! Combinations that cannot work, and the exact words that refuse each.

use super::super::RouteDefaults;
use super::{bill, refused};

#[test]
fn no_backend() {
    refused(
        r#"
[routes.bill]
workers = 1
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml: backend: no backend is configured. Set `url` in [backend.main], or DOTMSG__BACKEND__MAIN__URL, for example to `log:./dotmsg-log`
"#,
    );
}

#[test]
fn a_backend_without_a_url() {
    refused(
        r#"
[backend.main]
topic_prefix = "x."
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:2: backend.main: has no url. Set `url` in [backend.main], or DOTMSG__BACKEND__MAIN__URL
"#,
    );
}

#[test]
fn urls_without_a_scheme() {
    refused(
        r#"
[backend.main]
url = "localhost"
[backend.b]
url = ""
[backend.c]
url = "kafka://a b"
[backend.d]
url = 5
[store.main]
url = "//host/db"
"#,
        &[],
        &[bill()],
        r#"
5 errors
  dotmsg.toml:3: backend.main.url: the URL has no scheme; expected one such as `memory:` or `log:./path`
  dotmsg.toml:5: backend.b.url: empty; expected a URL such as `memory:` or `log:./path`
  dotmsg.toml:7: backend.c.url: a URL has no spaces or control characters. Percent-encode them
  dotmsg.toml:9: backend.d.url: expected a URL such as `memory:` or `log:./path`, found a whole number
  dotmsg.toml:11: store.main.url: the URL has no scheme; expected one such as `memory:` or `log:./path`
"#,
    );
}

#[test]
fn a_backend_that_does_not_exist() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
backend = "mian"
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: routes.bill.backend: there is no backend `mian`. Did you mean `main`?
"#,
    );
}

#[test]
fn a_route_without_topic_and_group() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[],
        &[RouteDefaults::new("bill")],
        r#"
2 errors
  attribute of handler bill: routes.bill.group: missing: its consumer group. Set `group` in the attribute or in [routes.bill]
  attribute of handler bill: routes.bill.topic: missing: the topic it consumes. Set `topic` in the attribute or in [routes.bill]
"#,
    );
}

#[test]
fn names_that_no_broker_takes() {
    refused(
        r#"
[backend.main]
url = "memory:"
topic_prefix = "a/b"
[routes.bill]
topic = "or ders"
group = ""
backend = ".."
"#,
        &[],
        &[bill()],
        r#"
4 errors
  dotmsg.toml:4: backend.main.topic_prefix: has the character '/'; allowed are letters a-z A-Z, digits, `.`, `_` and `-`
  dotmsg.toml:6: routes.bill.topic: has the character ' '; allowed are letters a-z A-Z, digits, `.`, `_` and `-`
  dotmsg.toml:7: routes.bill.group: empty; a name has 1 to 249 characters
  dotmsg.toml:8: routes.bill.backend: `..` is no name: brokers keep it for themselves
"#,
    );
}

#[test]
fn tiers_that_do_not_ascend() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
retry.tiers = ["60s", "1m"]
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: routes.bill.retry.tiers: tier 2 ("1m") is not longer than tier 1 ("60s"); tiers strictly ascend
"#,
    );
}

#[test]
fn a_tier_of_zero() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
retry.tiers = ["0s", "1m"]
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: routes.bill.retry.tiers: tier 1: zero; it must be longer
"#,
    );
}

#[test]
fn a_tier_that_is_empty() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
retry.tiers = ["5s", ""]
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: routes.bill.retry.tiers: tier 2: expected a duration with its unit such as "200ms", "5s" or "1m30s", found ""
"#,
    );
}

#[test]
fn tiers_under_partition_order() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
ordering = "partition"
"#,
        &[],
        &[bill().with("retry.tiers", ["5s"])],
        r#"
1 error
  attribute of handler bill: routes.bill.retry.tiers: a tier cannot keep the order of a whole partition (ordering = "partition", dotmsg.toml:4). Retry in place with `retry.attempts`, or use ordering = "key"
"#,
    );
}

#[test]
fn at_most_once_with_tiers_and_repeats() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
delivery = "at_most_once"
retry.tiers = ["5s"]
retry.attempts = 2
"#,
        &[],
        &[bill()],
        r#"
2 errors
  dotmsg.toml:5: routes.bill.retry.tiers: a tier runs a message again, and delivery = "at_most_once" (dotmsg.toml:4) forbids that. Remove the tiers, or use "at_least_once"
  dotmsg.toml:6: routes.bill.retry.attempts: a repeat runs a message again, and delivery = "at_most_once" (dotmsg.toml:4) forbids that. Remove it, or use "at_least_once"
"#,
    );
}

#[test]
fn keep_without_key_order() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
ordering = "none"
retry = { order = "keep" }
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:5: routes.bill.retry.order: "keep" is the order of a key, and `ordering` (dotmsg.toml:4) is not "key". Remove it, or use ordering = "key"
"#,
    );
}

#[test]
fn two_routes_with_one_topic_and_group() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[],
        &[
            bill(),
            RouteDefaults {
                handler: "copy".into(),
                ..bill()
            },
        ],
        r#"
1 error
  attribute of handler copy: routes.copy.group: handler `bill` consumes topic `orders` (attribute of handler copy) in group `billing` (attribute of handler copy) already. Give one of them another group
"#,
    );
}

#[test]
fn a_topic_of_the_file_that_meets_the_group_of_another_route() {
    let ship = RouteDefaults::new("ship")
        .with("topic", "parcels")
        .with("group", "billing");
    refused(
        r#"
backend.main.url = "memory:"
[routes.ship]
topic = "orders"
"#,
        &[],
        &[bill(), ship],
        r#"
1 error
  dotmsg.toml:4: routes.ship.topic: handler `bill` consumes topic `orders` (dotmsg.toml:4) in group `billing` (attribute of handler ship) already. Give one of them another group
"#,
    );
}

#[test]
fn two_handlers_of_one_name() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[],
        &[bill(), RouteDefaults::new("bill").with("topic", "refunds")],
        r#"
1 error
  attribute of handler bill: routes.bill: two handlers have this name, one on topic `orders` in group `billing` and one on topic `refunds`, and [routes.bill] speaks of one. Give one of them another, by `name = "…"` in its attribute
"#,
    );
}

#[test]
fn names_that_neither_a_key_nor_an_id_may_hold() {
    let named = |name: &str, group: &str| {
        RouteDefaults::new(name)
            .with("topic", "orders")
            .with("group", group)
    };
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[],
        &[named("a.b", "1"), named("a:b", "2"), named("größe-1", "3")],
        r#"
2 errors
  attribute of handler a.b: routes.a.b: the name of a route has the character '.'; allowed are letters, digits, `_` and `-`
  attribute of handler a:b: routes.a:b: the name of a route has the character ':'; allowed are letters, digits, `_` and `-`
"#,
    );
}

#[test]
fn generated_topics_that_collide() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[],
        &[
            RouteDefaults::new("one")
                .with("topic", "a.b")
                .with("group", "c"),
            RouteDefaults::new("two")
                .with("topic", "a")
                .with("group", "b.c"),
        ],
        r#"
1 error
  attribute of handler two: routes.two.group: handler `one` has a topic `a.b.c.replay` of its own too. Rename topic or group of one of them
"#,
    );
}

#[test]
fn a_source_that_is_private_to_another_group() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[],
        &[
            bill(),
            RouteDefaults::new("spy")
                .with("topic", "orders.billing.replay")
                .with("group", "spies"),
        ],
        r#"
1 error
  attribute of handler spy: routes.spy.topic: `orders.billing.replay` is a retry or replay topic of handler `bill`, private to its group. Consume its source or its dead letters
"#,
    );
}

#[test]
fn a_consumer_of_dead_letters_in_the_group_that_notes_their_replays() {
    refused(
        r#"
backend.main.url = "memory:"
backend.main.topic_prefix = "staging."
"#,
        &[],
        &[
            bill(),
            RouteDefaults::new("triage")
                .with("topic", "orders.billing.dlq")
                .with("group", "triage"),
            RouteDefaults::new("other")
                .with("topic", "orders.billing.dlq")
                .with("group", "billing.replay"),
        ],
        r#"
1 error
  attribute of handler other: routes.other.group: in group `billing.replay` the replays of handler `bill` note which of its dead letters they have replayed. Give this handler another group
"#,
    );
}

#[test]
fn limits_that_contradict_each_other() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
max_held_messages = 100
max_held_bytes = "1MiB"
concurrency = 101
batch_messages = 200
park = { max_held_messages = 300, max_held_bytes = "2MiB" }
max_payload_bytes = "3MiB"
"#,
        &[],
        &[bill()],
        r#"
5 errors
  dotmsg.toml:6: routes.bill.concurrency: more than `max_held_messages` (dotmsg.toml:4). Lower this or raise `max_held_messages`
  dotmsg.toml:7: routes.bill.batch_messages: more than `max_held_messages` (dotmsg.toml:4). Lower this or raise `max_held_messages`
  dotmsg.toml:8: routes.bill.park.max_held_bytes: not less than `max_held_bytes` (dotmsg.toml:5): one failing key would stop every partition until its retry. Lower this (half of `max_held_bytes` is usual) or raise `max_held_bytes`
  dotmsg.toml:8: routes.bill.park.max_held_messages: not less than `max_held_messages` (dotmsg.toml:4): one failing key would stop every partition until its retry. Lower this (half of `max_held_messages` is usual) or raise `max_held_messages`
  dotmsg.toml:9: routes.bill.max_payload_bytes: more than `max_held_bytes` (dotmsg.toml:5). Lower this or raise `max_held_bytes`
"#,
    );
}

#[test]
fn batches_that_cannot_be() {
    let text = r#"
backend.main.url = "memory:"
[routes.bill]
max_held_messages = 100
delivery = "at_most_once"
batch = { size = 200, linger = "1s" }
"#;
    refused(
        text,
        &[],
        &[bill()],
        r#"
2 errors
  dotmsg.toml:6: routes.bill.batch.linger: the handler takes one message at a time. Remove this, or let its last argument be a `Batch<T>`
  dotmsg.toml:6: routes.bill.batch.size: the handler takes one message at a time. Remove this, or let its last argument be a `Batch<T>`
"#,
    );
    refused(
        text,
        &[],
        &[bill().batches()],
        r#"
2 errors
  dotmsg.toml:5: routes.bill.delivery: a batch that fails is called again in parts, and "at_most_once" forbids that. Use "at_least_once", or a handler that takes one message at a time
  dotmsg.toml:6: routes.bill.batch.size: more than `max_held_messages` (dotmsg.toml:4). Lower this or raise `max_held_messages`
"#,
    );
}

#[test]
fn followers_of_one_key_that_may_fill_everything() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
max_held_messages = 1000
park.max_held_messages = 1000
park.max_held_bytes = "64MiB"
"#,
        &[],
        &[bill()],
        r#"
2 errors
  dotmsg.toml:5: routes.bill.park.max_held_messages: not less than `max_held_messages` (dotmsg.toml:4): one failing key would stop every partition until its retry. Lower this (half of `max_held_messages` is usual) or raise `max_held_messages`
  dotmsg.toml:6: routes.bill.park.max_held_bytes: not less than `max_held_bytes` (its default): one failing key would stop every partition until its retry. Lower this (half of `max_held_bytes` is usual) or raise `max_held_bytes`
"#,
    );
}

#[test]
fn more_workers_than_handlers() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
workers = 4
concurrency = 2
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: routes.bill.workers: more than `concurrency` (dotmsg.toml:5). Lower this or raise `concurrency`
"#,
    );
}

#[test]
fn more_handlers_than_held_messages() {
    refused(
        r#"
backend.main.url = "memory:"
"#,
        &[("DOTMSG__ROUTES__BILL__CONCURRENCY", "50000")],
        &[bill()],
        r#"
1 error
  environment variable DOTMSG__ROUTES__BILL__CONCURRENCY: routes.bill.concurrency: more than `max_held_messages` (its default). Lower this or raise `max_held_messages`
"#,
    );
}

#[test]
fn a_backoff_above_its_maximum() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill.retry]
backoff = "2s"
max_backoff = "1s"
"#,
        &[],
        &[bill()],
        r#"
1 error
  dotmsg.toml:4: routes.bill.retry.backoff: more than `retry.max_backoff` (dotmsg.toml:5). Lower this or raise `retry.max_backoff`
"#,
    );
}

#[test]
fn duplicates_that_cannot_be_known() {
    refused(
        r#"
backend.main.url = "memory:"
[routes.bill]
delivery = "at_most_once"
dedup.max_ids = 10
dedup.keep_for = "5m"
[routes.ship]
delivery = "exactly_once"
[routes.ship.dedup]
keep_for = "5m"
"#,
        &[],
        &[
            bill(),
            RouteDefaults::new("ship")
                .with("topic", "orders")
                .with("group", "shipping"),
        ],
        r#"
2 errors
  dotmsg.toml:5: routes.bill.dedup.max_ids: what fails is not remembered, so that a duplicate would be its second call, and delivery = "at_most_once" (dotmsg.toml:4) forbids that. Remove `dedup`, or use "at_least_once"
  dotmsg.toml:10: routes.ship.dedup.keep_for: what is remembered outlives a transaction that is aborted, so that a message which is to be handled again would be taken for a duplicate and be lost (delivery = "exactly_once", dotmsg.toml:8). Remove `dedup`, or use "at_least_once"
"#,
    );
}
