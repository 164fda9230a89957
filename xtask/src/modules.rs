//! The arrows between core's modules: who may import whom.
//!
//! A module may name only the modules that its row lists. Names re-exported at the crate root are traced back to the
//! module they come from, so that `use crate::Message` counts as `message`. Test code (`#[cfg(test)]`) is free: it does
//! not ship, and a test of the runtime may well use the reference broker.

use crate::lexer::{self, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

/// Data flows one way: source → lanes → handler → settlement → progress; imports point the other way. Only the harness
/// and the simulation know the reference broker (`log`); the facade puts it into the registry.
///
/// A row is a module of core and, behind the colon, the modules that it may import beside itself.
const TABLE: &str = "\
error:
metrics:
clock: error
message: clock error
delivery: message clock error
config: router backend message clock error
progress: delivery message clock error
backend: delivery message clock error
trace: delivery message clock error
publisher: trace backend delivery message clock error
handler: publisher delivery message clock error
middleware: trace metrics handler backend delivery message clock error
router: trace metrics middleware handler backend delivery message clock error
lag: progress backend delivery message clock error
runtime: metrics lag router middleware handler progress backend delivery message clock error
log: backend delivery message clock error
registry: log config backend delivery message clock error
app: trace metrics lag replay reset registry config runtime router middleware handler publisher progress backend delivery message clock error
replay: router progress backend delivery message clock error
reset: router progress backend delivery message clock error
sim: testing app lag replay reset log config runtime router middleware handler progress backend delivery message clock error
testing: app lag replay reset log registry config runtime router middleware handler progress backend delivery message clock error";

/// The table as it is checked: module → modules it may import.
fn rules() -> BTreeMap<&'static str, Vec<&'static str>> {
    let rows = TABLE.lines().filter_map(|row| row.split_once(':'));
    rows.map(|(module, may)| (module, may.split_whitespace().collect()))
        .collect()
}

/// A source file: its path below `src`, and its text.
pub(crate) type Source = (String, String);

/// Checks every file of a crate against the table; returns one line per violation.
pub(crate) fn violations(crate_name: &str, sources: &[Source]) -> Vec<String> {
    let parsed: Vec<File> = sources
        .iter()
        .map(|(path, text)| File::new(path, text))
        .collect();
    let modules: BTreeSet<String> = parsed
        .iter()
        .filter_map(|file| file.module.first().cloned())
        .collect();
    let exported = parsed
        .iter()
        .find(|file| file.module.is_empty())
        .map(|root| exports(&root.shipped.tokens))
        .unwrap_or_default();
    let tests: Vec<Vec<String>> = parsed.iter().flat_map(File::test_paths).collect();
    let known = Known {
        crate_name,
        modules: &modules,
        exported: &exported,
        rules: rules(),
    };
    parsed
        .iter()
        .filter(|file| !file.module.is_empty())
        .filter(|file| !tests.iter().any(|test| file.module.starts_with(test)))
        .flat_map(|file| known.check(file))
        .collect()
}

/// One parsed file and its place in the module tree.
struct File {
    path: String,
    /// `["runtime", "lanes"]` for `runtime/lanes.rs`; empty for the crate root.
    module: Vec<String>,
    shipped: lexer::Shipped,
}

impl File {
    fn new(path: &str, text: &str) -> Self {
        let stem = Path::new(path).with_extension("");
        let mut module: Vec<String> = stem
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
                _ => None,
            })
            .collect();
        if module
            .last()
            .is_some_and(|last| last == "mod" || last == "lib")
        {
            module.pop();
        }
        Self {
            path: path.to_owned(),
            module,
            shipped: lexer::without_tests(&lexer::tokens(text)),
        }
    }

    /// Module paths below this file that are declared under `#[cfg(test)]`.
    fn test_paths(&self) -> Vec<Vec<String>> {
        let below = |name: &String| self.module.iter().chain([name]).cloned().collect();
        self.shipped.test_modules.iter().map(below).collect()
    }
}

