//! What each kind of key takes, as a schema. A pattern takes whatever the code takes, and as little else as a pattern can.

use serde_json::{Value as Json, json};

use super::super::super::kind::Kind;
use crate::backend::WrongSetting;
use crate::log::check_setting;

/// Topics, groups, backends, stores, limits.
pub(super) const NAME: &str = r"^(\.*[A-Za-z0-9_-][A-Za-z0-9._-]*|\.{3,})$";
/// Letters of any script, which patterns of editors have no common word for.
pub(super) const ROUTE_NAME: &str = r"^[^\s.:,;/\\]+$";
const PREFIX: &str = "^[A-Za-z0-9._-]*$";
const URL: &str = r"^[a-z][a-z0-9+.-]*:\S*$";
const SIZE: &str = r"^[0-9]+(\.[0-9]*)?\s*([KkMmGgTtPpEe]([Ii]?[Bb]|[Ii])?|[Bb])?$";
const RATE: &str = "^0*[1-9][0-9]*/[smhd]$";
/// An address of the fourth or sixth version, and a port.
const LISTEN: &str =
    r"^(none|([0-9]{1,3}\.){3}[0-9]{1,3}:[0-9]{1,5}|\[[0-9A-Fa-f:.]+(%[0-9]+)?\]:[0-9]{1,5})$";
const UNITS: &str = "nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds|second|secs|sec|s|minutes|minute|mins|min|m|hours|hour|hrs|hr|h|days|day|d|weeks|week|wks|wk|w|months|month|M|years|year|yrs|yr|y";

pub(super) fn schema(kind: Kind) -> Json {
    match kind {
        Kind::Name => json!({ "type": "string", "pattern": NAME, "maxLength": 249 }),
        Kind::Prefix => json!({ "type": "string", "pattern": PREFIX, "maxLength": 249 }),
        Kind::Url => json!({ "type": "string", "pattern": URL }),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        // Half of a millionth is rounded up.
        Kind::Fraction => json!({ "type": "number", "minimum": 5e-7, "maximum": 1.0 }),
        Kind::Bytes => json!({
            "anyOf": [
                { "type": "string", "pattern": SIZE },
                { "type": "integer", "minimum": 1 },
            ],
        }),
        Kind::Duration { .. } => json!({ "type": "string", "pattern": duration("") }),
        Kind::Limit => json!({ "type": "string", "pattern": duration("none|") }),
        Kind::Tiers => json!({
            "type": "array",
            "items": { "type": "string", "pattern": duration("") },
            "uniqueItems": true,
        }),
        Kind::Rate => json!({ "type": "string", "pattern": RATE }),
        Kind::Names => json!({
            "type": "array",
            "items": { "type": "string", "pattern": NAME, "maxLength": 249 },
            "uniqueItems": true,
        }),
        Kind::Listen => json!({ "type": "string", "pattern": LISTEN }),
        Kind::Word(words) => json!({ "enum": words }),
    }
}

fn duration(other: &str) -> String {
    format!(r"^({other}\s*0\s*|\s*([0-9]+(\.[0-9]+)?\s*({UNITS})\s*)+)$")
}

/// A setting of an adapter, by its default: it is handed over as text, so a number may stand for one.
pub(super) fn setting(adapter: &str, key: &str, default: &Json) -> Json {
    match (default, words(adapter, key)) {
        (_, Some(words)) => json!({ "enum": words }),
        (Json::Bool(_), _) => json!({ "enum": [true, false, "true", "false"] }),
        (Json::Number(_), _) => json!({ "type": ["integer", "string"] }),
        _ => json!({ "type": ["string", "integer"] }),
    }
}

/// The words that a setting of the embedded log takes, out of what it says about a wrong one.
fn words(adapter: &str, key: &str) -> Option<Vec<String>> {
    if adapter == "kafka" {
        return None;
    }
    let Err(WrongSetting::Expected(possible)) = check_setting(key, "?") else {
        panic!("{key} takes anything");
    };
    let words: Vec<String> = possible
        .split(" or ")
        .flat_map(|part| part.split(", "))
        .map(str::to_owned)
        .collect();
    let is_flag = words == ["true", "false"];
    let all = words.iter().all(|word| check_setting(key, word).is_ok());
    (all && !is_flag).then_some(words)
}
