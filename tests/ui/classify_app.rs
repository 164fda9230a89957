//! The app is told to ask a type that says nothing.
use dotmsg::{App, Config};

fn main() {
    let _app: App = App::with_config(Config::new()).classify::<std::num::ParseIntError>();
}
