//! The terminal sessions of the documentation, replayed, and its excerpts of examples, compared.
//!
//! A page shows an example as a block of language `console` that begins with `$ cargo run --example NAME` and goes on with
//! what that prints; the step builds all of these examples at once, runs each in an empty directory and compares. The page is
//! the only copy of the expected output. In a tutorial the reader has a crate of their own: `<!-- example NAME -->` above a block with
//! `$ cargo run` says which example is the same. A block of the page that begins with `# dotmsg.toml` is in the directory then.
//! A block right below `<!-- examples/FILE -->` is an excerpt: its lines stand
//! in that file, one after the other, whatever their indentation. So neither can go stale unnoticed.

use crate::cargo;
use crate::step::Done;
use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What a session begins with.
const COMMAND: &str = "$ cargo run --example ";
/// What a session of a tutorial begins with, and what stands above it.
const OWN_COMMAND: &str = "$ cargo run";
const OWN_EXAMPLE: &str = "<!-- example ";
/// What a configuration begins with, and is called.
const CONFIGURATION: (&str, &str) = ("# dotmsg.toml", "dotmsg.toml");
/// What stands above an excerpt.
const EXCERPT: &str = "<!-- examples/";

/// An example as a page shows it.
#[derive(Debug, PartialEq, Eq)]
struct Session {
    example: String,
    arguments: Vec<String>,
    expected: String,
    configuration: Option<String>,
}

/// Lines of an example as a page shows them.
#[derive(Debug, PartialEq, Eq)]
struct Excerpt {
    file: PathBuf,
    lines: Vec<String>,
}

/// Compares all excerpts and replays all sessions.
///
/// # Errors
/// Excerpts or sessions that differ.
pub(crate) fn run() -> Result<(), String> {
    let workspace = Workspace::load()?;
    let wrong = excerpts(&workspace)?;
    if !wrong.is_empty() {
        return Err(wrong.join("\n"));
    }
    replay(&workspace).map(|_| ())
}

/// Every excerpt stands in its file.
///
/// # Errors
/// Those that do not, all of them.
pub(crate) fn excerpts(workspace: &Workspace) -> Result<Vec<String>, String> {
    let mut wrong = Vec::new();
    for page in workspace.files(&["md"])? {
        for excerpt in excerpts_of(&workspace.read(&page)?) {
            let shown = format!("{}: excerpt of {}", page.display(), excerpt.file.display());
            match workspace.read(&excerpt.file) {
                Err(error) => wrong.push(format!("{shown}: {error}")),
                Ok(text) if !stands_in(&excerpt.lines, &text) => {
                    let first = excerpt.lines.first().map_or("", String::as_str);
                    wrong.push(format!(
                        "{shown}: its lines from {first:?} are not there like this"
                    ));
                }
                Ok(_) => {}
            }
        }
    }
    Ok(wrong)
}

/// Replays every session.
///
/// # Errors
/// An example does not build, does not succeed, or prints something else; all of these that differ.
pub(crate) fn replay(workspace: &Workspace) -> Result<Done, String> {
    let mut sessions = Vec::new();
    for page in workspace.files(&["md"])? {
        let found = sessions_of(&workspace.read(&page)?);
        sessions.extend(found.into_iter().map(|session| (page.clone(), session)));
    }
    let names: BTreeSet<&str> = sessions
        .iter()
        .map(|(_, session)| session.example.as_str())
        .collect();
    // Their speed does not matter, and the tests have built the library with exactly this.
    let mut args = vec!["build", "--quiet", "--workspace", "--all-features"];
    args.extend(names.iter().flat_map(|name| ["--example", name]));
    cargo::run(&workspace.root, &args, &[])?;
    let mut differ = Vec::new();
    for (page, session) in &sessions {
        println!("{}: {}", page.display(), session.example);
        if let Err(error) = session.replay(workspace) {
            differ.push(format!("{}: {}: {error}", page.display(), session.example));
        }
    }
    match differ.is_empty() {
        true => Ok(Done::Passed),
        false => Err(differ.join("\n")),
    }
}

impl Session {
    fn replay(&self, workspace: &Workspace) -> Result<(), String> {
        let directory = workspace
            .target
            .join(format!("xtask/session-{}", std::process::id()));
        std::fs::create_dir_all(&directory)
            .map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        if let Some(configuration) = &self.configuration {
            let path = directory.join(CONFIGURATION.1);
            std::fs::write(&path, configuration)
                .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        }
        let program = workspace.target.join("debug/examples").join(&self.example);
        let output = cargo::command(&program, &directory)
            .args(&self.arguments)
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| format!("cannot start {}: {error}", program.display()));
        std::fs::remove_dir_all(&directory)
            .map_err(|error| format!("cannot remove {}: {error}", directory.display()))?;
        let output = output?;
        let printed = String::from_utf8_lossy(&output.stdout);
        compare(&self.expected, &printed)?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("it ended with {}", output.status)),
        }
    }
}

