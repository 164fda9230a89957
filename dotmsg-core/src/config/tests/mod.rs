//! Tests of the configuration: what is refused and with which words, who wins over whom, and the reference file.

mod adapters;
mod explain;
mod foreign;
mod limits;
mod precedence;
mod reference;
mod schema;
mod unreadable;
mod wrong;

use super::{Config, RouteDefaults};
use crate::backend::Registry;
use crate::log::{MemoryLogs, check_setting, log_factory, memory_factory, setting_list};

/// The schemes of this and of later releases, as the facade registers them.
fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.register("memory", memory_factory(MemoryLogs::new()));
    registry.register("log", log_factory());
    for adapter in ["memory", "log"] {
        registry.check_settings(adapter, check_setting);
        registry.list_settings(adapter, setting_list());
    }
    registry.planned("kafka");
    registry.needs_feature("amqp", "amqp");
    registry
}

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
