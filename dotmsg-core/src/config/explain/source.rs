//! Where an effective value comes from.

use std::fmt;

use serde::{Serialize, Serializer};

use super::super::Place;
use super::super::layers::{Layer, Origin};
use super::super::value::{self, Node, Table};

/// Where an effective value comes from. It is serialised as its text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// Nobody gave one.
    Default,
    /// Nobody gave one, and the default is another because of other keys: it gives way to a smaller limit around it.
    Derived,
    /// A default that the app sets in code ([`Config::default_value`](crate::config::Config::default_value)).
    CodeDefault,
    /// The chosen profile.
    Profile {
        /// Its name.
        name: String,
        /// The line.
        place: Place,
    },
    /// An attribute, a line of the file, a variable of the environment or the app's code.
    At(Place),
    /// The backend was given to the app open, whatever its URL.
    Open,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Derived => f.write_str("default, by other keys"),
            Self::CodeDefault => f.write_str("default set in code"),
            Self::Profile { name, place } => write!(f, "profile {name}, {place}"),
            Self::At(place) => place.fmt(f),
            Self::Open => f.write_str("open backend, given in code"),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The layers, to look values up in.
pub(super) struct Sources<'a> {
    layers: &'a [Layer],
    profile: Option<&'a str>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(layers: &'a [Layer], profile: Option<&'a str>) -> Self {
        Self { layers, profile }
    }

    /// The last layer that has a value for this key, which is the one that counts.
    pub(super) fn of(&self, section: &str, name: &str, key: &str) -> Source {
        let found = self.layers.iter().rev().find_map(|layer| {
            let table = value::table(value::table(&layer.table, section)?, name)?;
            Some((layer.origin, place(table, key)?))
        });
        match (found, self.profile) {
            (None, _) => Source::Default,
            (Some((Origin::CodeDefault, _)), _) => Source::CodeDefault,
            (Some((Origin::Profile, place)), Some(name)) => Source::Profile {
                name: name.to_owned(),
                place: place.clone(),
            },
            (Some((_, place)), _) => Source::At(place.clone()),
        }
    }
}

/// The place of a value by its dotted key, of which a part may have dots itself (`"session.timeout.ms" = 1`).
fn place<'t>(table: &'t Table, key: &str) -> Option<&'t Place> {
    table.iter().find_map(|(name, entry)| match &entry.node {
        Node::Leaf(_) => (name == key).then_some(&entry.place),
        Node::Table(below) => place(below, key.strip_prefix(name.as_str())?.strip_prefix('.')?),
    })
}
