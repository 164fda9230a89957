//! dlq: choosing, looking, replaying with and without a canary, discarding, exporting.

use std::ffi::OsString;

use dotmsg::App;
use dotmsg::config::RouteDefaults;
use dotmsg_cli::Console;

use super::support::{Desk, Ended};

/// Four dead letters: two of kind `rate`, one `schema`, one `ship`.
async fn with_letters() -> Desk {
    fill(Desk::new()).await
}

async fn fill(desk: Desk) -> Desk {
    for (id, key, kind) in [
        ("1", "a", "rate"),
        ("2", "b", "schema"),
        ("3", "c", "rate"),
        ("4", "a", "ship"),
    ] {
        desk.run(&format!("produce orders {kind} --key {key} --id {id}"))
            .ok();
    }
    desk.work().await;
    desk
}

/// The ids that a list shows, sorted.
fn ids(desk: &Desk, options: &str) -> String {
    let list = desk.run(&format!("dlq list --json {options}")).ok().json();
    let mut ids: Vec<_> = list
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort();
    ids.concat()
}

/// A command of the service, in this process.
async fn service(desk: &Desk, line: &str) -> Ended {
    let (mut console, captured) = Console::captured("");
    let args = ["billing"]
        .into_iter()
        .chain(line.split(' '))
        .map(OsString::from);
    let exit = dotmsg_cli::run_in(desk.app(), args, &mut console).await;
    Ended {
        code: exit.code().into(),
        out: captured.out(),
        err: captured.err(),
    }
}

#[tokio::test]
async fn conditions_choose_and_all_must_hold() {
    let desk = with_letters().await;
    for (options, expected) in [
        ("", "1234"),
        ("--kind rate", "13"),
        ("--kind rate --kind ship", "134"),
        ("--key a", "14"),
        ("--key a --kind ship", "4"),
        ("--id 2 --id 3", "23"),
        ("--reason ship", "4"),
        ("--since 1h", "1234"),
        ("--until 1h", ""),
        ("--until 2199-01-01 --kind schema", "2"),
    ] {
        assert_eq!(ids(&desk, options), expected, "{options}");
    }
    let first = &desk.run("dlq list --json --id 1").json()[0];
    let at = format!("--at {}/{}", first["partition"], first["offset"]);
    assert_eq!(ids(&desk, &at), "1");
    let table = desk.run("dlq list -n 1").ok();
    assert_eq!(table.out.lines().count(), 2);
    assert!(table.err.contains("3 more"), "{table:?}");
    assert!(!table.out.contains('\u{1b}'), "{table:?}");
    desk.run("dlq list --at here")
        .fails_with(64, "such as 3:1200");
    desk.run("dlq list --since soon")
        .fails_with(64, "neither an age");
}

#[tokio::test]
async fn groups_are_by_kind_and_shape_of_the_reason() {
    let desk = with_letters().await;
    let groups = desk.run("dlq group --json").ok().json();
    assert_eq!(groups.len(), 3);
    assert_eq!(
        (&groups[0]["letters"], &groups[0]["keys"]),
        (&2.into(), &2.into())
    );
    assert_eq!(groups[0]["alike_in"], "rate: no \"…\"\u{1b}[#m in # tries");
    let text = desk.run("dlq group --by key").ok().out;
    assert!(text.lines().nth(1).unwrap().ends_with('a'), "{text}");
    let none = desk.run("dlq group --kind other").ok();
    assert!(none.err.contains("no dead letters"), "{none:?}");
}

#[tokio::test]
async fn one_is_shown_whole() {
    let desk = with_letters().await;
    let text = desk.run("dlq show --id 2").ok().out;
    for said in [
        "key           b",
        "kind          schema",
        "payload       schema",
    ] {
        assert!(text.lines().any(|line| line == said), "{said:?} in {text}");
    }
    assert!(!text.contains('\u{1b}'), "{text:?}");
    let json = &desk.run("dlq show --id 2 --json").ok().json()[0];
    assert_eq!(json["chain"][0], "no \"schema\"\u{1b}[31m in 7 tries");
    assert_eq!(json["origin"]["topic"], "orders");
    assert_eq!(
        desk.run("dlq show --id 9")
            .fails_with(2, "no dead letter")
            .out,
        ""
    );
    desk.run("dlq show").fails_with(64, "which dead letter");
}

