//! A variant, and a struct, whose class nobody said.
use dotmsg::Classify;

#[derive(Classify)]
enum BillError {
    #[classify(permanent, kind = "empty")]
    Empty,
    Database(std::io::Error),
    #[classify(kind = "rates")]
    Rates,
}

#[derive(Classify)]
struct Timeout;

fn is_classified<E: Classify>() {}

fn main() {
    is_classified::<BillError>();
    is_classified::<Timeout>();
}
