//! TOML text to a tree of values with their lines.
//!
//! The parser's own display quotes the source line, which may hold a password: only its message and line are used.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::Place;
use super::errors::{ConfigError, ConfigErrors};
use super::value::{Entry, Node, Table, Value};

/// Parses a whole document; every syntax error is listed.
pub(super) fn parse(name: &str, text: &str) -> Result<Table, ConfigErrors> {
    let document = Document {
        name: name.into(),
        line_starts: std::iter::once(0)
            .chain(text.match_indices('\n').map(|(index, _)| index + 1))
            .collect(),
    };
    let (root, errors) = DeTable::parse_recoverable(text);
    let errors = errors
        .iter()
        .map(|error| {
            let at = error.span().map_or(0, |span| span.start);
            ConfigError::new(
                &document.place(at),
                "",
                format!("not valid TOML: {}", error.message()),
            )
        })
        .collect();
    ConfigErrors::unless_any(errors, document.table(root.get_ref()))
}

struct Document {
    name: Arc<str>,
    line_starts: Vec<usize>,
}

impl Document {
    fn place(&self, offset: usize) -> Place {
        Place::File {
            name: Arc::clone(&self.name),
            line: Some(self.line_starts.partition_point(|start| *start <= offset)),
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        table
            .iter()
            .map(|(key, value)| {
                let place = self.place(key.span().start);
                let node = match value.get_ref() {
                    DeValue::Table(below) => Node::Table(self.table(below)),
                    leaf => Node::Leaf(value_of(leaf)),
                };
                (key.get_ref().to_string(), Entry { place, node })
            })
            .collect()
    }
}

fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Other("a number out of range"), Value::Integer),
        DeValue::Boolean(boolean) => Value::Boolean(*boolean),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| value_of(item.get_ref())).collect())
        }
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .map_or(Value::Other("a number out of range"), Value::Float),
        DeValue::Datetime(_) => Value::Other("a date"),
        DeValue::Table(_) => Value::Other("a table"),
    }
}
