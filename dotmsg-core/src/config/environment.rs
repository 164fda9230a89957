//! Environment variables to a tree of values.
//!
//! `DOTMSG__BACKEND__MAIN__URL` is `backend.main.url`. Case does not matter: a part is spelled as the file, the code or a
//! handler spells it when one of them knows it, else in lower case.
//!
//! A variable that merely begins with `DOTMSG_` sets nothing. One that is nearly right is an error: a service that runs on
//! the development data because of a missing letter is the worst of all. Any other is warned of and may stay, since other
//! tools name variables too (Kubernetes makes `DOTMSG_SERVICE_HOST` of a service `dotmsg`).

use std::ffi::OsString;

use super::Place;
use super::errors::ConfigError;
use super::keys;
use super::value::{self, Node, Table, Value};

const PREFIX: &str = "DOTMSG__";
const PROFILE: &str = "DOTMSG_PROFILE";
/// What our variables and those that resemble them begin with.
const STEM: &str = "DOTMSG_";

/// The variables that are ours, sorted by name.
pub(super) fn ours(vars: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
    let mut ours: Vec<_> = vars
        .into_iter()
        .filter(|(name, _)| is_ours(&name.to_ascii_uppercase()))
        .collect();
    ours.sort();
    ours
}

fn is_ours(upper: &str) -> bool {
    upper.starts_with(PREFIX) || upper == PROFILE
}

/// The names that begin like ours and are none, sorted.
pub(super) fn foreign<'n>(names: impl Iterator<Item = &'n String>) -> Vec<String> {
    let mut foreign: Vec<String> = names
        .filter(|name| {
            let upper = name.to_ascii_uppercase();
            upper.starts_with(STEM) && !is_ours(&upper)
        })
        .cloned()
        .collect();
    foreign.sort();
    foreign
}

/// The error of a foreign name that is nearly one of ours.
pub(super) fn mistaken(name: &str) -> Option<ConfigError> {
    let meant = meant(&name.to_ascii_uppercase())?;
    let message = format!("names no key. Did you mean {meant}?");
    let place = Place::Environment(name.into());
    Some(ConfigError::new(&place, "", message))
}

fn meant(upper: &str) -> Option<String> {
    if strsim::damerau_levenshtein(upper, PROFILE) <= 1 {
        return Some(PROFILE.to_owned());
    }
    let rest = upper.strip_prefix(STEM)?;
    let (section, key) = rest.split_once("__")?;
    let section = keys::SECTIONS.iter().find(|known| {
        let known = known.to_ascii_uppercase();
        strsim::damerau_levenshtein(section, &known) <= 1
    })?;
    let section = section.to_ascii_uppercase();
    Some(format!(
        "{PREFIX}{section}__{key}, with two underscores after DOTMSG"
    ))
}

/// One line for all that are not mistaken for ours.
pub(super) fn warn_of_foreign(names: &[String]) {
    let names: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| mistaken(name).is_none())
        .collect();
    if !names.is_empty() {
        tracing::warn!(
            variables = names.join(", "),
            "environment variables that begin with DOTMSG_ and set nothing; a key is set by DOTMSG__SECTION__NAME__KEY, a profile is chosen by DOTMSG_PROFILE"
        );
    }
}

/// Variables as the system gives them, and the names of ours that are no text: those are errors, others none of our business. (`std::env::vars` panics at any of them.)
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
    (texts, others)
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
        let Some(path) = upper.strip_prefix(PREFIX) else {
            continue;
        };
        let place = Place::Environment(name.as_str().into());
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
