//! The closing table: what became of the rows.

use std::fmt;

use serde::Serialize;

/// What became of the rows, each counted once.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Table {
    /// Rows that are handled or dead.
    pub(crate) rows: usize,
    pub(crate) handled: usize,
    pub(crate) dead: usize,
    /// Dead letters of this kind.
    pub(crate) never_departed: usize,
    /// Dead letters of this kind.
    pub(crate) no_air_time: usize,
    pub(crate) miles: u64,
    /// Distinct tail numbers of the handled rows.
    pub(crate) aircraft: usize,
    /// Messages in `miles` and in the dead letters beyond the first of a row: what kills made a process do again.
    pub(crate) redelivered: usize,
    /// Rows that this process settled (or, if it only publishes, published) per second of its run.
    pub(crate) messages_per_second: u64,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: u64| writeln!(f, "{name:<18} {:>10}", grouped(value));
        line("rows", self.rows as u64)?;
        line("handled", self.handled as u64)?;
        line("dead", self.dead as u64)?;
        line("  never departed", self.never_departed as u64)?;
        line("  no air time", self.no_air_time as u64)?;
        line("miles", self.miles)?;
        line("aircraft", self.aircraft as u64)?;
        line("redelivered", self.redelivered as u64)?;
        match self.messages_per_second {
            0 => writeln!(f, "{:<18} {:>10}", "messages/s", "-"),
            rate => line("messages/s", rate),
        }
    }
}

/// The number with a comma before every third digit.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
