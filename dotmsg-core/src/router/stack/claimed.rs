//! The id that a message was granted, where a route knows duplicates.
//!
//! It is what [`Dedup`](crate::middleware::dedup::Dedup) holds around any service; in a stack the first call keeps it beside what it
//! keeps anyway, since a layer of its own would move the future of every call once more.
//!
//! What must stay true: a claim is given up *after* the call that it is for has been dropped, and in every way that a future can
//! end; it succeeds only with what was handled.

use std::sync::Arc;

use crate::backend::BoxFuture;
use crate::middleware::Outcome;
use crate::middleware::dedup::MemoryStore;

/// A claim that was granted, or none: the store's token. A first call is moved with it, so it is as small as can be, and it is upon
/// whoever keeps it to give it up.
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
        if let Some((store, token)) = self.take(store) {
            store.succeed_now(token);
        }
    }

    #[inline]
    fn take<'s>(&mut self, store: Option<&'s Arc<MemoryStore>>) -> Option<(&'s MemoryStore, u64)> {
        if *self == Self::NOTHING {
            return None;
        }
        let token = std::mem::replace(self, Self::NOTHING).0;
        Some((store?, token))
    }

    /// The same for what may panic, or takes a while: given up when it is dropped.
    pub(super) fn hold(self, store: Option<&Arc<MemoryStore>>) -> Held {
        let claims = self != Self::NOTHING;
        Held {
            claimed: self,
            store: store.filter(|_| claims).map(Arc::clone),
        }
    }
}

/// A claim that gives itself up.
pub(super) struct Held {
    claimed: Claimed,
    store: Option<Arc<MemoryStore>>,
}

impl Held {
    /// It is upon the caller again.
    pub(super) fn let_go(mut self) -> Claimed {
        std::mem::replace(&mut self.claimed, Claimed::NOTHING)
    }

    /// Ends with what the rest of the stack ends with.
    pub(super) fn until<E: Send + 'static>(
        mut self,
        rest: BoxFuture<'static, Result<Outcome, E>>,
    ) -> BoxFuture<'static, Result<Outcome, E>> {
        if self.store.is_none() {
            return rest;
        }
        Box::pin(async move {
            let outcome = rest.await?;
            if outcome == Outcome::HANDLED {
                self.claimed.succeed(self.store.as_ref());
            }
            Ok(outcome)
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some((store, token)) = self.claimed.take(self.store.as_ref()) {
            store.release_now(token);
        }
    }
}
