//! The resolved configuration as a TOML file, the sources as comments behind the values.

use std::fmt;

use super::effective::quoted;
use super::{Explained, Setting, Source};

/// Values that are longer than this do not push the comments of all others to the right.
const WIDEST: usize = 44;

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, source)) = &self.profile {
            writeln!(f, "# profile {name}, chosen by: {source}\n")?;
        }
        let same_table = |a: &Setting, b: &Setting| (a.section, &a.name) == (b.section, &b.name);
        for (index, settings) in self.settings.chunk_by(same_table).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            table(f, settings)?;
        }
        for route in &self.incomplete {
            writeln!(
                f,
                "\n# [routes.{}] lacks {} here; the attribute of its handler may have that",
                part(&route.name),
                route.missing.join(" and ")
            )?;
        }
        Ok(())
    }
}

fn table(f: &mut fmt::Formatter<'_>, settings: &[Setting]) -> fmt::Result {
    if let Some(first) = settings.first() {
        writeln!(f, "[{}.{}]", first.section, part(&first.name))?;
    }
    let lines: Vec<(String, String)> = settings.iter().map(line).collect();
    let widths = lines.iter().map(|(line, _)| line.chars().count());
    let width = widths.filter(|width| *width <= WIDEST).max().unwrap_or(0);
    for (line, comment) in lines {
        writeln!(f, "{line:width$}  # {comment}")?;
    }
    Ok(())
}

/// The line and its comment.
fn line(setting: &Setting) -> (String, String) {
    let key: Vec<String> = setting.key.split('.').map(part).collect();
    let key = key.join(".");
    match (&setting.value, &setting.source) {
        (Some(value), source) => (format!("{key} = {value}"), source.to_string()),
        (None, Source::Default | Source::Derived) => (format!("# {key}"), "not set".to_owned()),
        (None, source) => (format!("# {key}"), source.to_string()),
    }
}

/// A part of a key, in quotes where TOML wants them.
fn part(name: &str) -> String {
    let is_bare = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-');
    match !name.is_empty() && name.chars().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}
