//! `docs/capabilities.md` says what each backend declares, as the code has it.
//!
//! `DOTMSG_BLESS=1 cargo test --features kafka --test kafka_feature` writes it anew. Rows are taken from the fields of
//! [`Capability`], so that a new one cannot be left out: without a word for it here, the test fails.

use std::fmt::Write;
use std::path::Path;

use dotmsg::backend::{Backend, Capability};
use dotmsg::log::{LogBroker, LogOptions};

const HEAD: &str = "\
# Capabilities

What each backend declares that it can keep, with its settings left alone. A start compares this with what the configuration
asks for; what cannot be kept is refused then, with the reason and the remedy, and nothing is weakened silently. Every row is
put to the test by the [conformance suite](conformance.md): what is declared has to hold, and what is denied has to be refused.

";

const TAIL: &str = "
- **Position records** hold what is settled out of order and where failing heads wait. Where one would not fit, less is noted of what is
  settled out of order, so that a crash repeats more; where that is not enough, the partition pauses until heads come back. Nothing is
  dropped. The embedded log has no limit. Kafka's is that of the metadata of a commit: [`offset_metadata_max`](kafka.md#settings).
- **The largest record** is a setting: `max_record_bytes` of the embedded log, `message.max.bytes` of Kafka.
- **RabbitMQ, NATS and Postgres** are planned, and refused by name until they are there.

In code it is `Backend::capability`, of type `dotmsg::backend::Capability`; an adapter of your own begins with
`Capability::minimal()` and says what it can do better ([how it is tested](testing.md#the-conformance-suite)).

This file is written by a test: `DOTMSG_BLESS=1 cargo test --features kafka --test kafka_feature`.
";

/// What each field means, and what is refused without it.
const ROWS: &[(&str, &str, &str)] = &[
    (
        "key_order",
        "messages of a key stay in order, over all owners",
        "`ordering = \"key\"` and `\"partition\"`",
    ),
    (
        "position",
        "progress is one atomic value for each partition",
        "every route",
    ),
    (
        "ownership",
        "members of a group share the partitions of a topic",
        "a second member, until the first has left",
    ),
    (
        "history",
        "what was handled can be read again",
        "nothing; the age of a lag is not known",
    ),
    (
        "transactions",
        "returned messages and progress take effect together",
        "`delivery = \"exactly_once\"`",
    ),
    (
        "partitioning",
        "a partitioner of the app's own in place of murmur2",
        "`App::partitioner`",
    ),
    (
        "max_record_bytes",
        "largest record: key, payload and headers",
        "publishing what is larger",
    ),
    (
        "max_topic_bytes",
        "longest name of a topic",
        "routes whose own topics have longer names",
    ),
    (
        "durable",
        "survives the end of the process",
        "nothing: `memory:` is chosen by name",
    ),
];

/// The fields and values of a capability, in their order.
fn fields(capability: Capability) -> Vec<(String, String)> {
    let debug = format!("{capability:?}");
    let inside = debug
        .strip_prefix("Capability { ")
        .and_then(|rest| rest.strip_suffix(" }"))
        .expect("a plain struct");
    let mut fields = Vec::new();
    let mut rest = inside;
    while let Some((name, after)) = rest.split_once(": ") {
        let mut depth = 0;
        let end = after.find(|char| {
            depth += i32::from(char == '{') - i32::from(char == '}');
            char == ',' && depth == 0
        });
        let value = &after[..end.unwrap_or(after.len())];
        rest = end.map_or("", |end| after[end + 1..].trim_start());
        fields.push((name.to_owned(), value.to_owned()));
    }
    fields
}

/// A value as the page says it.
fn said(value: &str) -> String {
    let number = |text: &str| text.parse::<usize>().ok();
    let most = |bytes: &str| match number(bytes) {
        Some(usize::MAX) => "no limit".to_owned(),
        Some(bytes) if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => {
            format!("{} MiB", bytes >> 20)
        }
        Some(bytes) if bytes >= 1_000_000 && bytes.is_multiple_of(1_000_000) => {
            format!("{} MB", bytes / 1_000_000)
        }
        Some(bytes) if bytes >= 1_000 => format!("{},{:03} bytes", bytes / 1_000, bytes % 1_000),
        Some(bytes) => format!("{bytes} bytes"),
        None => panic!("no word for {bytes}"),
    };
    match value {
        "Log" | "Shared" | "Retained" | "Yes" | "Custom" | "true" => "yes".to_owned(),
        "None" | "SingleMember" | "No" | "Murmur2" | "false" => "no".to_owned(),
        value => match value.strip_prefix("Record { max_bytes: ") {
            Some(record) => match &*most(record.trim_end_matches(" }")) {
                "no limit" => "yes, without a limit".to_owned(),
                limit => format!("yes, up to {limit}"),
            },
            None => most(value),
        },
    }
}

fn rendered(backends: &[(&str, Capability)]) -> String {
    let names: Vec<&str> = backends.iter().map(|(name, _)| *name).collect();
    let mut page = HEAD.to_owned();
    let _ = writeln!(page, "| | {} | Refused without it |", names.join(" | "));
    let _ = writeln!(page, "|---|{}---|", "---|".repeat(names.len()));
    let columns: Vec<_> = backends.iter().map(|(_, one)| fields(*one)).collect();
    assert_eq!(columns[0].len(), ROWS.len(), "a row for each field");
    for (index, (field, _)) in columns[0].iter().enumerate() {
        let row = ROWS.iter().find(|(name, ..)| name == field);
        let (_, meaning, refused) = row.unwrap_or_else(|| panic!("no row for `{field}`"));
        let values: Vec<String> = columns.iter().map(|one| said(&one[index].1)).collect();
        let _ = writeln!(page, "| {meaning} | {} | {refused} |", values.join(" | "));
    }
    page + TAIL
}

fn in_directory() -> Capability {
    let directory = std::env::temp_dir().join(format!("dotmsg-capability-{}", std::process::id()));
    let log = LogBroker::open(&directory, LogOptions::default()).expect("a log is opened");
    let capability = log.capability();
    drop(log);
    let _ = std::fs::remove_dir_all(&directory);
    capability
}

#[test]
fn the_page_says_what_is_declared() {
    let backends = [
        (
            "`memory:`",
            LogBroker::memory(LogOptions::default()).capability(),
        ),
        ("`log:`", in_directory()),
        ("`kafka:`", dotmsg::kafka_capability()),
    ];
    let expected = rendered(&backends);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/capabilities.md");
    if std::env::var_os("DOTMSG_BLESS").is_some() {
        std::fs::write(&path, &expected).expect("the page is written");
    }
    let page = std::fs::read_to_string(&path).expect("docs/capabilities.md is there");
    assert!(
        page == expected,
        "docs/capabilities.md is not what the backends declare: DOTMSG_BLESS=1 cargo test --features kafka --test kafka_feature"
    );
}
