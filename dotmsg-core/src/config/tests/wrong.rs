//! Wrong configurations and the whole message that refuses each, as snapshots: `wrong/NAME.toml`, and `wrong/NAME.txt` beside it.
//!
//! What is given beside the file stands at its top, a line each:
//!
//! ```text
//! #: handler bill: topic = "orders", group = "billing"    its attribute; this one handler, when none is named
//! #: batches bill: topic = "orders", group = "billing"    one that takes batches
//! #: no handlers
//! #: tool                                                  no handlers are known: the routes of the file itself
//! #: environment DOTMSG_PROFILE=production
//! #: profile production
//! ```
//!
//! `DOTMSG_BLESS=1 cargo test -p dotmsg-core --lib config::tests::wrong` writes the messages anew; read the difference then.
//! A `canary` in a file is a secret that no message may show.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::value::{Node, Table};
use super::super::{Config, ConfigErrors, RouteDefaults, Value, document};
use super::{bill, registry, vars};

/// The fewest cases there may be: an empty directory is no success.
const FEWEST: usize = 60;

#[derive(Default)]
struct Case {
    handlers: Vec<RouteDefaults>,
    has_none: bool,
    is_tool: bool,
    environment: Vec<(String, String)>,
    profile: Option<String>,
}

impl Case {
    fn of(text: &str) -> Self {
        let mut case = Self::default();
        for line in text.lines().map_while(|line| line.strip_prefix("#: ")) {
            case.take(line);
        }
        if case.handlers.is_empty() && !case.has_none && !case.is_tool {
            case.handlers.push(bill());
        }
        case
    }

    fn take(&mut self, line: &str) {
        match line.split_once(' ') {
            None if line == "tool" => self.is_tool = true,
            Some(("no", "handlers")) => self.has_none = true,
            Some(("handler", said)) => self.handlers.push(attribute(said)),
            Some(("batches", said)) => self.handlers.push(attribute(said).batches()),
            Some(("profile", name)) => self.profile = Some(name.to_owned()),
            Some(("environment", variable)) => {
                let (name, value) = variable.split_once('=').expect("NAME=value");
                self.environment.extend(vars(&[(name, value)]));
            }
            _ => panic!("not understood: {line}"),
        }
    }

    /// What a user sees, of an app or a tool with adapters.
    fn errors(self, text: &str) -> ConfigErrors {
        let errors = Config::from_toml("dotmsg.toml", text).and_then(|config| {
            let config = config
                .profile(self.profile.as_deref())
                .env(self.environment)
                .adapters(&registry());
            match self.is_tool {
                true => config.resolve_configured(),
                false => config.resolve(&self.handlers),
            }
        });
        errors.expect_err("a wrong configuration was taken")
    }
}

/// What refuses the configuration in this text.
pub(super) fn errors_of(text: &str) -> ConfigErrors {
    Case::of(text).errors(text)
}

/// `bill: topic = "orders", retry.tiers = ["5s"]`
fn attribute(said: &str) -> RouteDefaults {
    let (name, keys) = said.rsplit_once(':').expect("a handler and a colon");
    let (name, keys) = match keys.contains('=') {
        true => said.split_once(": ").expect("a handler and a colon"),
        false => (name, ""),
    };
    let root = document::parse("header", &format!("x = {{ {keys} }}")).unwrap();
    let mut route = RouteDefaults::new(name);
    let Node::Table(table) = &root["x"].node else {
        panic!("no keys: {keys}");
    };
    leaves(table, "", &mut route.entries);
    route
}

fn leaves(table: &Table, prefix: &str, into: &mut Vec<(&'static str, Value)>) {
    for (name, entry) in table {
        let path = format!("{prefix}{name}");
        match &entry.node {
            Node::Table(below) => leaves(below, &format!("{path}."), into),
            Node::Leaf(value) => into.push((path.leak(), value.clone())),
        }
    }
}

/// The files, sorted.
pub(super) fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/wrong");
    let mut cases: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    cases.sort();
    cases
}

#[test]
fn each_wrong_configuration_is_refused_with_these_words() {
    let bless = std::env::var_os("DOTMSG_BLESS").is_some();
    let cases = cases();
    assert!(cases.len() >= FEWEST, "{} cases", cases.len());
    let mut failed = Vec::new();
    for path in cases {
        let text = fs::read_to_string(&path).unwrap();
        let message = format!("{}\n", errors_of(&text));
        assert!(!message.contains("canary"), "{}: {message}", path.display());
        let snapshot = path.with_extension("txt");
        if bless {
            fs::write(&snapshot, &message).unwrap();
        }
        let expected = fs::read_to_string(&snapshot).unwrap_or_default();
        if message != expected {
            let name = path.file_name().unwrap_or_default().display();
            failed.push(format!("{name}\nexpected: {expected}found: {message}"));
        }
    }
    let count = failed.len();
    assert!(
        failed.is_empty(),
        "{count} differ; to accept them: DOTMSG_BLESS=1\n\n{}",
        failed.join("\n")
    );
}
