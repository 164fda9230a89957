//! Values and the tree they form, each with its place.
//!
//! A value may be a secret, so nothing here prints one: `Debug` tells the type only.

use std::collections::BTreeMap;
use std::fmt;

use super::Place;

/// A value before its key says what it means.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A string.
    Text(String),
    /// Text without a type of its own, as in an environment variable: the key decides what it is read as.
    Untyped(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A list.
    List(Vec<Value>),
    /// Something no key takes, by the name of its type.
    Other(&'static str),
}

impl Value {
    /// The name of its type, for errors.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Untyped(_) => "a string",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "a boolean",
            Self::List(_) => "a list",
            Self::Other(name) => name,
        }
    }

    /// The value itself, shortened, for errors about keys that hold no secret.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Untyped(text) => {
                let mut short: String = text.chars().take(40).collect();
                if short.len() < text.len() {
                    short.push('…');
                }
                format!("{short:?}")
            }
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::List(_) | Self::Other(_) => self.type_name().to_owned(),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.type_name())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl<const N: usize> From<[&str; N]> for Value {
    fn from(texts: [&str; N]) -> Self {
        Self::List(texts.into_iter().map(Self::from).collect())
    }
}

/// What stands under a key.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Leaf(Value),
    Table(Table),
}

/// What stands under a key, and where it was given.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) node: Node,
}

/// A table by key.
pub(super) type Table = BTreeMap<String, Entry>;

/// Lays `over` on `base`: tables are merged, anything else is replaced. A leaf never replaces a table: that is a mistake,
/// which the walk reports, and losing the table would add errors about what it held.
pub(super) fn merge(base: &mut Table, over: &Table) {
    for (key, entry) in over {
        match (base.get_mut(key).map(|below| &mut below.node), &entry.node) {
            (Some(Node::Table(below)), Node::Table(above)) => merge(below, above),
            (Some(Node::Table(_)), Node::Leaf(_)) => {}
            _ => {
                base.insert(key.clone(), entry.clone());
            }
        }
    }
}

/// Puts a leaf at a path, making the tables on the way; the place of the path's first part that is no table is the error.
pub(super) fn insert(
    table: &mut Table,
    path: &[String],
    value: Value,
    place: &Place,
) -> Result<(), Place> {
    let [first, rest @ ..] = path else {
        return Ok(());
    };
    if rest.is_empty() {
        return match table.get(first) {
            Some(taken) => Err(taken.place.clone()),
            None => {
                let node = Node::Leaf(value);
                let place = place.clone();
                table.insert(first.clone(), Entry { place, node });
                Ok(())
            }
        };
    }
    let entry = table.entry(first.clone()).or_insert_with(|| Entry {
        place: place.clone(),
        node: Node::Table(Table::new()),
    });
    match &mut entry.node {
        Node::Table(below) => insert(below, rest, value, place),
        Node::Leaf(_) => Err(entry.place.clone()),
    }
}

/// The table under `key`, when there is one.
pub(super) fn table<'a>(within: &'a Table, key: &str) -> Option<&'a Table> {
    match &within.get(key)?.node {
        Node::Table(table) => Some(table),
        Node::Leaf(_) => None,
    }
}