pub(super) async fn replay(desk: Desk) {
    let desk = fill(desk).await;
    let dry = desk.run("dlq replay --kind rate --dry-run").ok();
    assert!(
        dry.out
            .starts_with("dry run: 2 dead letters would be replayed"),
        "{dry:?}"
    );
    assert_eq!(ids(&desk, ""), "1234");
    let report = desk
        .run("dlq replay bill --kind rate --rate 1000 --json")
        .ok()
        .json();
    assert_eq!(
        (&report[0]["replayed"], &report[0]["not_chosen"]),
        (&2.into(), &2.into())
    );
    assert_eq!(ids(&desk, ""), "24");
    assert_eq!(ids(&desk, "--with-done"), "1234");
    assert!(desk.run("dlq list --with-done").ok().out.contains("0*"));
    desk.work_until_letters(6).await;
    // They failed again.
    assert_eq!(ids(&desk, ""), "1234");
    let first = desk.run("dlq replay --all --limit 1 --json").ok().json();
    assert_eq!(
        (&first[0]["replayed"], &first[0]["beyond_limit"]),
        (&1.into(), &3.into())
    );
    desk.run("dlq replay --all --to-origin")
        .fails_with(64, "every group");
    desk.run("dlq replay --all --rate 0")
        .fails_with(64, "never end");
    desk.run("dlq replay --all --to-origin --yes").ok();
    assert_eq!(ids(&desk, ""), "");
    assert_eq!(desk.run("lag --json").json()[0]["behind"], 3);
}

#[tokio::test]
async fn a_canary_that_fails_leaves_the_rest_alone() {
    let desk = with_letters().await;
    let stopped = service(&desk, "dlq replay --all --canary 2 --work --json").await;
    assert_eq!(stopped.code, 2, "{stopped:?}");
    let lines = stopped.json();
    assert_eq!(lines[0]["canary"], "stopped");
    assert_eq!(
        (&lines[1]["replayed"], &lines[1]["beyond_limit"]),
        (&2.into(), &2.into())
    );
    // Two were left alone; of the canary at least one is back by now, and both are soon.
    desk.work().await;
    assert_eq!(ids(&desk, ""), "1234");
    // With half of them allowed to fail it is the same, with all of them not.
    let half = service(&desk, "dlq replay --all --canary 2 --stop-above 50% --work").await;
    assert_eq!(half.code, 2, "{half:?}");
    desk.work().await;
    let all = service(&desk, "dlq replay --all --canary 2 --stop-above 1 --work").await;
    assert_eq!(all.code, 0, "{all:?}");
    assert!(
        all.out
            .starts_with("canary passed: 2 of 2 dead letters failed again\n"),
        "{all:?}"
    );
    desk.run("dlq replay --all --canary 2 --stop-above 3")
        .fails_with(64, "percentage");
    desk.run("dlq replay --all --stop-above 1")
        .fails_with(64, "--canary");
}

/// Nobody settles it: no member of the group runs.
#[tokio::test]
async fn a_canary_that_is_not_settled_in_time_leaves_the_rest_alone() {
    let desk = with_letters().await;
    let late = desk.run("dlq replay --all --canary 1 --canary-timeout 300ms");
    assert_eq!(late.code, 2, "{late:?}");
    assert!(
        late.out
            .starts_with("canary stopped: 1 dead letter not settled within 300ms"),
        "{late:?}"
    );
    assert_eq!(ids(&desk, "").len(), 3);
}

/// The second canary finds nothing, while the letter of the first one is not settled.
#[tokio::test]
async fn a_canary_without_a_letter_does_not_pass() {
    let desk = with_letters().await;
    desk.run("dlq replay --id 2 --canary 1 --canary-timeout 300ms")
        .fails_with(2, "");
    let again = desk.run("dlq replay --id 2 --canary 1 --canary-timeout 300ms");
    assert_eq!(again.code, 2, "{again:?}");
    assert!(
        again
            .out
            .starts_with("canary stopped: no dead letter is left for it, so it shows nothing."),
        "{again:?}"
    );
    assert!(again.out.contains("1 done before"), "{again:?}");
    let json = desk
        .run("dlq replay --id 2 --canary 1 --json")
        .fails_with(2, "")
        .json();
    assert_eq!(json[0]["canary"], "no letter left");
    // Letters that are not chosen are not taken for it either.
    let none = desk.run("dlq replay --kind none --canary 1");
    assert_eq!(none.code, 2, "{none:?}");
    assert_eq!(ids(&desk, ""), "134");
    desk.run("dlq replay --all --canary 0")
        .fails_with(64, "--canary");
}

