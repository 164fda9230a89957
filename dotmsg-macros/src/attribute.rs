//! The arguments of `#[handler(…)]`.
//!
//! All that is wrong is reported at once, and whatever is right is still expanded, so that one wrong key does not make
//! every use of the function an error of its own.

use proc_macro2::{Span, TokenStream};
use syn::parse::Parser;
use syn::{Error, LitInt, LitStr, Result, Type};

use crate::entry::{self, Entry, Value};
use crate::value;

const KEYS: &[&str] = &[
    "topic",
    "group",
    "name",
    "backend",
    "concurrency",
    "ordering",
    "timeout",
    "retry",
    "delivery",
    "start",
    "state",
    "batch",
];
const BATCH_KEYS: &[&str] = &["size", "linger"];
/// What the configuration says of a route and an attribute cannot: tables.
const CONFIG_TABLES: &[&str] = &["breaker", "crash_loop", "dedup", "park", "shed"];
/// And keys.
const CONFIG_KEYS: &[&str] = &[
    "batch_messages",
    "commit_interval",
    "drain_timeout",
    "limits",
    "max_header_bytes",
    "max_held_bytes",
    "max_held_messages",
    "max_key_bytes",
    "max_payload_bytes",
    "on_log_mismatch",
    "on_missing_position",
    "on_partition_growth",
    "workers",
];
const RETRY_KEYS: &[&str] = &["tiers", "order", "attempts"];

/// What the attribute says, every value checked.
#[derive(Default)]
pub(crate) struct Attribute {
    pub(crate) topic: Option<LitStr>,
    pub(crate) group: Option<LitStr>,
    pub(crate) name: Option<LitStr>,
    pub(crate) backend: Option<LitStr>,
    pub(crate) concurrency: Option<LitInt>,
    pub(crate) ordering: Option<LitStr>,
    pub(crate) timeout: Option<LitStr>,
    pub(crate) tiers: Option<Vec<LitStr>>,
    pub(crate) retry_order: Option<LitStr>,
    pub(crate) attempts: Option<LitInt>,
    pub(crate) delivery: Option<LitStr>,
    pub(crate) start: Option<LitStr>,
    pub(crate) state: Option<Type>,
    pub(crate) batch_size: Option<LitInt>,
    pub(crate) batch_linger: Option<LitStr>,
    /// Where `batch(…)` is.
    pub(crate) batch: Option<Span>,
}

/// Reads the arguments: what they say, and everything that is wrong with them. What they lack is an error at `place`.
pub(crate) fn parse(tokens: TokenStream, place: Span) -> (Attribute, Vec<Error>) {
    let mut attribute = Attribute::default();
    let mut errors = Vec::new();
    match entry::list.parse2(tokens) {
        Ok(entries) => {
            let given_twice = repeats(&entries);
            errors.extend(given_twice);
            for entry in &entries {
                errors.extend(attribute.take(entry));
            }
            if !entries.iter().any(|entry| entry.key == "topic") {
                let message = "the topic is missing: `#[handler(topic = \"…\")]`";
                errors.push(Error::new(place, message));
            }
        }
        Err(error) => errors.push(error),
    }
    (attribute, errors)
}

impl Attribute {
    fn take(&mut self, entry: &Entry) -> Vec<Error> {
        if entry.key == "retry" {
            return self.take_retry(entry);
        }
        if entry.key == "batch" {
            return self.take_batch(entry);
        }
        self.take_one(entry).err().into_iter().collect()
    }

