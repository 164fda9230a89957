//! A memory broker that outlives the app: closing it is not for the app under test to do.

use std::sync::Arc;

use crate::backend::{
    Admin, Backend, BoxFuture, Capability, Membership, Publisher, Reader, Subscription,
    Transactions,
};
use crate::error::Result;
use crate::log::LogBroker;

/// Passes everything on but [`Backend::close`].
#[derive(Debug)]
pub(super) struct Outliving(pub(super) LogBroker);

impl Backend for Outliving {
    fn capability(&self) -> Capability {
        self.0.capability()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        self.0.subscribe(subscription)
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        self.0.publisher()
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        self.0.reader()
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.0.admin()
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        self.0.transactions()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
