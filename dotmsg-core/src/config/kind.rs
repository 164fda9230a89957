//! What a key takes, and how its value is read.
//!
//! One function per kind both checks and reads, so that a value which passed the check is always readable.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;

use super::Value;
use super::nearest::nearest;
use crate::router::Rate;

/// The longest duration: long enough for any use, short enough that no clock overflows.
pub(super) const LONGEST: Duration = Duration::from_secs(3650 * 24 * 3600);

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A topic, group or backend name: what every broker takes.
    Name,
    /// A prefix of topic names; may be empty.
    Prefix,
    /// A URL with a scheme; a secret.
    Url,
    /// `true` or `false`.
    Boolean,
    /// A whole number in this range.
    Count { min: u64, max: u64 },
    /// A part of a whole such as 0.1: above 0, and at most 1.
    Fraction,
    /// A size such as `64MiB`, at least one byte.
    Bytes,
    /// A duration such as `5s`.
    Duration { zero: bool },
    /// A duration or `none`.
    Limit,
    /// Ascending durations.
    Tiers,
    /// Messages in a time, such as `100/s`.
    Rate,
    /// Names of limits, each once.
    Names,
    /// An address and a port to listen on, or `none`.
    Listen,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Kind {
    /// What is wrong with the value, if anything.
    pub(super) fn check(self, value: &Value) -> Result<(), String> {
        match self {
            Self::Name => name(value).map(drop),
            Self::Prefix => prefix(value).map(drop),
            Self::Url => url(value).map(drop),
            Self::Boolean => boolean(value).map(drop),
            Self::Count { min, max } => count(value, min, max).map(drop),
            Self::Fraction => fraction_ppm(value).map(drop),
            Self::Bytes => bytes(value).map(drop),
            Self::Duration { zero } => duration(value, zero).map(drop),
            Self::Limit => limit(value).map(drop),
            Self::Tiers => tiers(value).map(drop),
            Self::Rate => rate(value).map(drop),
            Self::Names => names(value).map(drop),
            Self::Listen => listen(value).map(drop),
            Self::Word(words) => word(value, words).map(drop),
        }
    }
}

/// The text of a string.
pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) | Value::Untyped(text) => Some(text),
        _ => None,
    }
}

/// A topic, group or backend name.
pub(super) fn name(value: &Value) -> Result<&str, String> {
    let text = prefix(value)?;
    match text {
        "" => Err("empty; a name has 1 to 249 characters".into()),
        "." | ".." => Err(format!(
            "`{text}` is no name: brokers keep it for themselves"
        )),
        _ => Ok(text),
    }
}

/// The name of a route, which may be that of a function. A dot would divide it in a key, a colon in a derived id.
pub(super) fn route_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a route needs a name".into());
    }
    match name
        .chars()
        .find(|c| !(c.is_alphanumeric() || matches!(c, '_' | '-')))
    {
        Some(wrong) => Err(format!(
            "the name of a route has the character {wrong:?}; allowed are letters, digits, `_` and `-`"
        )),
        None => Ok(()),
    }
}

/// Characters that every broker takes in a topic name.
pub(super) fn prefix(value: &Value) -> Result<&str, String> {
    let text = text(value).ok_or_else(|| expected("a string", value))?;
    if let Some(wrong) = text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
    {
        return Err(format!(
            "has the character {wrong:?}; allowed are letters a-z A-Z, digits, `.`, `_` and `-`"
        ));
    }
    if text.len() > 249 {
        return Err(format!(
            "{} characters; at most 249 are allowed",
            text.len()
        ));
    }
    Ok(text)
}

/// A URL; errors never show it.
pub(super) fn url(value: &Value) -> Result<&str, String> {
    const EXAMPLE: &str = "such as `memory:` or `log:./path`";
    let text = text(value)
        .ok_or_else(|| format!("expected a URL {EXAMPLE}, found {}", value.type_name()))?;
    if text.is_empty() {
        return Err(format!("empty; expected a URL {EXAMPLE}"));
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a URL has no spaces or control characters. Percent-encode them".into());
    }
    match text.split_once(':') {
        Some((scheme, _)) if is_scheme(scheme) => Ok(text),
        _ => Err(format!("the URL has no scheme; expected one {EXAMPLE}")),
    }
}

fn is_scheme(scheme: &str) -> bool {
    scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.'))
}

/// `true` or `false`.
pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Boolean(boolean) => Ok(*boolean),
        Value::Untyped(text) => text.parse().map_err(|_| expected("true or false", value)),
        _ => Err(expected("true or false", value)),
    }
}

/// A whole number in a range.
pub(super) fn count(value: &Value, min: u64, max: u64) -> Result<u64, String> {
    let number = match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Untyped(text) => text.parse().ok(),
        _ => None,
    };
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| expected(&format!("a whole number from {min} to {max}"), value))
}

/// A part of a whole, in millionths.
pub(super) fn fraction_ppm(value: &Value) -> Result<u32, String> {
    const MILLION: f64 = 1e6;
    let number = match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        Value::Untyped(text) => text.parse().ok(),
        _ => None,
    };
    number
        .map(|number| (number * MILLION).round())
        .filter(|millionths| (1.0..=MILLION).contains(millionths))
        .map(|millionths| millionths as u32)
        .ok_or_else(|| {
            expected(
                "a number above 0 and at most 1, such as 0.1 (the smallest is 0.000001)",
                value,
            )
        })
}