/// The blocks of a page: the line above the fence, the language, the lines in it.
fn blocks(page: &str) -> Vec<(&str, &str, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut above = "";
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let inside = lines.by_ref().take_while(|line| *line != "```").collect();
            blocks.push((above, language, inside));
        }
        above = line;
    }
    blocks
}

fn sessions_of(page: &str) -> Vec<Session> {
    let blocks = blocks(page);
    let configuration = blocks
        .iter()
        .find(|(.., lines)| lines.first() == Some(&CONFIGURATION.0))
        .map(|(.., lines)| lines.join("\n"));
    let session = |(above, language, lines): &(&str, &str, Vec<&str>)| {
        let (first, printed) = lines.split_first()?;
        let own = above
            .strip_prefix(OWN_EXAMPLE)
            .and_then(|rest| rest.strip_suffix(" -->"));
        let command = match own {
            Some(example) if *first == OWN_COMMAND => example,
            _ => first.strip_prefix(COMMAND)?,
        };
        let mut words = command.split_whitespace();
        let example = words.next()?.to_owned();
        (*language == "console").then(|| Session {
            example,
            arguments: words
                .filter(|word| *word != "--")
                .map(str::to_owned)
                .collect(),
            expected: printed.join("\n"),
            configuration: own.and(configuration.clone()),
        })
    };
    blocks.iter().filter_map(session).collect()
}

fn excerpts_of(page: &str) -> Vec<Excerpt> {
    let excerpt = |(above, _, lines): (&str, &str, Vec<&str>)| {
        let file = above.strip_prefix(EXCERPT)?.strip_suffix(" -->")?;
        Some(Excerpt {
            file: Path::new("examples").join(file),
            lines: lines
                .into_iter()
                .map(|line| line.trim().to_owned())
                .collect(),
        })
    };
    blocks(page).into_iter().filter_map(excerpt).collect()
}

/// Whether these lines are in the text, one after the other.
fn stands_in(lines: &[String], text: &str) -> bool {
    let text: Vec<&str> = text.lines().map(str::trim).collect();
    !lines.is_empty() && text.windows(lines.len()).any(|window| window == lines)
}

/// Compares printed lines with the expected ones and names the first that differs.
fn compare(expected: &str, printed: &str) -> Result<(), String> {
    let mut wanted = expected.lines();
    let mut got = printed.lines();
    for number in 1.. {
        match (wanted.next(), got.next()) {
            (None, None) => break,
            (wanted, got) if wanted == got => {}
            (wanted, got) => {
                let show = |line: Option<&str>| {
                    line.map_or("end of output".to_owned(), |line| format!("{line:?}"))
                };
                return Err(format!(
                    "line {number}: the page says {}, printed {}",
                    show(wanted),
                    show(got)
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# A page
<!-- examples/hello.rs -->
```rust,ignore
fn main() {
    run();
```
```console
$ cargo run --example hello -- --to world
hello

world
```
```console
$ cargo run
nothing of ours
```
```toml
# dotmsg.toml
[backend.main]
```
<!-- example tutorial -->
```console
$ cargo run
first
```
```sh
$ cargo run --example flights
```
";

    #[test]
    fn sessions_and_excerpts_are_found() {
        let session = Session {
            example: "hello".to_owned(),
            arguments: vec!["--to".to_owned(), "world".to_owned()],
            expected: "hello\n\nworld".to_owned(),
            configuration: None,
        };
        let own = Session {
            example: "tutorial".to_owned(),
            arguments: Vec::new(),
            expected: "first".to_owned(),
            configuration: Some("# dotmsg.toml\n[backend.main]".to_owned()),
        };
        assert_eq!(sessions_of(PAGE), [session, own]);
        let excerpts = excerpts_of(PAGE);
        assert_eq!(excerpts.len(), 1);
        assert_eq!(excerpts[0].file, Path::new("examples/hello.rs"));
        let in_module = "mod a {\n    fn main() {\n        run();\n    }\n}";
        assert!(stands_in(&excerpts[0].lines, in_module));
        assert!(!stands_in(&excerpts[0].lines, "fn main() {\n}\nrun();"));
        assert!(!stands_in(&[], in_module));
    }

    #[test]
    fn output_is_compared_line_by_line() {
        assert_eq!(compare("a\nb", "a\nb\n"), Ok(()));
        let error = |expected, printed| compare(expected, printed).unwrap_err();
        assert!(error("a\nb\n", "a\nc\n").starts_with("line 2"));
        assert!(error("a\n", "a\nb\n").contains("end of output"));
        assert!(error("a\nb\n", "a\n").contains("end of output"));
    }
}
