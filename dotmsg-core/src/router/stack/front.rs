//! What a message meets first: it may be shed, and it may be a duplicate. Only then does it cost anything.
//!
//! Shedding is a layer. Of duplicates only the store is here: the first call asks it (`first`).
//!
//! What they remember is one for all workers of a route, so it is made with the route and not with a stack.

use std::sync::Arc;

use tower_layer::Layer;

use crate::clock::Clock;
use crate::middleware::dedup::{DedupLimits, MemoryStore};
use crate::middleware::shed::{Shed, ShedLayer, ShedParts, Shedding};
use crate::router::{DedupSpec, RouteSpec, ShedSpec};

/// What the workers of a route share: ids of handled messages, and the rule by which others are shed. The default has neither.
#[derive(Clone, Debug, Default)]
pub struct Front {
    store: Option<Arc<MemoryStore>>,
    shedding: Option<Arc<Shedding>>,
}

impl Front {
    /// As the route says.
    #[must_use]
    pub fn of(route: &RouteSpec, clock: &Arc<dyn Clock>) -> Self {
        let store = |DedupSpec { max_ids, keep_for }| {
            Arc::new(MemoryStore::new(DedupLimits { max_ids, keep_for }))
        };
        let rule = |ShedSpec {
                        keep_ppm,
                        older_than,
                    }| {
            Arc::new(Shedding::new(ShedParts {
                handler: route.handler.as_str().into(),
                keep_ppm,
                older_than,
                clock: Arc::clone(clock),
            }))
        };
        let sheds = Some(route.shed).filter(|shed| *shed != ShedSpec::default());
        Self {
            store: route.dedup.map(store),
            shedding: sheds.map(rule),
        }
    }

    /// Whether messages may be shed.
    pub(super) fn sheds(&self) -> bool {
        self.shedding.is_some()
    }

    /// The ids of handled messages, if duplicates are to be known.
    #[inline]
    pub(super) fn store(&self) -> Option<&Arc<MemoryStore>> {
        self.store.as_ref()
    }

    /// The same without that.
    pub(super) fn without_store(&self) -> Self {
        Self {
            store: None,
            shedding: self.shedding.clone(),
        }
    }

    /// The layer of what is shed, around the rest of a stack.
    pub(super) fn around<S>(&self, inner: S) -> Shed<S> {
        ShedLayer::new(self.shedding.clone()).layer(inner)
    }
}