/// What the names at the crate root mean.
struct Known<'a> {
    crate_name: &'a str,
    modules: &'a BTreeSet<String>,
    exported: &'a BTreeMap<String, String>,
    rules: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Known<'_> {
    fn check(&self, file: &File) -> Vec<String> {
        let from = &file.module[0];
        let path = &file.path;
        let Some(may) = self.rules.get(from.as_str()) else {
            return vec![format!(
                "{path}:1: module `{from}` has no row in RULES (xtask/src/modules.rs): add one that says what it may import"
            )];
        };
        let mut found = Vec::new();
        for import in root_imports(self.crate_name, file) {
            let (name, line) = (&import.name, import.line);
            let target = if self.modules.contains(name) {
                Some(name)
            } else {
                self.exported.get(name)
            };
            match target {
                Some(target) if target == from || may.contains(&target.as_str()) => {}
                Some(target) => found.push(format!(
                    "{path}:{line}: `{from}` must not import `{target}` (it may import: {})",
                    if may.is_empty() { "nothing".to_owned() } else { may.join(", ") }
                )),
                None if import.is_macro => {}
                None => found.push(format!(
                    "{path}:{line}: cannot tell where `crate::{name}` comes from: import it from its module"
                )),
            }
        }
        found
    }
}

/// The first name after the crate root in one path.
struct Import {
    name: String,
    line: usize,
    is_macro: bool,
}

