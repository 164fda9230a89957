//! Environment variables to a tree of values.
//!
//! `DOTMSG__BACKEND__MAIN__URL` is `backend.main.url`. Case does not matter: a part is spelled as the file, the code or a
//! handler spells it when one of them knows it, else in lower case.

use std::ffi::OsString;

use super::Place;
use super::errors::ConfigError;
use super::nearest::nearest;
use super::value::{self, Node, Table, Value};

const PREFIX: &str = "DOTMSG__";
const PROFILE: &str = "DOTMSG_PROFILE";

/// The variables that are ours, sorted by name.
pub(super) fn ours(vars: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut ours: Vec<_> = vars
        .into_iter()
        .filter(|(name, _)| {
            let name = name.to_ascii_uppercase();
            name.starts_with(PREFIX) || name == PROFILE || meant(&name).is_some()
        })
        .collect();
    ours.sort();
    ours
}

/// Variables as the system gives them, those that are no text apart: an error when they are ours, none of our business
/// else. (`std::env::vars` panics at any of them.)
pub(super) fn texts(
    vars: impl IntoIterator<Item = (OsString, OsString)>,
) -> (Vec<(String, String)>, Vec<String>) {
    let mut texts = Vec::new();
    let mut others = Vec::new();
    for (name, value) in vars {
        match (name.into_string(), value.into_string()) {
            (Ok(name), Ok(value)) => texts.push((name, value)),
            (name, _) => {
                let name = name.unwrap_or_else(|name| name.to_string_lossy().into_owned());
                others.push((name, String::new()));
            }
        }
    }
    let others = ours(others).into_iter().map(|(name, _)| name).collect();
    (ours(texts), others)
}

/// What a variable that is not ours was probably meant to be: with one underscore too few, or a misspelt profile. It would
/// be ignored, and the app would run on other settings than the operator thinks. `name` is in upper case.
fn meant(name: &str) -> Option<String> {
    let rest = name.strip_prefix("DOTMSG_")?;
    if rest.starts_with('_') || name == PROFILE {
        return None;
    }
    let section = ["BACKEND", "STORE", "ROUTES"].into_iter().find(|section| {
        rest.strip_prefix(section)
            .is_some_and(|key| key.starts_with('_'))
    });
    if section.is_some() {
        return Some(format!("{PREFIX}{rest}"));
    }
    nearest(rest, ["PROFILE"]).map(|_| PROFILE.to_owned())
}

/// The error of a variable that is no text.
pub(super) fn no_text(name: &str) -> ConfigError {
    let place = Place::Environment(name.into());
    ConfigError::new(&place, "", "its name or value is not valid UTF-8")
}

/// The profile that the environment names, and the variable.
pub(super) fn profile(vars: &[(String, String)]) -> Option<(&str, &str)> {
    vars.iter()
        .find(|(name, value)| name.eq_ignore_ascii_case(PROFILE) && !value.is_empty())
        .map(|(name, value)| (name.as_str(), value.as_str()))
}

/// The tree of all variables, spelled after `known`.
pub(super) fn tree(vars: &[(String, String)], known: &Table) -> (Table, Vec<ConfigError>) {
    let mut tree = Table::new();
    let mut errors = Vec::new();
    for (name, text) in vars {
        let upper = name.to_ascii_uppercase();
        let place = Place::Environment(name.as_str().into());
        if let Some(meant) = meant(&upper) {
            let message = format!("names no key. Did you mean `{meant}`?");
            errors.push(ConfigError::new(&place, "", message));
        }
        let Some(path) = upper.strip_prefix(PREFIX) else {
            continue;
        };
        let path: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        let dotted = path.join(".");
        if path.iter().any(String::is_empty) {
            let message = "empty part in the name. Parts are separated by two underscores, as in DOTMSG__BACKEND__MAIN__URL";
            errors.push(ConfigError::new(&place, dotted, message));
        } else if path == ["profile"] {
            let message = "a profile is chosen by DOTMSG_PROFILE, with one underscore";
            errors.push(ConfigError::new(&place, dotted, message));
        } else if path[0] == "profile" {
            let message = "a profile cannot be changed from the environment. Leave PROFILE__<name>__ out: the environment wins over every profile";
            errors.push(ConfigError::new(&place, dotted, message));
        } else {
            let path = spelled(path, known);
            let value = Value::Untyped(text.clone());
            if let Err(other) = value::insert(&mut tree, &path, value, &place) {
                let message = format!("contradicts {other}. Remove one of them");
                errors.push(ConfigError::new(&place, dotted, message));
            }
        }
    }
    (tree, errors)
}

/// Each part as the known tree spells it.
fn spelled(path: Vec<String>, known: &Table) -> Vec<String> {
    let mut level = Some(known);
    path.into_iter()
        .map(|part| {
            let found = level.and_then(|table| {
                table.get_key_value(&part).or_else(|| {
                    table
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(&part))
                })
            });
            level = found.and_then(|(_, entry)| match &entry.node {
                Node::Table(below) => Some(below),
                Node::Leaf(_) => None,
            });
            found.map_or(part, |(key, _)| key.clone())
        })
        .collect()
}
