//! Variables of other tools.

use std::collections::BTreeMap;

use super::{bill, vars};
use crate::config::Config;

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
