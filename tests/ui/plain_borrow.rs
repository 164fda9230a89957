//! Without the attribute, arguments cannot borrow.
use dotmsg::handler::{Handler, Json};

async fn borrows(Json(_order): Json<&str>) {}

fn is_handler<T, S>(_: impl Handler<T, S>) {}

fn main() {
    is_handler::<_, ()>(borrows);
}
