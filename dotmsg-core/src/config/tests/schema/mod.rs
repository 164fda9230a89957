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

fn sections(documented: &Documented) -> Map<String, Json> {
    let definitions = ["backend", "store", "limit", "route"];
    // `telemetry` has tables with names of its own, and `profile`, the last one, holds the others.
    let sections = keys::SECTIONS.iter().zip(definitions);
    let section = |(section, definition): (&&str, &str)| {
        let names = match *section {
            "routes" => kinds::ROUTE_NAME,
            _ => kinds::NAME,
        };
        let body = json!({
            "description": documented.section(section),
            "type": "object",
            "propertyNames": { "pattern": names },
            "additionalProperties": { "$ref": format!("#/definitions/{definition}") },
        });
        ((*section).to_owned(), body)
    };
    let mut sections: Map<String, Json> = sections.map(section).collect();
    let mut http = table(documented, "telemetry.http", keys::HTTP, "");
    http["description"] = json!("The HTTP endpoint.");
    let mut telemetry = closed([("http".to_owned(), http)].into_iter().collect());
    telemetry["description"] = json!(documented.section("telemetry"));
    sections.insert("telemetry".into(), telemetry);
    sections
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
