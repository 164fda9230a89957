//! describe, config, topics, lag, offsets, completions; which routes are known; exit codes.

use dotmsg::backend::Backend;
use dotmsg::clock::SystemClock;
use dotmsg::log::{LogBroker, LogOptions};

use super::support::{Desk, Dir, dotmsg};

#[test]
fn a_plan_differs_until_it_is_applied() {
    let desk = Desk::without_topics();
    let plan = desk.run("topics plan");
    assert_eq!(plan.code, 2, "{plan:?}");
    let created: Vec<&str> = plan.out.lines().map(|line| &line[..8]).collect();
    assert_eq!(created, ["+ orders"; 3], "{plan:?}");
    assert_eq!(desk.run("topics check --json").json().len(), 3);
    assert!(
        desk.run("topics apply")
            .ok()
            .out
            .starts_with("+ orders: create")
    );
    let check = desk.run("topics check").ok();
    assert_eq!(check.out, "all topics are as a start needs them\n");
    let apply = desk.run("topics apply").ok();
    assert!(apply.out.starts_with("nothing to do"), "{apply:?}");
    let kept = desk.run("topics plan --json").ok().json();
    assert!(kept.iter().all(|topic| topic["step"] == "keep"), "{kept:?}");
    // A tier more is a topic more.
    let longer = desk.run("--topic orders --group ship --tiers 5s topics plan --json");
    let steps: Vec<_> = longer
        .json()
        .iter()
        .map(|one| one["step"].clone())
        .collect();
    assert_eq!(steps, ["keep", "create", "create", "create"]);
    let one = desk.run("--topic orders --group ship topics apply").ok();
    assert_eq!(one.out.lines().count(), 2, "{one:?}");
}

