//! `docs/dotmsg.schema.json`, for editors: made of the key lists and of the words of the reference file, and kept equal to them.
//!
//! `DOTMSG_BLESS=1 cargo test -p dotmsg-core --lib config::tests::schema` writes it anew. What it refuses the code refuses; the
//! code refuses more, what only all sources together show. So a file that is right is never marked as wrong.

mod documented;
mod kinds;
mod snippets;
mod validator;

use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use self::documented::Documented;
use super::super::keys::{self, Key};

/// What it says is where it belongs.
const TITLE: &str = "A configuration of dotmsg";

fn path() -> PathBuf {
    let core = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    core.join("../docs/dotmsg.schema.json")
}

/// The schema as the key lists have it.
fn schema() -> Json {
    let documented = Documented::of_the_reference_file();
    let sections = sections(&documented);
    let mut top = sections.clone();
    let profile = json!({
        "description": "The same tables again; DOTMSG_PROFILE chooses one.",
        "type": "object",
        "additionalProperties": closed(sections),
    });
    top.insert("profile".into(), profile);
    let mut schema = closed(top);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(TITLE);
    schema["definitions"] = json!({
        "backend": backend(&documented),
        "store": table(&documented, "store.main", keys::STORE, ""),
        "limit": table(&documented, "limits.database", keys::LIMIT, ""),
        "route": table(&documented, "routes.bill", keys::ROUTE, ""),
    });
    schema
}

/// The tables at the top; `profile`, which holds the others, is not among them.
fn sections(documented: &Documented) -> Map<String, Json> {
    let section = |section: &&str| ((*section).to_owned(), section_of(documented, section));
    keys::PROFILE_SECTIONS.iter().map(section).collect()
}

fn section_of(documented: &Documented, section: &str) -> Json {
    let (definition, names) = match section {
        "backend" => ("backend", kinds::NAME),
        "store" => ("store", kinds::NAME),
        "limits" => ("limit", kinds::NAME),
        "routes" => ("route", kinds::ROUTE_NAME),
        "telemetry" => return telemetry(documented),
        other => panic!("{other} has no schema"),
    };
    json!({
        "description": documented.section(section),
        "type": "object",
        "propertyNames": { "pattern": names },
        "additionalProperties": { "$ref": format!("#/definitions/{definition}") },
    })
}

/// Its tables have fixed names.
fn telemetry(documented: &Documented) -> Json {
    let tables = keys::TELEMETRY.iter().map(|name| {
        assert_eq!(*name, "http", "its keys are not listed here");
        let path = format!("telemetry.{name}");
        let mut schema = table(documented, &path, keys::HTTP, "");
        documented.describe(&path, &mut schema);
        ((*name).to_owned(), schema)
    });
    let mut schema = closed(tables.collect());
    schema["description"] = json!(documented.section("telemetry"));
    schema
}

/// A table that takes these keys and no others.
fn closed(properties: Map<String, Json>) -> Json {
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

/// The table of a section, or the part of it below `prefix`.
fn table(documented: &Documented, path: &str, known: &'static [Key], prefix: &str) -> Json {
    let mut properties = Map::new();
    for name in keys::below(known, prefix) {
        let within = format!("{prefix}{name}");
        let path = format!("{path}.{name}");
        let key = known.iter().find(|key| key.path == within);
        let mut schema = match key {
            Some(key) => kinds::schema(key.kind),
            None => table(documented, &path, known, &format!("{within}.")),
        };
        documented.describe(&path, &mut schema);
        properties.insert(name.to_owned(), schema);
    }
    closed(properties)
}

/// A backend, with the tables of adapters. Those of adapters elsewhere are not known.
fn backend(documented: &Documented) -> Json {
    let mut schema = table(documented, "backend.main", keys::BACKEND, "");
    for adapter in ["log", "memory", "kafka"] {
        let table = format!("backend.main.{adapter}");
        let settings = documented
            .below(&table)
            .map(|(key, default)| {
                let mut schema = kinds::setting(adapter, key, default);
                documented.describe(&format!("{table}.{key}"), &mut schema);
                (key.to_owned(), schema)
            })
            .collect();
        let mut body = closed(settings);
        // librdkafka's properties, under their own names.
        body["additionalProperties"] = json!(adapter == "kafka");
        documented.describe(&table, &mut body);
        schema["properties"][adapter] = body;
    }
    schema["additionalProperties"] = json!({ "type": "object" });
    schema
}

#[test]
fn the_schema_is_what_the_key_lists_and_the_reference_file_say() {
    let text = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("DOTMSG_BLESS").is_some() {
        std::fs::write(path(), &text).unwrap();
    }
    let written = std::fs::read_to_string(path()).unwrap_or_default();
    assert!(
        written == text,
        "docs/dotmsg.schema.json is not what the key lists say: DOTMSG_BLESS=1 cargo test -p dotmsg-core --lib config::tests::schema"
    );
}

#[test]
fn every_key_has_a_description() {
    fn check(at: &str, schema: &Json) {
        let properties = schema.get("properties").and_then(Json::as_object);
        for (name, below) in properties.into_iter().flatten() {
            let at = format!("{at}.{name}");
            let description = below.get("description").and_then(Json::as_str);
            assert!(description.is_some_and(|text| text.len() > 3), "{at}");
            check(&at, below);
        }
    }
    let schema = schema();
    check("", &schema);
    for (name, definition) in schema["definitions"].as_object().unwrap() {
        check(name, definition);
    }
}
