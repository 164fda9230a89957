//! Which adapters a configuration needs.

use super::super::RouteDefaults;
use super::{config, registry};

#[test]
fn a_backend_that_is_given_open_needs_none() {
    let text = "
backend.main.url = 'kafka://host'
backend.other.url = 'amqp://host'
routes.ship.backend = 'other'
";
    let handlers = ["bill", "ship"].map(|handler| {
        RouteDefaults::new(handler)
            .with("topic", "orders")
            .with("group", handler)
    });
    let checked = config(text).adapters(&registry());
    let errors = checked.clone().resolve(&handlers).unwrap_err();
    assert_eq!(errors.iter().count(), 2, "{errors}");
    let given = ["main", "other"].map(str::to_owned);
    assert!(checked.given(&given).resolve(&handlers).is_ok());
}
