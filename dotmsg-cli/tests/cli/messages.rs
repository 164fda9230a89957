//! produce and tail: what goes in comes out, on one line, and harms no terminal.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use dotmsg::Message;
use dotmsg_cli::Console;

use super::support::{Desk, dotmsg};

#[test]
fn one_message_has_key_headers_and_identity() {
    let desk = Desk::new();
    let args = [
        "produce",
        "orders",
        "{\"a\": 1}",
        "-k",
        "ada",
        "-H",
        "trace=7",
        "--id",
        "o-1",
    ];
    let sent = dotmsg(desk.dir.path(), &args, b"").ok();
    assert!(sent.out.starts_with("published to orders/"), "{sent:?}");
    let read = desk.run("tail orders --json").ok().json();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0]["key"], "ada");
    assert_eq!(read[0]["payload"], "{\"a\": 1}");
    let headers = read[0]["headers"].as_array().unwrap();
    let values: Vec<_> = headers
        .iter()
        .map(|header| header["value"].as_str().unwrap())
        .collect();
    assert_eq!(values, ["7", "o-1"]);
    let sent = desk.run("produce orders x --json").ok().json();
    assert_eq!(sent[0]["topic"], "orders");
    assert!(sent[0]["offset"].is_u64());
}

#[test]
fn standard_input_is_one_message_or_many() {
    let desk = Desk::new();
    desk.run_with("produce orders --key k", "two\nlines\n").ok();
    let many: String = (0..1200).map(|number| format!("{number}\n")).collect();
    let sent = desk.run_with("produce orders --lines --key k", &many).ok();
    assert_eq!(sent.out, "1200 published to orders\n");
    let read = desk.run("tail orders --from-start --json").ok().json();
    let payloads: Vec<_> = read
        .iter()
        .map(|one| one["payload"].as_str().unwrap())
        .collect();
    assert_eq!(payloads.len(), 1201);
    assert_eq!(payloads[0], "two\nlines\n");
    assert!(
        payloads[1..]
            .iter()
            .enumerate()
            .all(|(number, one)| *one == number.to_string())
    );
}

#[test]
fn what_tail_writes_produce_reads() {
    let desk = Desk::new();
    let lines = concat!(
        r#"{"key":"a","payload":"1","headers":{"h":"v"}}"#,
        "\n\n",
        r#"{"key_base64":"/w==","payload":null}"#,
        "\n",
        r#"{"payload_base64":"AP8=","id":"i"}"#,
        "\n",
    );
    desk.run_with("produce orders --ndjson", lines).ok();
    let written = desk.run("tail orders --from-start --json").ok();
    desk.run_with("produce orders --ndjson", &written.out).ok();
    let key = |line: &serde_json::Value| {
        let mut line = line.as_object().unwrap().clone();
        ["offset", "appended_at", "timestamp"]
            .iter()
            .for_each(|name| drop(line.remove(*name)));
        // Null keys go anywhere.
        line.remove("partition");
        serde_json::to_string(&line).unwrap()
    };
    let mut all: Vec<String> = desk
        .run("tail orders --from-start --json")
        .json()
        .iter()
        .map(key)
        .collect();
    all.sort();
    let (first, second): (Vec<_>, Vec<_>) = all.iter().enumerate().partition(|(at, _)| at % 2 == 0);
    assert_eq!(first.len(), 3);
    assert!(
        first.iter().zip(&second).all(|((_, a), (_, b))| a == b),
        "{all:?}"
    );
}

#[test]
fn a_line_that_cannot_be_read_ends_it_and_names_the_line() {
    let desk = Desk::new();
    let lines = "{\"payload\":\"good\"}\n{\"payload\":7}\n{\"payload\":\"never\"}\n";
    let ended = desk.run_with("produce orders --ndjson", lines);
    let ended = ended.fails_with(1, "line 2");
    assert!(ended.out.contains("published to orders"), "{ended:?}");
    assert_eq!(desk.run("tail orders --json").json().len(), 1);
    desk.run_with("produce orders --ndjson", "nothing\n")
        .fails_with(64, "line 1");
    desk.run("produce nowhere x").fails_with(1, "no such topic");
}

#[test]
fn bytes_of_a_message_reach_no_terminal_as_they_are() {
    let desk = Desk::new();
    let wild = "\u{1b}]0;title\u{7}\u{9b}31m\u{202e}";
    let args = ["produce", "orders", wild, "--key", wild].map(OsStr::new);
    dotmsg(desk.dir.path(), &args, b"").ok();
    for command in ["tail orders", "tail orders --json"] {
        let out = desk.run(command).ok().out;
        let active = |one: char| one.is_control() && one != '\n' || one == '\u{202e}';
        assert!(!out.contains(active), "{out:?}");
    }
    assert_eq!(desk.run("tail orders --json").json()[0]["key"], wild);
}

#[test]
fn tail_begins_where_it_is_told() {
    let desk = Desk::new();
    desk.run_with("produce orders --lines --key k", "0\n1\n2\n3\n")
        .ok();
    let payloads = |options: &str| {
        let read = desk
            .run(&format!("tail orders --json {options}"))
            .ok()
            .json();
        let payloads = read
            .iter()
            .map(|one| one["payload"].as_str().unwrap().to_owned());
        payloads.collect::<Vec<_>>().concat()
    };
    let partition = desk.run("tail orders --json -n 1").json()[0]["partition"].clone();
    assert_eq!(payloads("-n 2"), "23");
    assert_eq!(payloads("--from-start"), "0123");
    assert_eq!(payloads("--from-start --max 3"), "012");
    assert_eq!(payloads(&format!("--offset {partition}:1")), "123");
    assert_eq!(payloads("--since 1h"), "0123");
    assert_eq!(payloads("--since 2199-01-01"), "");
    desk.run("tail orders --offset 7:0")
        .fails_with(64, "no partition 7");
    for options in ["", " --follow"] {
        desk.run(&format!("tail orders --offset {partition}:5{options}"))
            .fails_with(64, "ends at 4");
    }
    desk.run("tail nowhere")
        .fails_with(1, "the topic does not exist");
}

/// A follower prints what is there, and then what comes: it is ended by `--max`.
#[tokio::test]
async fn a_follower_waits_for_more() {
    let desk = Desk::new();
    desk.run("produce orders first --key k").ok();
    let app = desk.app().open().await.unwrap();
    let publisher = app.publisher("main").unwrap();
    let (mut console, captured) = Console::captured("");
    let line = "billing tail orders --follow --max 2 --json";
    let args = line.split(' ').map(OsString::from);
    let follower = dotmsg_cli::run_on(&app, args, &mut console);
    let producer = async {
        while !captured.out().contains("first") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let second = Message::new("second").with_key("k");
        publisher.publish("orders", second).await.unwrap();
    };
    let both = async { tokio::join!(follower, producer) };
    let (exit, ()) = tokio::time::timeout(Duration::from_secs(30), both)
        .await
        .expect("the second one ends it");
    assert_eq!(exit.code(), 0, "{captured:?}");
    let out = captured.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[1].contains("second"), "{out}");
    app.close().await.unwrap();
}
