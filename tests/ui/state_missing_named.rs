//! The state that the attribute names lacks what the handler takes.
use dotmsg::handler::{Json, State};

struct AppState;

#[derive(Clone)]
struct Rates;

#[dotmsg::handler(topic = "orders", group = "billing", state = AppState)]
async fn bill(State(_rates): State<Rates>, Json(_order): Json<u64>) {}

fn main() {}
