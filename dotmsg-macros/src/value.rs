//! Values of the attribute: each is checked here, so that a wrong one is an error at its own place and not at start-up.

use std::time::Duration;

use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Lit, LitInt, LitStr, Result};

use crate::entry::{Entry, Value};

/// The longest name of a route: as for all names in the configuration.
const LONGEST_NAME: usize = 249;

/// A string that is not empty.
pub(crate) fn text(entry: &Entry) -> Result<LitStr> {
    let text = string(entry).ok_or_else(|| wrong(entry, "a string", "\"…\""))?;
    if text.value().trim().is_empty() {
        return Err(Error::new(text.span(), format!("`{}` is empty", entry.key)));
    }
    Ok(text)
}

/// A name under which file and environment can speak of a route.
pub(crate) fn route_name(entry: &Entry) -> Result<LitStr> {
    let text = text(entry)?;
    match wrong_in_name(&text.value()) {
        None => Ok(text),
        Some(why) => Err(Error::new(text.span(), why)),
    }
}

/// A bare key of TOML, and a part of a variable's name, where two underscores divide the parts. (It also has no colon, which
/// divides the parts of the ids that are derived from it.)
fn wrong_in_name(name: &str) -> Option<String> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if let Some(wrong) = name.chars().find(|c| !of_a_name(*c)) {
        return Some(format!(
            "`{name}` is not a name of a route, because of {wrong:?}: take letters a-z A-Z, digits, `_` and `-`"
        ));
    }
    if name.contains("__") || name.ends_with('_') {
        return Some(format!(
            "no variable `DOTMSG__ROUTES__…` could name the route `{name}`: take single underscores, and none at the end"
        ));
    }
    (name.len() > LONGEST_NAME)
        .then(|| format!("a name of a route has at most {LONGEST_NAME} characters"))
}

/// One of these words.
pub(crate) fn word(entry: &Entry, words: &[&str]) -> Result<LitStr> {
    let text =
        string(entry).ok_or_else(|| wrong(entry, "a string", &format!("\"{}\"", words[0])))?;
    let value = text.value();
    if words.contains(&value.as_str()) {
        return Ok(text);
    }
    let message = format!(
        "`{value}` is not a value of `{}`{}; it is one of {}",
        entry.key,
        did_you_mean(&value, words),
        names(words)
    );
    Err(Error::new(text.span(), message))
}

/// A duration such as `30s` that is not zero.
pub(crate) fn duration(entry: &Entry) -> Result<LitStr> {
    let text = string(entry).ok_or_else(|| wrong(entry, "a duration", "\"30s\""))?;
    parse_duration(&text)?;
    Ok(text)
}

/// A list of strictly ascending durations.
pub(crate) fn durations(entry: &Entry) -> Result<Vec<LitStr>> {
    let example = "[\"5s\", \"1m\"]";
    let Value::Expr(Expr::Array(array)) = &entry.value else {
        return Err(wrong(entry, "a list of durations", example));
    };
    let mut last = Duration::ZERO;
    let mut texts = Vec::new();
    for element in &array.elems {
        let text = as_string(element).ok_or_else(|| {
            let message = format!("`{}` takes durations, such as {example}", entry.key);
            Error::new(element.span(), message)
        })?;
        let duration = parse_duration(&text)?;
        if duration <= last {
            let message = format!(
                "tiers strictly ascend: `{}` is not longer than the tier before it",
                text.value()
            );
            return Err(Error::new(text.span(), message));
        }
        last = duration;
        texts.push(text);
    }
    Ok(texts)
}

/// A number of at least 1 that fits into the type `N`.
pub(crate) fn count<N>(entry: &Entry) -> Result<LitInt>
where
    N: std::str::FromStr + PartialEq + From<u8>,
    N::Err: std::fmt::Display,
{
    let Value::Expr(Expr::Lit(ExprLit {
        lit: Lit::Int(number),
        ..
    })) = &entry.value
    else {
        return Err(wrong(entry, "a number", "16"));
    };
    let value: N = number
        .base10_parse()
        .map_err(|error| Error::new(number.span(), format!("`{}`: {error}", entry.key)))?;
    if value == N::from(0) {
        let message = format!("`{}` is at least 1", entry.key);
        return Err(Error::new(number.span(), message));
    }
    Ok(number.clone())
}

/// The error of a value of another type than the key takes.
pub(crate) fn wrong(entry: &Entry, takes: &str, example: &str) -> Error {
    let key = &entry.key;
    let message = format!("`{key}` takes {takes}: `{key} = {example}`");
    Error::new(entry.value_span(), message)
}

/// The error of a word that is given a value.
pub(crate) fn wrong_word(entry: &Entry) -> Error {
    let key = &entry.key;
    let message = format!("`{key}` takes no value: write `{key}` alone");
    Error::new(entry.value_span(), message)
}

/// The error of a key that does not exist.
pub(crate) fn unknown_key(entry: &Entry, place: &str, keys: &[&str]) -> Error {
    let key = entry.key.to_string();
    let message = format!(
        "unknown key `{key}` in {place}{}; keys are {}",
        did_you_mean(&key, keys),
        names(keys)
    );
    Error::new(entry.key.span(), message)
}

fn string(entry: &Entry) -> Option<LitStr> {
    match &entry.value {
        Value::Expr(value) => as_string(value),
        _ => None,
    }
}

fn as_string(value: &Expr) -> Option<LitStr> {
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.clone()),
        // A literal that came through another macro is in a group without delimiters.
        Expr::Group(group) => as_string(&group.expr),
        _ => None,
    }
}

fn parse_duration(text: &LitStr) -> Result<Duration> {
    let value = text.value();
    let message = match humantime::parse_duration(&value) {
        Ok(Duration::ZERO) => {
            format!("`{value}` is no time at all; give a duration such as \"30s\"")
        }
        Ok(duration) => return Ok(duration),
        Err(error) => format!(
            "`{value}` is not a duration ({error}); write a number and a unit, such as \"100ms\", \"30s\", \"5m\", \"1h 30m\""
        ),
    };
    Err(Error::new(text.span(), message))
}

fn did_you_mean(given: &str, words: &[&str]) -> String {
    let nearest = words
        .iter()
        .map(|word| (strsim::jaro_winkler(given, word), word))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((_, word)) => format!(", did you mean `{word}`?"),
        None => String::new(),
    }
}

fn names(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}