    fn take_one(&mut self, entry: &Entry) -> Result<()> {
        match entry.key.to_string().as_str() {
            "topic" => self.topic = Some(value::text(entry)?),
            "group" => self.group = Some(value::text(entry)?),
            "name" => self.name = Some(value::route_name(entry)?),
            "backend" => self.backend = Some(value::text(entry)?),
            "concurrency" => self.concurrency = Some(value::count::<usize>(entry)?),
            "ordering" => {
                self.ordering = Some(value::word(entry, &["key", "partition", "none"])?);
            }
            "timeout" => self.timeout = Some(value::duration(entry)?),
            "delivery" => {
                let words = ["at_most_once", "at_least_once", "exactly_once"];
                self.delivery = Some(value::word(entry, &words)?);
            }
            "start" => self.start = Some(value::word(entry, &["earliest", "latest"])?),
            "state" => match &entry.value {
                Value::Type(state) => self.state = Some((**state).clone()),
                _ => return Err(value::wrong(entry, "a type", "AppState")),
            },
            key if RETRY_KEYS.contains(&key) => {
                let message = format!(
                    "`{key}` is a key of `retry`: write it in there, as `retry({key} = …)`"
                );
                return Err(Error::new(entry.key.span(), message));
            }
            key if BATCH_KEYS.contains(&key) => {
                let message = format!(
                    "`{key}` is a key of `batch`: write it in there, as `batch({key} = …)`"
                );
                return Err(Error::new(entry.key.span(), message));
            }
            key => return Err(elsewhere(entry, key)),
        }
        Ok(())
    }

    fn take_retry(&mut self, entry: &Entry) -> Vec<Error> {
        let Value::List(entries) = &entry.value else {
            let message = "`retry` takes a list: `retry(tiers = [\"5s\", \"1m\"], order = \"keep\", attempts = 1)`";
            return vec![Error::new(entry.value_span(), message)];
        };
        let mut errors = repeats(entries);
        errors.extend(
            entries
                .iter()
                .filter_map(|entry| self.take_one_of_retry(entry).err()),
        );
        errors
    }

    fn take_batch(&mut self, entry: &Entry) -> Vec<Error> {
        self.batch = Some(entry.key.span());
        let Value::List(entries) = &entry.value else {
            let message = "`batch` takes a list: `batch(size = 100, linger = \"50ms\")`";
            return vec![Error::new(entry.value_span(), message)];
        };
        let mut errors = repeats(entries);
        errors.extend(
            entries
                .iter()
                .filter_map(|entry| self.take_one_of_batch(entry).err()),
        );
        errors
    }

    fn take_one_of_batch(&mut self, entry: &Entry) -> Result<()> {
        match entry.key.to_string().as_str() {
            "size" => self.batch_size = Some(value::count::<usize>(entry)?),
            "linger" => self.batch_linger = Some(value::duration(entry)?),
            _ => return Err(value::unknown_key(entry, "`batch(…)`", BATCH_KEYS)),
        }
        Ok(())
    }

    fn take_one_of_retry(&mut self, entry: &Entry) -> Result<()> {
        match entry.key.to_string().as_str() {
            "tiers" => self.tiers = Some(value::durations(entry)?),
            "order" => self.retry_order = Some(value::word(entry, &["keep", "relax"])?),
            "attempts" => self.attempts = Some(value::count::<u32>(entry)?),
            key @ ("backoff" | "max_backoff") => {
                let message = format!(
                    "`{key}` is a key of the configuration and not of the attribute: write it in `[routes.<name>.retry]`"
                );
                return Err(Error::new(entry.key.span(), message));
            }
            _ => return Err(value::unknown_key(entry, "`retry(…)`", RETRY_KEYS)),
        }
        Ok(())
    }
}

/// A key that is none of the attribute: one of the configuration, or none at all.
fn elsewhere(entry: &Entry, key: &str) -> Error {
    let message = if CONFIG_TABLES.contains(&key) {
        format!(
            "`{key}` is a table of the configuration and not of the attribute: write it as `[routes.<name>.{key}]`"
        )
    } else if CONFIG_KEYS.contains(&key) {
        format!(
            "`{key}` is a key of the configuration and not of the attribute: write it in `[routes.<name>]`"
        )
    } else {
        return value::unknown_key(entry, "`#[handler(…)]`", KEYS);
    };
    Error::new(entry.key.span(), message)
}

/// The errors of keys that are there already.
pub(crate) fn repeats(entries: &[Entry]) -> Vec<Error> {
    let repeated = |(index, entry): (usize, &Entry)| {
        let earlier = &entries[..index];
        earlier
            .iter()
            .any(|other| other.key == entry.key)
            .then(|| Error::new(entry.key.span(), format!("`{}` is given twice", entry.key)))
    };
    entries.iter().enumerate().filter_map(repeated).collect()
}
