//! Right names in wrong places, and variables of other tools.

use std::collections::BTreeMap;

use super::{bill, config, vars};
use crate::backend::Registry;
use crate::config::{Config, RouteDefaults};
use crate::log::{MemoryLogs, check_setting, log_factory, memory_factory};

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.register("memory", memory_factory(MemoryLogs::new()));
    registry.register("log", log_factory());
    registry.check_settings("memory", check_setting);
    registry.check_settings("log", check_setting);
    registry
}

/// The exact words of all errors of an app that has adapters.
fn refused_with_adapters(text: &str, handlers: &[RouteDefaults], expected: &str) {
    let errors = config(text)
        .adapters(&registry())
        .resolve(handlers)
        .expect_err("a wrong configuration was taken");
    assert_eq!(errors.to_string(), expected.trim());
}

#[test]
fn keys_that_belong_into_another_table() {
    refused_with_adapters(
        r#"
concurrency = 1
[backend]
auto_create = true
[backend.main]
url = "log:./orders"
retention = "1h"
[backend.main.log]
auto_create_partitions = 3
[backend.other]
retention = "1h"
url = "memory:"
[routes]
concurrency = 3
[retry]
attempts = 3
"#,
        &[bill()],
        r#"
7 errors
  dotmsg.toml:2: concurrency: unknown table. It belongs into [routes.<handler>]; every route has its own
  dotmsg.toml:4: backend.auto_create: no key for all of [backend] at once. It belongs into [backend.<name>]; [backend.main] is usual
  dotmsg.toml:7: backend.main.retention: unknown key. It is a setting of the adapter: put it into [backend.main.log]
  dotmsg.toml:9: backend.main.log.auto_create_partitions: unknown key. It belongs one level up, into [backend.main]
  dotmsg.toml:11: backend.other.retention: unknown key. It is a setting of the adapter: put it into [backend.other.memory]
  dotmsg.toml:14: routes.concurrency: no key for all of [routes] at once. It belongs into [routes.<handler>]; every route has its own
  dotmsg.toml:15: retry: unknown table. It belongs into [routes.<handler>]; every route has its own
"#,
    );
}

#[test]
fn variables_of_other_tools_are_warned_of_once_and_let_pass() {
    let seen = crate::seen::Seen::new();
    let other = vars(&[
        ("DOTMSG_SERVICE_HOST", "canary"),
        ("DOTMSG_BACKEND_PORT_80_TCP", "canary"),
        ("DOTMSG", "x"),
        ("PATH", "x"),
    ]);
    let config = Config::new().set("backend.main.url", "memory:").env(other);
    assert!(config.resolve(&[bill()]).is_ok());
    let lines = seen.lines();
    let [line] = &lines[..] else {
        panic!("{lines:?}")
    };
    let expected = BTreeMap::from([(
        "variables",
        "DOTMSG_BACKEND_PORT_80_TCP, DOTMSG_SERVICE_HOST",
    )]);
    assert!(line.message.contains("begin with DOTMSG_ and set nothing"));
    for (field, value) in expected {
        assert_eq!(line.field(field), Some(value));
    }
}
