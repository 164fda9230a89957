//! Two names of one type.
use dotmsg::FromRef;

type Cents = u64;

#[derive(FromRef)]
struct Service(u64, Cents);

fn main() {}
