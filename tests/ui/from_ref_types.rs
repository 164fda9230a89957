//! Types that have no parts to take.
use dotmsg::FromRef;

#[derive(FromRef)]
enum Mode {
    Live(u64),
}

#[derive(FromRef)]
struct Nothing;

#[derive(FromRef)]
struct Generic<T> {
    part: T,
}

#[derive(FromRef)]
struct Borrowed<'a> {
    part: &'a str,
}

fn main() {}
