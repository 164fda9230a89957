//! As much of JSON Schema as `docs/dotmsg.schema.json` uses; a keyword that is not known here ends the test.
//!
//! The validators there are bring an HTTP client or the tables of Unicode along, some forty crates for one test.

use regex_lite::Regex;
use serde_json::Value as Json;

/// What is wrong with a value, each with its path.
pub(super) fn errors(root: &Json, value: &Json) -> Vec<String> {
    let mut errors = Vec::new();
    check(root, root, value, "", &mut errors);
    errors
}

fn check(root: &Json, schema: &Json, value: &Json, at: &str, errors: &mut Vec<String>) {
    let keywords = match schema {
        Json::Bool(true) => return,
        Json::Bool(false) => return errors.push(format!("{at}: not known")),
        _ => schema.as_object().expect("a schema"),
    };
    for (keyword, argument) in keywords {
        let fits = match &**keyword {
            "$schema" | "title" | "description" | "default" | "definitions" => true,
            "$ref" => {
                let target = argument.as_str().and_then(|path| path.strip_prefix('#'));
                let target = target.and_then(|path| root.pointer(path));
                check(root, target.expect("a definition"), value, at, errors);
                true
            }
            "type" => match argument {
                Json::Array(types) => types.iter().any(|one| is_of(value, one)),
                one => is_of(value, one),
            },
            "enum" => argument.as_array().unwrap().contains(value),
            "pattern" => value.as_str().is_none_or(|text| matches(argument, text)),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 <= argument.as_u64().unwrap()),
            "minimum" => value
                .as_f64()
                .is_none_or(|number| number >= argument.as_f64().unwrap()),
            "maximum" => value
                .as_f64()
                .is_none_or(|number| number <= argument.as_f64().unwrap()),
            "uniqueItems" => value.as_array().is_none_or(|items| {
                (1..items.len()).all(|index| !items[..index].contains(&items[index]))
            }),
            "anyOf" => argument.as_array().unwrap().iter().any(|one| {
                let mut wrong = Vec::new();
                check(root, one, value, at, &mut wrong);
                wrong.is_empty()
            }),
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    check(root, argument, item, at, errors);
                }
                true
            }
            "propertyNames" => {
                for name in value.as_object().into_iter().flat_map(|table| table.keys()) {
                    check(
                        root,
                        argument,
                        &Json::from(&**name),
                        &format!("{at}.{name}"),
                        errors,
                    );
                }
                true
            }
            "properties" => {
                for (name, below) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = argument.get(name) {
                        check(root, schema, below, &format!("{at}.{name}"), errors);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                for (name, below) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| known.get(name).is_none()) {
                        check(root, argument, below, &format!("{at}.{name}"), errors);
                    }
                }
                true
            }
            other => panic!("unknown keyword {other}"),
        };
        if !fits {
            errors.push(format!("{at}: {keyword}"));
        }
    }
}

fn is_of(value: &Json, name: &Json) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("unknown type {other}"),
    }
}

pub(super) fn matches(pattern: &Json, text: &str) -> bool {
    Regex::new(pattern.as_str().unwrap())
        .unwrap()
        .is_match(text)
}
