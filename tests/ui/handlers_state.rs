//! What the methods ask of the state does not fit.
use dotmsg::{App, Config, Json, State};

struct AppState;

#[derive(Clone)]
struct Rates;

struct Billing;

#[dotmsg::handlers]
impl Billing {
    #[handler(topic = "orders", group = "a")]
    async fn bill(&self, State(_rates): State<Rates>, Json(_order): Json<u64>) {}
}

struct Named;

#[dotmsg::handlers]
impl Named {
    #[handler(topic = "orders", group = "b", state = AppState)]
    async fn bill(&self, Json(_order): Json<u64>) {}

    #[handler(topic = "orders", group = "c", state = Rates)]
    async fn audit(&self, Json(_order): Json<u64>) {}

    #[handler(topic = "orders", group = "d")]
    async fn missing(&self, State(_rates): State<Rates>) {}
}

struct Conditional;

#[dotmsg::handlers]
impl Conditional {
    #[cfg(any())]
    #[handler(topic = "orders", group = "e")]
    async fn bill(&self, State(_rates): State<Missing>) {}
}

struct Unmarked;

fn main() {
    let _ = App::with_config(Config::new())
        .state(AppState)
        .handlers(Billing)
        .handlers(Unmarked);
}
