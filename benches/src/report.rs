//! Prints the report: a table for people, one JSON object per line for programs.

use std::io::Write;
use std::process::ExitCode;

use serde::Serialize;

use crate::bars;

/// One line, measured. `null` where there is no such figure (no bar, no valgrind, no peer in this build).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) bench: &'static str,
    pub(crate) value: Option<f64>,
    pub(crate) unit: &'static str,
    pub(crate) bar: Option<f64>,
    pub(crate) goal: Option<f64>,
    pub(crate) reference: Option<f64>,
    /// Value by reference.
    pub(crate) ratio: Option<f64>,
    #[serde(skip)]
    pub(crate) missed: Option<bool>,
}

const HEAD: [&str; 8] = [
    "bench",
    "value",
    "unit",
    "bar",
    "goal",
    "reference",
    "ratio",
    "",
];

/// Writes the rows to standard output.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn print(rows: &[Row], json: bool) -> Result<(), String> {
    let text = if json { objects(rows)? } else { table(rows) };
    write!(std::io::stdout(), "{text}").map_err(|error| format!("cannot write the report: {error}"))
}

/// Says on standard error what is going on.
pub(crate) fn progress(step: &str) {
    // A report is worth more than its progress lines.
    let _ = writeln!(std::io::stderr(), "{step}");
}

/// Says on standard error why the program ends.
pub(crate) fn complain(message: &str) {
    progress(&format!("error: {message}"));
}

/// Names every line of this build.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn list() -> Result<ExitCode, String> {
    let names: String = bars::lines()
        .iter()
        .map(|line| format!("{}\n", line.name))
        .collect();
    write!(std::io::stdout(), "{names}")
        .map_err(|error| format!("cannot write the list: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

/// Says how to call the program.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn help() -> Result<ExitCode, String> {
    let text = "dotmsg-bench [--json] [--quick] [--enforce] [names...]   measure and report\n\
                dotmsg-bench --list                                      name every line\n";
    write!(std::io::stdout(), "{text}")
        .map_err(|error| format!("cannot write the help: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn objects(rows: &[Row]) -> Result<String, String> {
    let mut text = String::new();
    for row in rows {
        text += &serde_json::to_string(row)
            .map_err(|error| format!("cannot encode the report: {error}"))?;
        text.push('\n');
    }
    Ok(text)
}

fn table(rows: &[Row]) -> String {
    let cells = |row: &Row| {
        let verdict = match row.missed {
            Some(true) => "missed",
            Some(false) => "met",
            None => "",
        };
        let number = |value: Option<f64>| value.map(figure).unwrap_or_default();
        let ratio = row
            .ratio
            .map(|ratio| format!("{ratio:.2}"))
            .unwrap_or_default();
        [
            row.bench.to_owned(),
            row.value.map_or_else(|| "not measured".to_owned(), figure),
            row.unit.to_owned(),
            number(row.bar),
            number(row.goal),
            number(row.reference),
            ratio,
            verdict.to_owned(),
        ]
    };
    let body: Vec<[String; 8]> = std::iter::once(HEAD.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect();
    let width = |column: usize| body.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in &body {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            // Words to the left, numbers to the right.
            let padded = if matches!(column, 0 | 2 | 7) {
                format!("{cell:<width$}  ")
            } else {
                format!("{cell:>width$}  ")
            };
            line += &padded;
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// A number for people: thousands apart, and as many decimals as it deserves.
fn figure(value: f64) -> String {
    if value.abs() < 100.0 {
        let text = format!("{value:.3}");
        let short = text.trim_end_matches('0').trim_end_matches('.');
        return if short == "-0" {
            "0".to_owned()
        } else {
            short.to_owned()
        };
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{Row, figure, objects, table};

    fn row() -> Row {
        Row {
            bench: "bytes.instructions",
            value: Some(612.0),
            unit: "instructions/message",
            bar: Some(700.0),
            goal: None,
            reference: Some(785.0),
            ratio: Some(0.7796),
            missed: Some(false),
        }
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [
                figure(0.0),
                figure(-0.0001),
                figure(0.5),
                figure(99.25),
                figure(785.4),
                figure(3_000_000.0)
            ],
            ["0", "0", "0.5", "99.25", "785", "3,000,000"].map(str::to_owned)
        );
    }

    #[test]
    fn an_object_has_the_seven_keys() {
        let text = objects(&[row()]).unwrap();
        let object: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(text.trim()).unwrap();
        let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "bar",
                "bench",
                "goal",
                "ratio",
                "reference",
                "unit",
                "value"
            ]
        );
        assert!(object["goal"].is_null());
    }

    #[test]
    fn the_table_lines_up_and_gives_a_verdict() {
        let text = table(&[row()]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].find("unit"), lines[1].find("instructions/message"));
        assert!(lines[1].ends_with("0.78  met"));
    }
}
