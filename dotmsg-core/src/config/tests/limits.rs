//! Limits that routes share: what they are read as, and the exact words that refuse a wrong one.

use super::super::{Config, RouteDefaults};
use super::{bill, config, refused, vars};
use crate::router::{LimitSpec, Rate};

fn limit(name: &str, concurrency: Option<usize>, rate: Option<&str>) -> LimitSpec {
    let mut limit = LimitSpec::new(name);
    limit.concurrency = concurrency;
    limit.rate = rate.map(|rate| rate.parse::<Rate>().unwrap());
    limit
}

#[test]
fn limits_come_from_all_sources_and_routes_name_them() {
    let text = r#"
backend.main.url = "memory:"
[limits.database]
concurrency = 20
rate = "100/s"
[limits.mail]
rate = "10/m"
[routes.audit]
limits = []
[profile.production.limits.database]
concurrency = 200
"#;
    let audit = RouteDefaults::new("audit")
        .with("topic", "orders")
        .with("group", "audit")
        .with("limits", ["mail"]);
    let mail = RouteDefaults::new("mail")
        .with("topic", "mails")
        .with("group", "mail")
        .with("limits", ["mail"]);
    let resolved = config(text)
        .profile(Some("production"))
        .env(vars(&[
            ("DOTMSG__LIMITS__DATABASE__RATE", "6000/m"),
            ("DOTMSG__LIMITS__UNUSED__CONCURRENCY", "1"),
            ("DOTMSG__ROUTES__BILL__LIMITS", "mail, database"),
        ]))
        .resolve(&[bill(), audit, mail])
        .unwrap();
    let limits = [
        limit("database", Some(200), Some("6000/m")),
        limit("mail", None, Some("10/m")),
        limit("unused", Some(1), None),
    ];
    assert_eq!(resolved.limits, limits);
    let named: Vec<_> = resolved
        .routes
        .iter()
        .map(|route| &route.shared_limits[..])
        .collect();
    assert_eq!(named[0], ["database", "mail"], "the environment, sorted");
    assert!(named[1].is_empty(), "the file takes the attribute's away");
    assert_eq!(named[2], ["mail"], "the attribute");
}

#[test]
fn a_limit_that_is_not_there() {
    refused(
        r#"
backend.main.url = "memory:"
[limits.database]
concurrency = 20
[limits.mail]
rate = "1/s"
[routes.bill]
limits = ["databse", "mail", "zzz"]
"#,
        &[],
        &[bill()],
        r#"
2 errors
  dotmsg.toml:8: routes.bill.limits: there is no limit `databse`. Did you mean `database`?
  dotmsg.toml:8: routes.bill.limits: there is no limit `zzz`. Known: database, mail
"#,
    );
}

#[test]
fn no_limit_at_all_and_one_in_a_profile_that_is_not_chosen() {
    refused(
        r#"
backend.main.url = "memory:"
[profile.production.limits.database]
concurrency = 20
"#,
        &[("DOTMSG__ROUTES__BILL__LIMITS", "database")],
        &[bill()],
        r#"
1 error
  environment variable DOTMSG__ROUTES__BILL__LIMITS: routes.bill.limits: there is no limit `database`. Add [limits.database] with `concurrency`, `rate` or both
"#,
    );
}

#[test]
fn limits_without_sense() {
    refused(
        r#"
backend.main.url = "memory:"
[limits]
rate = "1/s"
[limits.nothing]
[limits.none]
concurrency = 0
[limits.odd]
rate = 100
[limits."a b"]
rate = "100 per second"
[limits.unit]
rate = "1/ms"
rates = "1/s"
[routes.bill]
rate = "1/s"
[profile.production.limits.unit]
concurrency = "many"
"#,
        &[("DOTMSG__LIMIT__DATABASE__RATE", "1/s")],
        &[bill()],
        r#"
11 errors
  dotmsg.toml:4: limits.rate: no key for all of [limits] at once. It belongs into [limits.<name>]; every limit has its own
  dotmsg.toml:5: limits.nothing: limits nothing. Set `concurrency`, `rate` or both
  dotmsg.toml:7: limits.none.concurrency: expected a whole number from 1 to 1000000, found 0
  dotmsg.toml:9: limits.odd.rate: expected a rate such as "100/s": messages, 1000000000 at most, per s, m, h or d, found 100
  dotmsg.toml:10: limits.a b: has the character ' '; allowed are letters a-z A-Z, digits, `.`, `_` and `-`
  dotmsg.toml:11: limits.a b.rate: expected a rate such as "100/s": messages, 1000000000 at most, per s, m, h or d, found "100 per second"
  dotmsg.toml:13: limits.unit.rate: expected a rate such as "100/s": messages, 1000000000 at most, per s, m, h or d, found "1/ms"
  dotmsg.toml:14: limits.unit.rates: unknown key. Did you mean `rate`?
  dotmsg.toml:16: routes.bill.rate: unknown key. It belongs into [limits.<name>], and <name> into `limits` here
  dotmsg.toml:18: profile.production.limits.unit.concurrency: expected a whole number from 1 to 1000000, found "many"
  environment variable DOTMSG__LIMIT__DATABASE__RATE: limit: unknown table. Did you mean `limits`?
"#,
    );
}

#[test]
fn names_of_limits_that_are_no_list_of_names() {
    for (given, expected) in [
        (
            "'database'",
            "expected a list of names such as [\"database\"], found \"database\"",
        ),
        ("['database', 7]", "name 2: expected a string, found 7"),
        ("['']", "name 1: empty; a name has 1 to 249 characters"),
        (
            "['database', 'database']",
            "`database` stands in it twice. Remove one of them",
        ),
    ] {
        let text = format!(
            "backend.main.url = 'memory:'\nlimits.database.rate = '1/s'\nroutes.bill.limits = {given}"
        );
        let errors = config(&text).resolve(&[bill()]).unwrap_err();
        let wanted = format!("1 error\n  dotmsg.toml:3: routes.bill.limits: {expected}");
        assert_eq!(errors.to_string(), wanted);
    }
}

#[test]
fn a_tool_without_handlers_checks_them_too() {
    let config = Config::new()
        .set("backend.main.url", "memory:")
        .env(vars(&[("DOTMSG__LIMITS__DATABASE__RATE", "often")]));
    let errors = config.backends().unwrap_err();
    assert!(
        errors.to_string().contains("limits.database.rate"),
        "{errors}"
    );
}
