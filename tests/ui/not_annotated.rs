//! A function without the attribute, where one with it is wanted.
use dotmsg::handler::{Annotated, Invoke, Json};

async fn bill(Json(_order): Json<u64>) {}

fn register<S, T, H>(_: H)
where
    H: Annotated<T>,
    H::Meta: Invoke<S>,
{
}

fn main() {
    register::<(), _, _>(bill);
}
