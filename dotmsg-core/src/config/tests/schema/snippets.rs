//! The schema against files that are right and files that are wrong.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use super::super::super::keys;
use super::super::super::value::Value;
use super::super::super::{ConfigError, Place};
use super::super::wrong;
use super::validator::errors;
use super::{kinds, schema};

/// The configurations of a Markdown file; what is for cargo has dependencies.
fn snippets(text: &str) -> impl Iterator<Item = &str> {
    let blocks = text.split("```toml\n").skip(1);
    blocks
        .filter_map(|block| block.split("```").next())
        .filter(|block| !block.contains("dependencies]") && !block.contains("dotmsg = {"))
}

#[test]
fn the_reference_file_and_every_configuration_of_the_docs_fit() {
    let schema = schema();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let below = |folder: &str| fs::read_dir(root.join(folder)).unwrap();
    let docs = below("docs").chain(below("docs/how-to"));
    let files = docs.map(|entry| entry.unwrap().path());
    let others = ["README.md", "examples/slow_downstream/dotmsg.toml"];
    let mut count = 0;
    for path in files.chain(others.map(|file| root.join(file))) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        let whole: Vec<&str> = match path.extension().and_then(|ending| ending.to_str()) {
            Some("toml") => vec![&text],
            Some("md") => snippets(&text).collect(),
            _ => continue,
        };
        for text in whole {
            let value: Json = toml::from_str(text)
                .unwrap_or_else(|error| panic!("{}: {error}\n{text}", path.display()));
            let found = errors(&schema, &value);
            assert!(found.is_empty(), "{}: {found:#?}\n{text}", path.display());
            count += 1;
        }
    }
    assert!(count > 8, "{count} configurations");
}

/// What shows in one file by itself.
fn is_seen(error: &ConfigError) -> bool {
    let begins = ["unknown ", "expected "];
    // Adapters elsewhere have tables too, and librdkafka has properties.
    let is_of_adapter = error.key().contains(".kafka")
        || error.key().starts_with("backend.") && error.message().starts_with("unknown table");
    matches!(error.place(), Place::File { .. })
        && !is_of_adapter
        && begins
            .iter()
            .any(|begin| error.message().starts_with(begin))
}

#[test]
fn wrong_configurations_are_seen_where_they_can_be() {
    let schema = schema();
    let (mut seen, mut passed) = (0, 0);
    for case in wrong::cases() {
        let text = fs::read_to_string(&case).unwrap();
        let Ok(value) = toml::from_str::<Json>(&text) else {
            continue;
        };
        let refused = wrong::errors_of(&text);
        let found = errors(&schema, &value);
        let name = case.display();
        match refused.iter().any(is_seen) {
            true => {
                assert!(!found.is_empty(), "{name} fits: {refused}");
                seen += 1;
            }
            false => passed += usize::from(found.is_empty()),
        }
    }
    assert!(seen >= 20 && passed >= 20, "{seen} seen, {passed} fit");
}

#[test]
fn what_the_code_takes_the_schema_takes() {
    let texts = [
        "",
        "0",
        "0s",
        "5",
        "5s",
        "1m30s",
        "1h 2m",
        " 5s ",
        "5 s",
        "5S",
        "1M",
        "3 months",
        "2yrs",
        "1.5s",
        "-1s",
        "none",
        "None",
        "7d",
        "1us",
        "1µs",
        "64MiB",
        "64 mib",
        "1.5GiB",
        "64M",
        "64Mi",
        "64b",
        "1e3",
        "64MB2",
        "100/s",
        "0/s",
        "01/m",
        "100/ms",
        "100 /s",
        "0.0.0.0:9464",
        "[::1]:80",
        "localhost:80",
        "0.0.0.0",
        "key",
        "keys",
        "memory:",
        "log:./a b",
        "kafka://a:1",
        "KAFKA://a",
        "a",
        "a.b",
        ".",
        "..",
        "...",
        ".a",
        "a/b",
        "ä",
        "a b",
        "true",
        "earliest",
        "partition",
        "exactly_once",
        "keep",
        "stop",
        "999999999999d",
    ];
    // There is no pattern for these.
    let beyond = ["zero", "ten years", "milliseconds"];
    let known = [
        keys::BACKEND,
        keys::STORE,
        keys::LIMIT,
        keys::HTTP,
        keys::ROUTE,
    ];
    let (mut taken, mut refused) = (0, 0);
    for key in known.into_iter().flatten() {
        let schema = kinds::schema(key.kind);
        for text in texts {
            let json = Json::from(text);
            let listed = Value::List(vec![Value::from(text)]);
            for (json, value) in [
                (json.clone(), Value::from(text)),
                (Json::from(vec![json]), listed),
            ] {
                let fits = errors(&schema, &json).is_empty();
                match key.kind.check(&value) {
                    Ok(()) => {
                        assert!(fits, "{} = {json}", key.path);
                        taken += 1;
                    }
                    Err(message) if beyond.iter().any(|part| message.contains(part)) => {}
                    Err(message) => {
                        assert!(!fits, "{} = {json}: {message}", key.path);
                        refused += 1;
                    }
                }
            }
        }
        for number in [-1, 0, 1, 2, 1_000, 1_024, 1_025, 1 << 32, (1 << 32) + 1] {
            let fits = errors(&schema, &Json::from(number)).is_empty();
            let is_taken = key.kind.check(&Value::Integer(number)).is_ok();
            assert_eq!(fits, is_taken, "{} = {number}", key.path);
        }
    }
    assert!(taken > 100 && refused > 1_000, "{taken}, {refused}");
}
