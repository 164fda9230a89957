//! The field that is asked does not say its class.
use dotmsg::Classify;

#[derive(Classify)]
#[classify(transient)]
enum BillError {
    Rates,
    #[classify(inner)]
    Database(std::io::Error),
}

fn main() {}
