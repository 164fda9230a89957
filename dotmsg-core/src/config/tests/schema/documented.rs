//! The reference file as descriptions and defaults, by dotted path.
//!
//! The comment right above a key or a table is its description. A key without one shares that of the key above it, and in
//! the table of another adapter that of the same key of the embedded log.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

const REFERENCE: &str = include_str!("../../../../../docs/reference.toml");

pub(super) struct Documented {
    comments: BTreeMap<String, String>,
    root: Json,
}

impl Documented {
    pub(super) fn of_the_reference_file() -> Self {
        let mut comments = BTreeMap::new();
        let (mut comment, mut table, mut last) = (String::new(), String::new(), String::new());
        for line in REFERENCE.lines() {
            if let Some(text) = line.strip_prefix('#') {
                comment.push(' ');
                comment.push_str(text.trim().trim_matches('-').trim());
                continue;
            }
            let text = std::mem::take(&mut comment);
            let text = text.trim();
            if let Some(header) = line.strip_prefix('[') {
                header.trim_end_matches(']').clone_into(&mut table);
                last.clear();
                comments.insert(table.clone(), text.to_owned());
            } else if let Some((key, _)) = line.split_once('=') {
                if !text.is_empty() {
                    text.clone_into(&mut last);
                }
                comments.insert(format!("{table}.{}", key.trim()), last.clone());
            }
        }
        let root = toml::from_str(REFERENCE).unwrap();
        Self { comments, root }
    }

    /// What stands above the first table of a section.
    pub(super) fn section(&self, section: &str) -> &str {
        let prefix = format!("{section}.");
        let mut of_section = self.comments.iter();
        let found = of_section.find(|(path, _)| path.starts_with(&prefix));
        found.map_or("", |(_, comment)| comment)
    }

    /// Adds description and default.
    pub(super) fn describe(&self, path: &str, schema: &mut Json) {
        let of_log = path.replace(".memory.", ".log.");
        let comments = [path, &of_log].into_iter();
        let mut comments = comments.filter_map(|path| self.comments.get(path));
        let comment = comments.find(|comment| !comment.is_empty());
        let comment = comment.map(String::as_str).unwrap_or_default();
        schema["description"] = json!(comment);
        let has_none = ["required", "example"]
            .iter()
            .any(|word| comment.starts_with(word));
        let value = self.root.pointer(&format!("/{}", path.replace('.', "/")));
        if let Some(default) = value.filter(|value| !value.is_object() && !has_none) {
            schema["default"] = default.clone();
        }
    }

    /// The keys of a table, with their defaults.
    pub(super) fn below(&self, table: &str) -> impl Iterator<Item = (&str, &Json)> {
        let table = self.root.pointer(&format!("/{}", table.replace('.', "/")));
        let table = table.and_then(Json::as_object).into_iter().flatten();
        table.map(|(key, value)| (&**key, value))
    }
}
