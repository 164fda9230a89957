//! Permits for calls, shared by all that are limited by them.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::backend::BoxFuture;

/// So many calls at once. A clone has the same permits.
///
/// Whoever waits gets a permit in the order in which it asked. tokio's semaphore hands a permit that comes free to the first
/// that waits, and takes it on to the next if that one was dropped meanwhile.
#[derive(Clone)]
pub struct CallPermits {
    limit: usize,
    free: Arc<Semaphore>,
}

impl CallPermits {
    /// This many, all free.
    ///
    /// # Panics
    /// When there are none: no call could ever begin.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        assert!(limit > 0, "a limit of no calls at all");
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            limit,
            free: Arc::new(Semaphore::new(limit)),
        }
    }

    /// How many there are.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many are free now.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// Takes one if one is free, and nobody waits for it.
    pub(super) fn try_take(&self) -> bool {
        self.free
            .try_acquire()
            .map(|permit| permit.forget())
            .is_ok()
    }

    /// Ends when it has taken one; dropped before, it takes none.
    pub(super) fn taking(&self) -> Taking {
        let acquire = Arc::clone(&self.free).acquire_owned();
        Box::pin(async move { acquire.await.expect("it is never closed").forget() })
    }

    /// Gives one back.
    pub(super) fn give_back(&self) {
        self.free.add_permits(1);
    }
}

pub(super) type Taking = BoxFuture<'static, ()>;

impl fmt::Debug for CallPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallPermits")
            .field("limit", &self.limit)
            .field("free", &self.free())
            .finish()
    }
}
