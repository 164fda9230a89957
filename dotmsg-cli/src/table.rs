//! Rows under names, in columns.

use std::io::{self, Write};

/// A table for people: columns as wide as what they hold, numbers to the right.
#[derive(Debug)]
pub(crate) struct Table {
    names: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(names: &[&'static str]) -> Self {
        let names = names.to_vec();
        let rows = Vec::new();
        Self { names, rows }
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let row: Vec<String> = cells.into_iter().collect();
        debug_assert_eq!(row.len(), self.names.len(), "a cell for each column");
        self.rows.push(row);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Writes it; nothing of a table without rows.
    pub(crate) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.is_empty() {
            return Ok(());
        }
        let columns: Vec<Column> = (0..self.names.len()).map(|at| self.column(at)).collect();
        let names: Vec<String> = self.names.iter().map(|name| (*name).to_owned()).collect();
        for row in [&names].into_iter().chain(&self.rows) {
            let cells = row
                .iter()
                .zip(&columns)
                .map(|(cell, column)| column.pad(cell));
            let line: Vec<String> = cells.collect();
            writeln!(out, "{}", line.join("  ").trim_end())?;
        }
        Ok(())
    }

    fn column(&self, at: usize) -> Column {
        let cells = self.rows.iter().map(|row| &*row[at]);
        let width = cells.clone().chain([self.names[at]]);
        Column {
            width: width.map(|cell| cell.chars().count()).max().unwrap_or(0),
            to_the_right: cells.clone().all(is_number),
        }
    }
}

struct Column {
    width: usize,
    to_the_right: bool,
}

impl Column {
    fn pad(&self, cell: &str) -> String {
        let width = self.width;
        match self.to_the_right {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        }
    }
}

/// A number, or what stands for one that is not known.
fn is_number(cell: &str) -> bool {
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.')
    };
    matches!(cell, "-" | "?") || !cell.is_empty() && number(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_lines_end_with_their_text() {
        let mut table = Table::new(&["partition", "key", "why"]);
        table.row(["0".to_owned(), "a".to_owned(), "broken".to_owned()]);
        table.row(["11".to_owned(), "long key".to_owned(), String::new()]);
        let mut out = Vec::new();
        table.write(&mut out).unwrap();
        let expected =
            "partition  key       why\n        0  a         broken\n       11  long key\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
