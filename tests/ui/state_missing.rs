//! The app's state lacks what the handler takes.
use dotmsg::handler::{Json, State};
use dotmsg::{App, Config};

struct AppState;

#[derive(Clone)]
struct Rates;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(State(_rates): State<Rates>, Json(_order): Json<u64>) {}

fn main() {
    let app = App::with_config(Config::new()).state(AppState);
    let _ = app.handler(bill);
}
