//! Limits that routes share: what they are read as. The wrong ones are in `wrong/`.

use super::super::{Config, RouteDefaults};
use super::{bill, config, vars};
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
