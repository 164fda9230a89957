//! The arrows between crates: which crate of the workspace may depend on which.
//!
//! Adapters depend on core only, so that they stay strangers to each other and to the facade; core and macros depend on
//! nothing of ours. Examples belong to the facade's package, where cargo would let them reach its dependencies: they are
//! scanned, because a user of the facade cannot.

use crate::lexer;
use crate::workspace::{Package, Workspace};
use std::path::Path;

/// One row: a crate, what it may depend on, and what only its tests may.
struct Rule {
    name: &'static str,
    may: &'static [&'static str],
    dev: &'static [&'static str],
}

/// The arrows. A crate without a row is refused, so that a new one is a decision.
const RULES: &[Rule] = &[
    Rule {
        name: "dotmsg-core",
        may: &[],
        dev: &[],
    },
    Rule {
        name: "dotmsg-macros",
        may: &[],
        dev: &[],
    },
    Rule {
        name: "dotmsg-kafka",
        may: &["dotmsg-core"],
        dev: &["dotmsg-testkit"],
    },
    Rule {
        name: "dotmsg-amqp",
        may: &["dotmsg-core"],
        dev: &["dotmsg-testkit"],
    },
    Rule {
        name: "dotmsg-nats",
        may: &["dotmsg-core"],
        dev: &["dotmsg-testkit"],
    },
    Rule {
        name: "dotmsg-postgres",
        may: &["dotmsg-core"],
        dev: &["dotmsg-testkit"],
    },
    Rule {
        name: "dotmsg-http",
        may: &["dotmsg-core"],
        dev: &[],
    },
    Rule {
        name: "dotmsg-otel",
        may: &["dotmsg-core"],
        dev: &[],
    },
    Rule {
        name: "dotmsg-testkit",
        may: &["dotmsg-core"],
        dev: &[],
    },
    Rule {
        name: "dotmsg",
        may: &[
            "dotmsg-core",
            "dotmsg-macros",
            "dotmsg-http",
            "dotmsg-kafka",
            "dotmsg-amqp",
            "dotmsg-nats",
            "dotmsg-postgres",
            "dotmsg-otel",
        ],
        dev: &["dotmsg-testkit"],
    },
    Rule {
        name: "dotmsg-cli",
        may: &["dotmsg"],
        dev: &[],
    },
    // Benchmarks measure below the facade too, and adapters on their own.
    Rule {
        name: "dotmsg-benches",
        may: &["dotmsg", "dotmsg-core", "dotmsg-kafka"],
        dev: &[],
    },
    Rule {
        name: "xtask",
        may: &[],
        dev: &[],
    },
];

/// Crates that bring C code into a build: compilers of it, and finders of installed libraries.
const C_BUILDERS: &[&str] = &["bindgen", "cc", "cmake", "pkg-config", "vcpkg"];

/// One line per dependency that the table does not allow.
pub(crate) fn violations(packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    for package in packages {
        let name = &package.name;
        let Some(rule) = RULES.iter().find(|rule| rule.name == name) else {
            found.push(format!(
                "{name}/Cargo.toml: crate `{name}` has no row in RULES (xtask/src/arrows.rs): add one that says what it may depend on"
            ));
            continue;
        };
        for (target, is_dev) in &package.ours {
            let allowed = rule.may.contains(&target.as_str())
                || *is_dev && rule.dev.contains(&target.as_str());
            if !allowed {
                let kind = if *is_dev { "dev-depend" } else { "depend" };
                found.push(format!(
                    "{name}/Cargo.toml: `{name}` must not {kind} on `{target}` (it may depend on: {}; its tests also on: {})",
                    rule.may.join(", "),
                    rule.dev.join(", ")
                ));
            }
        }
    }
    found
}

/// One line per example that reaches past the facade.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn examples_past_the_facade(
    workspace: &Workspace,
    files: &[impl AsRef<Path>],
) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for file in files
        .iter()
        .map(AsRef::as_ref)
        .filter(|file| file.starts_with("examples"))
    {
        for token in lexer::tokens(&workspace.read(file)?) {
            if token.word().is_some_and(|word| word.starts_with("dotmsg_")) {
                found.push(format!(
                    "{}:{}: an example must use `dotmsg` alone, as a user would",
                    file.display(),
                    token.line
                ));
            }
        }
    }
    Ok(found)
}

/// Crates in a `cargo tree --prefix none` listing that would need a C compiler or an installed C library.
pub(crate) fn c_code(tree: &str) -> Vec<String> {
    let names = tree
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let mut found: Vec<String> = names
        .filter(|name| C_BUILDERS.contains(name))
        .map(str::to_owned)
        .collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, ours: &[(&str, bool)]) -> Package {
        Package {
            name: name.to_owned(),
            features: Vec::new(),
            examples: Vec::new(),
            ours: ours
                .iter()
                .map(|(name, is_dev)| ((*name).to_owned(), *is_dev))
                .collect(),
        }
    }

    #[test]
    fn allowed_arrows_pass() {
        let packages = [
            package(
                "dotmsg",
                &[("dotmsg-core", false), ("dotmsg-testkit", true)],
            ),
            package(
                "dotmsg-kafka",
                &[("dotmsg-core", false), ("dotmsg-testkit", true)],
            ),
        ];
        assert_eq!(violations(&packages), Vec::<String>::new());
    }

    #[test]
    fn planted_arrows_are_caught() {
        for (name, ours) in [
            ("dotmsg-core", ("dotmsg-macros", false)),
            ("dotmsg-kafka", ("dotmsg-nats", false)),
            ("dotmsg-kafka", ("dotmsg-testkit", false)),
            ("dotmsg-macros", ("dotmsg", true)),
            ("dotmsg-cli", ("dotmsg-core", false)),
        ] {
            assert_eq!(
                violations(&[package(name, &[ours])]).len(),
                1,
                "{name} -> {ours:?}"
            );
        }
        assert_eq!(violations(&[package("dotmsg-new", &[])]).len(), 1);
    }

    #[test]
    fn c_builders_are_found_in_a_tree() {
        assert_eq!(
            c_code("dotmsg v0.1.0 (/x)\nlibc v0.2.1\ncc v1.2.3\ncc v1.2.3 (*)\n"),
            ["cc"]
        );
    }
}
