//! Tests of the configuration: what is refused and with which words, who wins over whom, and the reference file.

mod explain;
mod impossible;
mod limits;
mod mistaken;
mod precedence;
mod reference;
mod wrong;

use super::{Config, RouteDefaults};

/// A handler `bill` with all it needs.
fn bill() -> RouteDefaults {
    RouteDefaults::new("bill")
        .with("topic", "orders")
        .with("group", "billing")
}

fn vars(vars: &[(&str, &str)]) -> Vec<(String, String)> {
    vars.iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn config(text: &str) -> Config {
    Config::from_toml("dotmsg.toml", text).unwrap()
}

/// The exact words of all errors.
fn refused(text: &str, environment: &[(&str, &str)], handlers: &[RouteDefaults], expected: &str) {
    let errors = config(text)
        .env(vars(environment))
        .resolve(handlers)
        .expect_err("a wrong configuration was taken");
    assert_eq!(errors.to_string(), expected.trim());
}
