//! The id that a message was granted, where a route knows duplicates.
//!
//! It is what [`Dedup`](crate::middleware::dedup::Dedup) holds around any service; in a stack the first call keeps it beside what it
//! keeps anyway, since a layer of its own would move the future of every call once more. So it is a number, and whoever keeps it
//! gives it up. Where the way is long, or may panic, it is the layer's own claim again ([`Claimed::hold`]).
//!
//! What must stay true: a claim is given up *after* the call that it is for has been dropped, and in every way that a future can
//! end; it succeeds only with what was handled.

use std::sync::Arc;

use crate::backend::BoxFuture;
use crate::delivery::Delivery;
use crate::middleware::Outcome;
use crate::middleware::dedup::{Held, MemoryStore, ResponseFuture};

/// A claim that was granted, or none: the store's token. A first call is moved with it, so it is as small as can be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Claimed(u64);

impl Claimed {
    /// Of a route that does not know duplicates. No store gives it.
    pub(super) const NOTHING: Self = Self(u64::MAX);

    pub(super) fn granted(token: u64) -> Self {
        Self(token)
    }

    /// The message was handled: its id is remembered.
    #[inline]
    pub(super) fn succeed(&mut self, store: Option<&Arc<MemoryStore>>) {
        if let (false, Some(store)) = (*self == Self::NOTHING, store) {
            store.succeed_now(std::mem::replace(self, Self::NOTHING).0);
        }
    }

    /// The same as a claim that gives itself up.
    pub(super) fn hold(
        self,
        store: Option<&Arc<MemoryStore>>,
        delivery: &Delivery,
    ) -> Option<Held<MemoryStore>> {
        let store = store.filter(|_| self != Self::NOTHING)?;
        Some(Held::new(Arc::clone(store), delivery.clone(), self.0))
    }

    /// Runs what may panic: then it is given up.
    #[inline]
    pub(super) fn guard<T>(
        self,
        store: Option<&Arc<MemoryStore>>,
        delivery: &Delivery,
        run: impl FnOnce() -> T,
    ) -> T {
        if self == Self::NOTHING {
            return run();
        }
        let held = self.hold(store, delivery);
        let done = run();
        if let Some(held) = held {
            held.close();
        }
        done
    }
}

/// What the rest of the stack ends with. A claim ends with it.
pub(super) fn until<E: Send + 'static>(
    held: Option<Held<MemoryStore>>,
    rest: BoxFuture<'static, Result<Outcome, E>>,
) -> BoxFuture<'static, Result<Outcome, E>> {
    match held {
        Some(held) => Box::pin(ResponseFuture::calling(rest, Some(held))),
        None => rest,
    }
}