#[test]
fn a_topic_that_two_routes_read_is_listed_once() {
    let dir = Dir::new();
    let routes = ["bill", "ship"]
        .map(|route| format!("[routes.{route}]\ntopic = \"orders\"\ngroup = \"{route}ing\"\n"));
    let backend =
        "[backend.main]\nurl = \"log:./data\"\nauto_create = true\nauto_create_partitions = 2\n";
    dir.write("dotmsg.toml", &[backend, &routes.concat()].concat());
    let run = |line: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        dotmsg(dir.path(), &args, b"")
    };
    let of_orders = |out: &str| {
        let lines = out.lines().filter(|line| line.contains("(source of "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let created =
        ["+ orders: create with 2 partitions, kept as the backend does (source of bill, ship)"];
    assert_eq!(of_orders(&run("topics plan").out), created);
    let json = run("topics plan --json").json();
    assert_eq!(json.len(), 5, "{json:?}");
    let sources: Vec<_> = json.iter().filter(|one| one["role"] == "source").collect();
    assert_eq!(sources.len(), 1);
    assert_eq!(sources[0]["routes"], serde_json::json!(["bill", "ship"]));
    let kept = |role: &str| {
        let mut of_role = json.iter().filter(|one| one["role"] == role);
        of_role.next().unwrap()["retention"].clone()
    };
    assert_eq!(kept("replay"), "kept at least as long as its source");
    assert_eq!(kept("dead letters"), "kept for ever");
    assert_eq!(of_orders(&run("topics apply").ok().out), created);
    let kept = run("topics plan").ok().out;
    assert_eq!(
        of_orders(&kept),
        ["= orders: 2 partitions (source of bill, ship)"]
    );
}

#[test]
fn a_missing_source_is_a_difference_and_a_failure() {
    let desk = Desk::without_topics();
    let missing = [
        "--config=none.toml",
        "--url=log:./data",
        "--topic=orders",
        "--group=billing",
    ];
    desk.dir.write("none.toml", "");
    let run = |command: &[&str]| {
        let args: Vec<&str> = missing.iter().chain(command).copied().collect();
        dotmsg(desk.dir.path(), &args, b"")
    };
    let plan = run(&["topics", "plan"]);
    assert_eq!(plan.code, 2);
    assert!(plan.out.starts_with("! orders: missing"), "{plan:?}");
    run(&["topics", "apply"]).fails_with(1, "1 source topic missing");
    run(&["lag"]).fails_with(1, "the topic does not exist");
    let failed = run(&["lag", "--json"]).fails_with(1, "\"kind\":\"NotFound\"");
    assert_eq!(failed.out, "");
}

#[test]
fn routes_are_described_with_their_layers_and_topics() {
    let desk = Desk::new();
    let text = desk.run("describe").ok().out;
    for said in [
        "bill: orders in group billing",
        "    ordering = \"key\"",
        "    max_held_bytes = \"64MiB\"",
        "    commit_interval = \"200ms\"",
        "    retry_in_place: attempts = 3, backoff = 50ms, max_backoff = 1s",
        "    dead letters: orders.billing.dlq (2 partitions)",
    ] {
        assert!(text.lines().any(|line| line == said), "{said:?} in {text}");
    }
    let json = desk.run("describe bill --json").ok().json();
    assert_eq!(json[0]["settings"]["max_held_bytes"], "64MiB");
    assert_eq!(json[0]["settings"]["workers"], 1);
    let layers = json[0]["layers"].as_array().unwrap();
    let names: Vec<_> = layers
        .iter()
        .map(|layer| layer["name"].as_str().unwrap())
        .collect();
    assert_eq!(names.first(), Some(&"trace"));
    assert_eq!(names.last(), Some(&"catch_panic"));
}

#[test]
fn the_configuration_is_shown_with_its_sources_and_without_secrets() {
    let desk = Desk::new();
    let given = desk.run("config --given").ok().out;
    assert!(given.contains("# dotmsg.toml:3"), "{given}");
    assert!(!given.contains("concurrency = 256"), "{given}");
    assert!(
        given.contains("[routes.ship] lacks topic and group"),
        "{given}"
    );
    let url = "--url=postgres://me:geheim@db/x";
    for args in [vec![url, "config"], vec![url, "config", "--json"]] {
        let ended = dotmsg(desk.dir.path(), &args, b"");
        assert!(!format!("{ended:?}").contains("geheim"), "{ended:?}");
    }
}

pub(super) async fn lag(desk: Desk) {
    desk.run_with("produce orders --lines --key k", "ok\nok\nok\n")
        .ok();
    let text = desk.run("lag").ok().out;
    let begins = format!(
        "bill: {}orders in group {}, 3 behind, 0 dead letters left\n",
        desk.prefix, desk.group
    );
    assert!(text.starts_with(&begins), "{text}");
    assert_eq!(desk.run("lag --fail-above 3").code, 0);
    assert_eq!(desk.run("lag bill --fail-above 2").code, 2);
    desk.work().await;
    let lag = desk.run("lag --json --watch 10ms --looks 2").ok().json();
    assert_eq!(lag.len(), 2);
    assert_eq!(lag[0]["behind"], 0);
    assert!(lag[0]["partitions"][0]["new_per_second"].is_null());
    assert_eq!(lag[1]["partitions"][0]["new_per_second"], 0.0);
    assert!(
        desk.run("lag --watch 10ms --looks 2")
            .ok()
            .out
            .contains("catch up")
    );
    desk.run("lag --watch 0s").fails_with(64, "some time");
}

pub(super) async fn positions(desk: Desk) {
    let empty = desk.run("offsets show --json").ok().json();
    assert_eq!(empty[0]["state"], "no position");
    for _ in 0..3 {
        desk.run("produce orders ok --key k").ok();
    }
    desk.work().await;
    let shown = desk.run("offsets show").ok().out;
    assert!(shown.contains("released"), "{shown}");
    let before = desk.run("offsets show --json").ok().json();
    let full = before.iter().find(|one| one["end"] == 3).unwrap();
    assert_eq!(full["watermark"], 3);
    let partition = full["partition"].as_u64().unwrap();
    let one = format!("--to-offset {partition}:1");
    let preview = desk.run(&format!("offsets reset {one} --dry-run")).ok();
    assert_eq!(preview.out, format!("partition {partition}: 3 -> 1\n"));
    // Nobody can be asked here.
    let refused = desk.run(&format!("offsets reset {one}"));
    refused.fails_with(64, "say --yes");
    assert_eq!(desk.run("lag --json").json()[0]["behind"], 0);
    let moved = desk
        .run(&format!("offsets reset {one} --yes --json"))
        .ok()
        .json();
    assert_eq!(
        (&moved[0]["before"], &moved[0]["after"]),
        (&3.into(), &1.into())
    );
    assert_eq!(desk.run("lag --json").json()[0]["behind"], 2);
    desk.run(&format!("offsets reset --to-offset {partition}:9 --yes"))
        .fails_with(1, "does not hold this offset");
    desk.run("offsets reset --to-latest -y").ok();
    assert_eq!(desk.run("lag --json").json()[0]["behind"], 0);
    // All of it was appended within the last hour, and nothing will have been in the next minute.
    desk.run("offsets reset --to-time 1h -y").ok();
    assert_eq!(desk.run("lag --json").json()[0]["behind"], 3);
    desk.run("offsets reset --to-time 2199-01-01 -y").ok();
    assert_eq!(desk.run("lag --json").json()[0]["behind"], 0);
    assert_eq!(desk.run("offsets reset --stay").ok().out.lines().count(), 2);
    desk.run("offsets reset").fails_with(64, "--to-earliest");
    desk.run("offsets reset --to-time soon")
        .fails_with(64, "neither an age");
}

#[test]
fn a_wrong_call_does_nothing_and_says_how_it_is_right() {
    let desk = Desk::new();
    desk.run("lag shop")
        .fails_with(64, "there is no route shop; there are bill");
    desk.run("lag ship")
        .fails_with(64, "route ship lacks topic and group");
    desk.run("--route ship --topic orders lag")
        .fails_with(64, "lacks group");
    desk.run("dlq list --route ship --topic orders")
        .fails_with(64, "lacks group");
    desk.run("offset").fails_with(64, "offsets");
    desk.run("--topic orders lag").fails_with(64, "lacks group");
    desk.run("--tiers 5s lag").fails_with(64, "--tiers is for");
    desk.run("dlq replay").fails_with(64, "or say --all");
    desk.run("dlq discard --all --kind x")
        .fails_with(64, "no room");
    desk.run("dlq replay --all --canary 1 --work")
        .fails_with(64, "command of a service");
    desk.run("--config nowhere.toml lag")
        .fails_with(1, "cannot be read");
    desk.run("lag -c dotmsg.toml --profile night")
        .fails_with(1, "there is no profile `night`");
    let help = desk.run("help exit-codes").ok().out;
    for code in ["  0  done", "  1  failed", "  2  done", " 64  called"] {
        assert!(help.contains(code), "{code} in {help}");
    }
    assert_eq!(
        desk.run("exit-codes").ok().out.lines().next(),
        Some("Exit codes:")
    );
    assert!(desk.run("--version").ok().out.starts_with("dotmsg "));
}

#[test]
fn without_routes_it_says_how_to_name_one() {
    let dir = Dir::new();
    let ended = dotmsg(dir.path(), &["--url", "log:./data", "lag"], b"");
    ended.fails_with(64, "no route is known: name one by --topic and --group");
}

#[test]
fn routes_that_the_configuration_does_not_describe_in_full_are_named() {
    let dir = Dir::new();
    let backend = "[backend.main]\nurl = \"log:./data\"\n[routes.ship]\nconcurrency = 3\n";
    dir.write("dotmsg.toml", backend);
    for line in [&["lag"][..], &["dlq", "list"]] {
        let ended = dotmsg(dir.path(), line, b"");
        ended.fails_with(
            64,
            "ship lacks topic and group, which may stand in the attribute",
        );
    }
    let two = format!("{backend}[routes.bill]\ntopic = \"orders\"\n");
    dir.write("dotmsg.toml", &two);
    let says = "bill lacks group; ship lacks topic and group, which may";
    dotmsg(dir.path(), &["lag"], b"").fails_with(64, says);
    dotmsg(dir.path(), &["lag", "none"], b"").fails_with(64, says);
}

#[test]
fn without_a_configuration_it_says_where_one_may_be() {
    let dir = Dir::new();
    for line in [&["lag"][..], &["config"], &["tail", "orders"]] {
        let ended = dotmsg(dir.path(), line, b"").fails_with(64, "there is no dotmsg.toml here");
        assert!(
            ended.err.contains("DOTMSG__BACKEND__MAIN__URL"),
            "{ended:?}"
        );
    }
    // One that is there and names no backend is another mistake.
    dir.write("dotmsg.toml", "");
    dotmsg(dir.path(), &["lag"], b"").fails_with(1, "no backend is configured");
}

/// The command cannot be given a feature but by whoever installs it.
#[cfg(not(feature = "kafka"))]
#[test]
fn without_kafka_it_says_how_it_is_installed_with_it() {
    let dir = Dir::new();
    for line in [&["tail", "orders"][..], &["--topic=a", "--group=b", "lag"]] {
        let args: Vec<&str> = line
            .iter()
            .chain(&["--url", "kafka://none:9092"])
            .copied()
            .collect();
        let ended = dotmsg(dir.path(), &args, b"");
        ended.fails_with(1, "installed with `--features kafka`");
    }
}

#[test]
fn completions_are_for_every_shell() {
    let desk = Desk::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = desk.run(&format!("completions {shell}")).ok().out;
        assert!(script.contains("offsets"), "{shell}");
    }
    desk.run("completions tcsh").fails_with(64, "bash");
}

/// The log is for one process at a time: this one has it.
#[tokio::test]
async fn a_log_that_a_service_has_open_is_told_as_such() {
    let desk = Desk::new();
    let data = desk.dir.path().join("data");
    let log = LogBroker::open(&data, LogOptions::new(std::sync::Arc::new(SystemClock))).unwrap();
    let ended = desk
        .run("lag")
        .fails_with(1, "another process has the log open");
    assert!(
        ended
            .err
            .contains(&format!("process {}", std::process::id())),
        "{ended:?}"
    );
    assert!(ended.err.contains("one process at a time"), "{ended:?}");
    log.close().await.unwrap();
    desk.run("lag").ok();
}
