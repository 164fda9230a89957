//! Words that do not exist, exclude each other, or stand at the wrong place.
use dotmsg::Classify;

#[derive(Classify)]
#[classify(inner)]
enum BillError {
    #[classify(permanant)]
    Typo,
    #[classify(permanent, transient)]
    Both,
    #[classify(permanent = true)]
    Valued,
    #[classify(permanent, kind = 7)]
    Kind,
    #[classify(permanent, kind = " ")]
    NoKind,
    Field(#[classify(inner)] u8),
}

#[derive(Classify)]
enum Asked {
    #[classify(inner)]
    Nothing,
    #[classify(inner)]
    Two(u8, u8),
}

#[derive(Classify)]
union Bits {
    one: u8,
}

fn main() {}