/// Every path of the file that starts at the crate root: `crate::x`, `crate::{x, y}`, and `super::…` that climbs there.
fn root_imports(crate_name: &str, file: &File) -> Vec<Import> {
    let tokens = &file.shipped.tokens;
    let root_word = crate_name.replace('-', "_");
    let mut found = Vec::new();
    // For each open brace: whether it is the body of an inline module, which `super` climbs through.
    let mut braces: Vec<bool> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        if token.is('{') {
            let is_module = at >= 2 && tokens[at - 2].word() == Some("mod");
            braces.push(is_module);
        } else if token.is('}') {
            braces.pop();
        }
        let starts_path = at < 2 || !(tokens[at - 1].is(':') && tokens[at - 2].is(':'));
        let depth = file.module.len() + braces.iter().filter(|is_module| **is_module).count();
        match token.word() {
            Some(word) if starts_path && (word == "crate" || word == root_word) => {
                heads(tokens, at + 1, &mut found);
            }
            Some("super") if starts_path => {
                let mut climbed = 1;
                while separator(tokens, at + 1)
                    && tokens.get(at + 3).and_then(Token::word) == Some("super")
                {
                    climbed += 1;
                    at += 3;
                }
                if climbed == depth {
                    heads(tokens, at + 1, &mut found);
                }
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn separator(tokens: &[Token], at: usize) -> bool {
    tokens.get(at).is_some_and(|token| token.is(':'))
        && tokens.get(at + 1).is_some_and(|token| token.is(':'))
}

/// The names right after a path root that ends before `at`: one name, or the heads of a group.
fn heads(tokens: &[Token], at: usize, found: &mut Vec<Import>) {
    if !separator(tokens, at) {
        return;
    }
    let at = at + 2;
    let Some(next) = tokens.get(at) else { return };
    let mut push = |at: usize| {
        let Some(name) = tokens[at].word() else {
            return;
        };
        if name != "self" {
            let is_macro = tokens.get(at + 1).is_some_and(|token| token.is('!'));
            found.push(Import {
                name: name.to_owned(),
                line: tokens[at].line,
                is_macro,
            });
        }
    };
    if !next.is('{') {
        push(at);
        return;
    }
    let end = lexer::group_end(tokens, at);
    let mut element = at + 1;
    while element + 1 < end {
        push(element);
        while element + 1 < end && !tokens[element].is(',') {
            element = if tokens[element].is('{') {
                lexer::group_end(tokens, element)
            } else {
                element + 1
            };
        }
        element += 1;
    }
}

/// What the crate root re-exports: visible name → module it comes from.
fn exports(root: &[Token]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for at in 0..root.len() {
        if root[at].word() == Some("use") {
            let mut start = at + 1;
            if matches!(
                root.get(start).and_then(Token::word),
                Some("crate" | "self")
            ) {
                start += 3;
            }
            let end = (start..root.len())
                .find(|end| root[*end].is(';'))
                .unwrap_or(root.len());
            if let Some(module) = root.get(start).and_then(Token::word) {
                leaves(&root[start..end], module, &mut found);
            }
        }
    }
    found
}

/// The visible names of a use tree: a word that no `::` follows, or the word after `as`.
fn leaves(tree: &[Token], module: &str, found: &mut BTreeMap<String, String>) {
    for at in 0..tree.len() {
        let Some(name) = tree[at].word() else {
            continue;
        };
        let renamed = tree.get(at + 1).and_then(Token::word) == Some("as");
        if name != "as" && name != "self" && !renamed && !separator(tree, at + 1) {
            found.insert(name.to_owned(), module.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)]) -> Vec<String> {
        let mut sources: Vec<Source> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
            .collect();
        for module in ["message", "error", "runtime", "log", "handler", "testing"] {
            let path = format!("{module}/mod.rs");
            if !sources.iter().any(|(known, _)| *known == path) {
                sources.push((path, String::new()));
            }
        }
        violations("dotmsg-core", &sources)
    }

    #[test]
    fn allowed_imports_pass() {
        let text = "use crate::error::Error;\nuse crate::{message::{Message, Headers}, error};\nuse self::x;";
        assert_eq!(check(&[("delivery/mod.rs", text)]), Vec::<String>::new());
    }

    #[test]
    fn a_planted_import_is_caught_with_its_line_and_rule() {
        let found = check(&[(
            "message/headers.rs",
            "//! Doc.\n\nuse crate::runtime::Lane;\n",
        )]);
        assert_eq!(
            found,
            [
                "message/headers.rs:3: `message` must not import `runtime` (it may import: clock, error)"
            ]
        );
    }

    #[test]
    fn a_group_is_taken_apart() {
        let found = check(&[(
            "handler/mod.rs",
            "use crate::{\n    message::{Message, log},\n    self,\n    runtime::{a, b},\n    log,\n};",
        )]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("handler/mod.rs:4: `handler` must not import `runtime`"));
        assert!(found[1].starts_with("handler/mod.rs:5: `handler` must not import `log`"));
    }

    #[test]
    fn a_path_in_an_expression_a_nested_use_and_the_crate_by_name_are_caught() {
        for text in [
            "fn f() { crate::log::open() }",
            "use {std::fmt, crate::log::Log};",
            "use dotmsg_core::log;",
            "macro_rules! m { () => { $crate::log::open() } }",
        ] {
            assert_eq!(check(&[("runtime/mod.rs", text)]).len(), 1, "{text}");
        }
    }

    #[test]
    fn climbing_with_super_is_caught() {
        let cases = [
            ("runtime/mod.rs", "use super::log::Log;", 1),
            ("runtime/lanes.rs", "use super::super::log::Log;", 1),
            ("runtime/lanes.rs", "use super::log::Log;", 0),
            (
                "runtime/mod.rs",
                "mod inner { use super::super::{log}; }",
                1,
            ),
            ("runtime/mod.rs", "mod inner { use super::log; }", 0),
        ];
        for (path, text, expected) in cases {
            assert_eq!(check(&[(path, text)]).len(), expected, "{path}: {text}");
        }
    }

    #[test]
    fn re_exports_at_the_root_count_as_their_module() {
        let root = (
            "lib.rs",
            "pub use log::{Log, disk::Disk as Directory};\npub use crate::message::Message;",
        );
        let found = check(&[
            root,
            (
                "runtime/mod.rs",
                "use crate::{Message, Log};\nuse crate::Directory;",
            ),
        ]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(
            check(&[root, ("runtime/mod.rs", "use crate::Unknown;")]).len(),
            1
        );
        assert_eq!(
            check(&[root, ("runtime/mod.rs", "crate::some_macro!();")]).len(),
            0
        );
    }

    #[test]
    fn comments_strings_and_test_code_are_free() {
        let text = "//! See crate::log.\nconst A: &str = \"crate::log\";\n#[cfg(test)]\nmod model;\n#[cfg(test)]\nmod tests { use crate::log::Log; }";
        let found = check(&[
            ("runtime/mod.rs", text),
            ("runtime/model.rs", "use crate::log::Log;"),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn a_module_without_a_row_is_refused() {
        assert_eq!(check(&[("stray.rs", "")]).len(), 1);
    }

    #[test]
    fn the_table_has_no_circle_and_names_only_its_own_modules() {
        let rules = rules();
        let mut done: BTreeSet<&str> = BTreeSet::new();
        while done.len() < rules.len() {
            let next = rules.iter().find(|(module, may)| {
                !done.contains(*module) && may.iter().all(|used| done.contains(used))
            });
            let (module, _) = next.expect("a module whose imports are all below it");
            done.insert(module);
        }
    }
}
