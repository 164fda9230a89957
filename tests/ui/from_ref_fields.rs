//! Fields that cannot be told apart, that cannot be cloned, and attributes that do not exist.
use dotmsg::FromRef;

struct Rates;

#[derive(FromRef)]
struct Service {
    limit: u64,
    floor: u64,
    rates: Rates,
    #[from_ref(skipped)]
    one: u8,
    #[from_ref(skip = true)]
    two: u16,
    #[from_ref]
    three: u32,
}

fn main() {}
