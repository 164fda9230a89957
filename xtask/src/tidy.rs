//! Small rules about how files look, checked because what can be checked should not need a reviewer.
//!
//! Errors: a file without a module doc, a name that says nothing (`…Manager`, `…Helper`, `…Utils`, `…Data`, `…Info`), a
//! path of somebody's machine. A warning: a file of more than 500 lines that are not tests, for it holds two concepts.

use crate::lexer::{self, Token};
use std::path::Path;

/// Lines of shipped code above which a file is pointed out.
const LONG_FILE_LINES: usize = 500;

/// Endings that name no concept of the field.
const EMPTY_NAMES: &[&str] = &[
    "Manager", "Helper", "Helpers", "Util", "Utils", "Data", "Info",
];

/// Beginnings of paths that exist on one machine only. In two pieces, so that this file does not contain them.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/Use", "rs/"),
    concat!("/wo", "rk/"),
    concat!("C:", "\\Users"),
];

/// What was found in one file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Findings {
    pub(crate) errors: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Checks a Rust file.
pub(crate) fn rust(path: &Path, text: &str) -> Findings {
    let shown = path.display();
    let mut findings = Findings::default();
    let first = text
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    if !first.starts_with("//!") {
        findings.errors.push(format!(
            "{shown}:1: no module doc: open the file with `//!`: what it is, why it is so, what must stay true"
        ));
    }
    let tokens = lexer::tokens(text);
    findings.errors.extend(empty_names(path, &tokens));
    findings.errors.extend(machine_paths(path, text));
    let lines = text.lines().count()
        - lexer::without_tests(&tokens)
            .test_lines
            .min(text.lines().count());
    if lines > LONG_FILE_LINES && !path.components().any(|part| part.as_os_str() == "tests") {
        findings.warnings.push(format!(
            "{shown}: {lines} lines of code: it holds more than one concept"
        ));
    }
    findings
}

fn empty_names(path: &Path, tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    for pair in tokens.windows(2) {
        let declares = matches!(
            pair[0].word(),
            Some("struct" | "enum" | "trait" | "type" | "mod")
        );
        let Some(name) = pair[1].word().filter(|_| declares) else {
            continue;
        };
        let is_empty =
            |ending: &&&str| name.ends_with(**ending) || name.eq_ignore_ascii_case(ending);
        if let Some(ending) = EMPTY_NAMES.iter().find(is_empty) {
            let line = pair[1].line;
            found.push(format!(
                "{}:{line}: `{name}`: `{ending}` names no concept: use the field's term",
                path.display()
            ));
        }
    }
    found
}

/// Checks any text file for paths of somebody's machine.
pub(crate) fn machine_paths(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(start) = MACHINE_PATHS
            .iter()
            .find(|start| begins_a_path(line, start))
        {
            found.push(format!(
                "{}:{}: a path of one machine (`{start}…`)",
                path.display(),
                index + 1
            ));
        }
    }
    found
}

/// Whether the line holds an absolute path with this beginning, not merely a relative path or URL that contains it.
fn begins_a_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        line[..at]
            .chars()
            .next_back()
            .is_none_or(|before| !(before.is_alphanumeric() || "._-~}*".contains(before)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> usize {
        rust(Path::new("a.rs"), text).errors.len()
    }

    #[test]
    fn a_missing_module_doc_is_an_error() {
        assert_eq!(errors("//! What it is.\n"), 0);
        assert_eq!(errors("\n//! What it is.\n"), 0);
        assert_eq!(errors("// What it is.\n"), 1);
        assert_eq!(errors(""), 1);
    }

    #[test]
    fn empty_names_are_errors() {
        assert_eq!(
            errors("//! D\nstruct LaneManager;\nmod utils;\nenum Info {}\n"),
            3
        );
        assert_eq!(
            errors("//! D\nstruct Lane;\n// struct LaneManager\nlet x = MetaData;\n"),
            0
        );
    }

    #[test]
    fn machine_paths_are_errors_and_relative_ones_are_not() {
        let home = MACHINE_PATHS[0];
        assert_eq!(
            machine_paths(Path::new("a.md"), &format!("see {home}me/x")).len(),
            1
        );
        assert_eq!(
            machine_paths(Path::new("a.md"), &format!("file://{home}x")).len(),
            1
        );
        assert_eq!(
            machine_paths(Path::new("a.md"), &format!("see docs{home}x")).len(),
            0
        );
    }

    #[test]
    fn long_files_are_warned_about_without_their_tests() {
        let tests = format!(
            "//! D\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "let x = 1;\n".repeat(600)
        );
        assert_eq!(rust(Path::new("a.rs"), &tests), Findings::default());
        let code = format!("//! D\n{}", "let x = 1;\n".repeat(600));
        assert_eq!(rust(Path::new("a.rs"), &code).warnings.len(), 1);
    }
}
