//! Where the ids of handled messages are remembered, and who handles one now.

use std::fmt;

use crate::backend::BoxFuture;
use crate::delivery::Delivery;
use crate::error::Result;

/// What a claim came to.
pub enum Claim {
    /// The id is the caller's until it says what became of the message. The number is the store's own: it comes back with
    /// [`DedupStore::succeed`] or [`DedupStore::release`], so that a claim which has lapsed meanwhile is told from the one
    /// that followed it.
    Granted(u64),
    /// A message with this id was handled.
    Handled,
    /// One is being handled. The future ends when it is worth asking again: at once when its claim is over, where the store
    /// can know, else after a while.
    Running(BoxFuture<'static, ()>),
}

impl fmt::Debug for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Granted(token) => f.debug_tuple("Granted").field(token).finish(),
            Self::Handled => f.write_str("Handled"),
            Self::Running(_) => f.write_str("Running"),
        }
    }
}

/// An answer of a store: at once, or later. A store in memory answers at once, and costs no box for it.
pub enum Reply<T> {
    /// At once.
    Now(T),
    /// Later. What fails is asked again, with pauses, until it is answered or the partition is given up.
    Later(BoxFuture<'static, Result<T>>),
}

impl<T: fmt::Debug> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(answer) => f.debug_tuple("Now").field(answer).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// Remembers the ids of messages that were handled, and grants each id to one caller at a time.
///
/// A store is of one scope: one handler in one group. One that keeps several in a table puts the scope before the id. It is
/// asked with the whole delivery: the id is [`identity`](super::identity()) of it, and a database may need its time to choose a
/// partition.
///
/// What an implementation outside of the process has to know:
///
/// - A caller may vanish with its claim (a crash, a future that was dropped): a claim needs an end of its own, longer than the
///   longest call.
/// - An answer may be lost, and the question is then asked again: claiming what this very store was granted before must not
///   wait for itself for longer than that end.
/// - `succeed` is awaited before the message is settled. When it fails for good the message is settled none the less, since it was
///   handled.
pub trait DedupStore: fmt::Debug + Send + Sync + 'static {
    /// Claims the id of a delivery.
    fn claim(&self, delivery: &Delivery) -> Reply<Claim>;

    /// The message was handled, and what it returned is confirmed: its id is remembered.
    fn succeed(&self, delivery: &Delivery, token: u64) -> Reply<()>;

    /// It was not: the next one with this id is to be handled. It is called wherever a future may be dropped, so it must not
    /// block; a store elsewhere sends it off, and relies on the end of the claim if it does not arrive.
    fn release(&self, delivery: &Delivery, token: u64);
}