#[tokio::test]
async fn a_canary_that_goes_well_is_followed_by_the_rest() {
    let desk = Desk::new();
    for id in 1..=5 {
        desk.run(&format!("produce orders rate --key {id} --id {id}"))
            .ok();
    }
    desk.work().await;
    let app = App::with_config(desk.config()).route(RouteDefaults::new("bill"), async || {});
    let (mut console, captured) = Console::captured("");
    let args = "billing dlq replay bill --all --canary 2 --work --json".split(' ');
    let exit = dotmsg_cli::run_in(app, args.map(OsString::from), &mut console).await;
    assert_eq!(exit.code(), 0, "{captured:?}");
    let out = captured.out();
    let lines: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["canary"], &lines[0]["failed"]),
        (&"passed".into(), &0.into())
    );
    assert_eq!(lines[1]["replayed"], 3);
    assert_eq!(ids(&desk, ""), "");
}

pub(super) async fn discard(desk: Desk) {
    let desk = fill(desk).await;
    desk.run("dlq discard --kind rate").fails_with(
        64,
        &format!(
            "Discard 2 dead letters of {}orders.{}.dlq?",
            desk.prefix, desk.group
        ),
    );
    let dry = desk
        .run("dlq discard --kind rate --dry-run --json")
        .ok()
        .json();
    assert_eq!(
        (&dry[0]["discarded"], &dry[0]["dry_run"]),
        (&2.into(), &true.into())
    );
    assert_eq!(ids(&desk, ""), "1234");
    assert_eq!(
        desk.run("dlq discard --kind rate -y").ok().out,
        "2 dead letters discarded\n"
    );
    assert_eq!(ids(&desk, ""), "24");
    assert_eq!(
        desk.run("dlq discard --kind rate").ok().out,
        "0 dead letters discarded\n"
    );
    let replay = desk.run("dlq replay --all --json").ok().json();
    assert_eq!(
        (&replay[0]["replayed"], &replay[0]["done_before"]),
        (&2.into(), &2.into())
    );
    desk.run("dlq discard --all --yes").ok();
    assert!(
        desk.run("dlq list")
            .ok()
            .err
            .contains("no dead letters are left")
    );
}

pub(super) async fn export(desk: Desk) {
    let desk = fill(desk).await;
    let lines = desk.run("dlq export --kind rate").ok();
    assert_eq!(lines.json().len(), 2);
    desk.run("dlq export bill -o left.ndjson").ok();
    let file = std::fs::read_to_string(desk.dir.path().join("left.ndjson")).unwrap();
    assert_eq!(file.lines().count(), 4);
    desk.run("dlq export -o left.ndjson")
        .fails_with(1, "create left.ndjson: File exists");
    desk.run_with("produce orders --ndjson", &lines.out).ok();
    assert_eq!(desk.run("lag --json").json()[0]["behind"], 2);
    let ids: Vec<_> = lines.json().iter().map(|one| one["id"].clone()).collect();
    let read = desk.run("tail orders --json -n 100").ok().out;
    assert!(
        ids.iter()
            .all(|id| read.matches(&format!("\"value\":{id}")).count() == 2),
        "{read}"
    );
}

/// The script is for the program that offers the commands, and completes them behind the words that lead there.
#[tokio::test]
async fn completions_of_a_service_are_for_its_program() {
    let desk = Desk::new();
    for (shell, says) in [
        (
            "bash",
            "complete -F _billing -o nosort -o bashdefault -o default billing",
        ),
        ("fish", "complete -c billing"),
        ("zsh", "#compdef billing"),
        ("elvish", "edit:completion:arg-completer[billing]"),
        ("powershell", "-CommandName 'billing'"),
    ] {
        let (mut console, captured) = Console::captured("");
        let args = ["bin/billing admin", "completions", shell].map(OsString::from);
        let exit = dotmsg_cli::run_in(desk.app(), args, &mut console).await;
        assert_eq!(exit.code(), 0, "{captured:?}");
        let script = captured.out();
        assert!(script.contains(says), "{shell}: {script}");
        assert!(
            script.contains("admin") && script.contains("offsets"),
            "{shell}"
        );
        assert!(!script.contains("dotmsg-cli"), "{shell}: {script}");
    }
}

/// An app that runs answers too, on the handle that it gives out.
#[tokio::test]
async fn a_service_that_runs_answers_commands() {
    let desk = with_letters().await;
    let running = desk.app().start().await.unwrap();
    let (mut console, captured) = Console::captured("");
    let args = ["admin", "dlq", "list", "bill"].map(OsString::from);
    let exit = dotmsg_cli::run_on(running.handle(), args, &mut console).await;
    assert_eq!(exit.code(), 0, "{captured:?}");
    assert_eq!(captured.out().lines().count(), 5);
    let (mut console, captured) = Console::captured("");
    let args = ["admin", "config"].map(OsString::from);
    let exit = dotmsg_cli::run_on(running.handle(), args, &mut console).await;
    assert_eq!(exit.code(), 64, "{captured:?}");
    running.handle().drain();
    running.wait().await.unwrap();
}
