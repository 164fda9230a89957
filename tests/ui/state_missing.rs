//! The app's state lacks what the handler takes.
use dotmsg::handler::{Annotated, Invoke, Json, State};

struct AppState;

#[derive(Clone)]
struct Rates;

#[dotmsg::handler(topic = "orders", group = "billing")]
async fn bill(State(_rates): State<Rates>, Json(_order): Json<u64>) {}

fn register<S, T, H>(_: H)
where
    H: Annotated<T>,
    H::Meta: Invoke<S>,
{
}

fn main() {
    register::<AppState, _, _>(bill);
}