/// A size in bytes.
pub(super) fn bytes(value: &Value) -> Result<usize, String> {
    let size = match value {
        Value::Integer(number) => u64::try_from(*number).ok(),
        Value::Text(text) | Value::Untyped(text) => {
            text.parse::<ByteSize>().ok().map(|size| size.as_u64())
        }
        _ => None,
    };
    size.filter(|size| *size > 0)
        .and_then(|size| usize::try_from(size).ok())
        .ok_or_else(|| {
            expected(
                "a size above zero such as \"64MiB\", or bytes as a number",
                value,
            )
        })
}

/// A duration.
pub(super) fn duration(value: &Value, zero: bool) -> Result<Duration, String> {
    const WHAT: &str = "a duration with its unit such as \"200ms\", \"5s\" or \"1m30s\"";
    let found = text(value)
        .and_then(|text| humantime::parse_duration(text).ok())
        .ok_or_else(|| expected(WHAT, value))?;
    if found.is_zero() && !zero {
        return Err("zero; it must be longer".into());
    }
    if found > LONGEST {
        return Err(format!("{} is longer than ten years", value.shown()));
    }
    Ok(found)
}

/// A duration, or `none`.
pub(super) fn limit(value: &Value) -> Result<Option<Duration>, String> {
    if text(value) == Some("none") {
        return Ok(None);
    }
    let near = || text(value).is_some_and(|text| nearest(text, ["none"]).is_some());
    duration(value, false)
        .map(Some)
        .map_err(|error| match error.strip_prefix("expected ") {
            Some(rest) if near() => format!("expected \"none\" or {rest}. Did you mean \"none\"?"),
            Some(rest) => format!("expected \"none\" or {rest}"),
            None => format!("{error}. \"none\" means no limit"),
        })
}

/// The delays of the tiers.
pub(super) fn tiers(value: &Value) -> Result<Vec<Duration>, String> {
    let items = list(value, "a list of durations such as [\"5s\", \"1m\"]")?;
    let mut tiers: Vec<Duration> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let number = index + 1;
        let delay = duration(item, false).map_err(|error| format!("tier {number}: {error}"))?;
        if delay.subsec_nanos() % 1_000_000 != 0 {
            return Err(format!(
                "tier {number}: {} is not a whole number of milliseconds",
                item.shown()
            ));
        }
        if tiers.last().is_some_and(|before| *before >= delay) {
            return Err(format!(
                "tier {number} ({}) is not longer than tier {index} ({}); tiers strictly ascend",
                item.shown(),
                items[index - 1].shown()
            ));
        }
        tiers.push(delay);
    }
    Ok(tiers)
}

/// Messages in a time.
pub(super) fn rate(value: &Value) -> Result<Rate, String> {
    text(value)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            expected(
                "a rate such as \"100/s\": messages, 1000000000 at most, per s, m, h or d",
                value,
            )
        })
}

/// Names, sorted.
pub(super) fn names(value: &Value) -> Result<Vec<String>, String> {
    let items = list(value, "a list of names such as [\"database\"]")?;
    let mut names: Vec<String> = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let name = name(item).map_err(|error| format!("name {}: {error}", index + 1))?;
        if names.iter().any(|known| known == name) {
            return Err(format!("`{name}` stands in it twice. Remove one of them"));
        }
        names.push(name.to_owned());
    }
    names.sort();
    Ok(names)
}

/// An address and a port, or `none`.
pub(super) fn listen(value: &Value) -> Result<Option<SocketAddr>, String> {
    match text(value) {
        Some("none") => Ok(None),
        Some(text) if text.parse::<SocketAddr>().is_ok() => Ok(text.parse().ok()),
        Some(_) | None => Err(expected(
            "\"none\", or an address with a port such as \"127.0.0.1:9464\" or \"0.0.0.0:9464\"",
            value,
        )),
    }
}

/// The items of a list, which is `what`.
fn list<'a>(value: &'a Value, what: &str) -> Result<Cow<'a, [Value]>, String> {
    match value {
        Value::List(items) => Ok(Cow::Borrowed(items)),
        Value::Untyped(text) => Ok(Cow::Owned(split_list(text))),
        _ => Err(expected(what, value)),
    }
}

/// `5s,1m` and `["5s", "1m"]` both.
fn split_list(text: &str) -> Vec<Value> {
    let text = text.trim();
    let inner = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    if inner.trim().is_empty() {
        return Vec::new();
    }
    inner
        .split(',')
        .map(|item| Value::from(item.trim().trim_matches('"')))
        .collect()
}

/// The index of one of these words.
pub(super) fn word(value: &Value, words: &[&str]) -> Result<usize, String> {
    let found = text(value);
    if let Some(index) = words.iter().position(|word| Some(*word) == found) {
        return Ok(index);
    }
    let mut error = expected(&format!("one of {}", words.join(", ")), value);
    if let Some(near) = found.and_then(|found| nearest(found, words.iter().copied())) {
        error.push_str(&format!(". Did you mean `{near}`?"));
    }
    Err(error)
}

fn expected(what: &str, value: &Value) -> String {
    format!("expected {what}, found {}", value.shown())
}
