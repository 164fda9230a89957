//! Headers: an ordered multi-map from names to optional bytes.
//!
//! Brokers differ (Kafka allows repeats and null values, AMQP has typed tables); the ordered multi-map with nullable
//! values is the form that loses nothing. No headers cost no allocation, and a clone shares the list, because most
//! messages are passed on unchanged.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;

use super::ID_HEADER;

/// The name of a header: UTF-8, compared byte by byte.
pub type HeaderName = Arc<str>;

type Entry = (HeaderName, Option<Bytes>);

/// An ordered multi-map of header names to optional values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<Vec<Entry>>>);

impl Headers {
    /// No headers. Allocates nothing.
    #[must_use]
    pub fn new() -> Self {
        Self(None)
    }

    /// How many entries, repeats counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// Bytes of all names and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.entries()
            .iter()
            .map(|(name, value)| name.len() + value.as_ref().map_or(0, Bytes::len))
            .sum()
    }

    /// Adds an entry at the end, also when the name is there already. `None` is a null value.
    pub fn append(&mut self, name: impl Into<HeaderName>, value: Option<Bytes>) {
        self.entries_mut().push((name.into(), value));
    }

    /// Replaces every entry of that name by this one, in the place of the first, or adds it at the end.
    pub fn insert(&mut self, name: &str, value: Option<Bytes>) {
        let entries = self.entries_mut();
        match entries.iter().position(|(have, _)| &**have == name) {
            Some(first) => {
                entries[first].1 = value;
                let mut index = 0;
                entries.retain(|(have, _)| {
                    index += 1;
                    index - 1 <= first || &**have != name
                });
            }
            None => entries.push((name.into(), value)),
        }
    }

    /// Sets the identity. Its name is shared by all messages, and a list of nothing else is made in one step.
    pub(super) fn identify(&mut self, id: Bytes) {
        static NAME: LazyLock<HeaderName> = LazyLock::new(|| ID_HEADER.into());
        match self.is_empty() {
            true => *self = Self(Some(Arc::new(vec![(Arc::clone(&NAME), Some(id))]))),
            false => self.insert(ID_HEADER, Some(id)),
        }
    }

    /// Removes every entry that `drop` says yes to.
    pub fn remove_where(&mut self, drop: impl Fn(&str) -> bool) {
        if self.entries().iter().any(|(name, _)| drop(name)) {
            self.entries_mut().retain(|(name, _)| !drop(name));
        }
    }

    /// The *last* non-null value of that name (a later header overrides an earlier one).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.entries()
            .iter()
            .rev()
            .find(|(have, _)| &**have == name)
            .and_then(|(_, value)| value.as_ref())
    }

    /// The last value of that name as UTF-8 text.
    #[must_use]
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Copies the values out of whatever larger buffer they are slices of.
    pub(super) fn detach(&mut self) {
        if self.is_empty() {
            return;
        }
        for value in self
            .entries_mut()
            .iter_mut()
            .filter_map(|entry| entry.1.as_mut())
        {
            *value = Bytes::copy_from_slice(value);
        }
    }

    /// All entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&Bytes>)> {
        self.entries()
            .iter()
            .map(|(name, value)| (&**name, value.as_ref()))
    }

    fn entries(&self) -> &[Entry] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    fn entries_mut(&mut self) -> &mut Vec<Entry> {
        Arc::make_mut(self.0.get_or_insert_with(Arc::default))
    }
}

impl<N: Into<HeaderName>> FromIterator<(N, Option<Bytes>)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, Option<Bytes>)>>(entries: I) -> Self {
        let entries: Vec<Entry> = entries
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect();
        Self((!entries.is_empty()).then(|| Arc::new(entries)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> Option<Bytes> {
        Some(Bytes::from(text))
    }

    #[test]
    fn repeats_keep_their_order_and_the_last_one_is_found() {
        let mut headers = Headers::new();
        headers.append("a", value("1"));
        headers.append("b", None);
        headers.append("a", value("2"));
        assert_eq!(headers.get("a"), Some(&Bytes::from("2")));
        let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "b", "a"]);
    }

    #[test]
    fn insert_replaces_every_repeat_in_the_first_place() {
        let mut headers = Headers::new();
        for (name, text) in [("a", "1"), ("b", "2"), ("a", "3"), ("c", "4"), ("a", "5")] {
            headers.append(name, value(text));
        }
        headers.insert("a", value("9"));
        let all: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name, &value.unwrap()[..]))
            .collect();
        assert_eq!(all, [("a", &b"9"[..]), ("b", b"2"), ("c", b"4")]);
    }

    #[test]
    fn a_clone_is_not_changed_by_its_original() {
        let mut headers = Headers::new();
        headers.append("a", value("1"));
        let before = headers.clone();
        headers.insert("a", value("2"));
        assert_eq!(before.get_str("a"), Some("1"));
    }
}
