//! The memory log with another face: a test says what differs, and everything else passes through.

use std::sync::Arc;

use super::{
    Admin, Backend, BoxFuture, Capability, Membership, Publisher, Reader, Subscription,
    Transactions,
};
use crate::error::Result;
use crate::log::LogBroker;

/// What a test may override; whoever has it is a [`Backend`].
pub(crate) trait Face: std::fmt::Debug + Send + Sync + 'static {
    fn broker(&self) -> &LogBroker;

    fn capability(&self) -> Capability {
        self.broker().capability()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        self.broker().subscribe(subscription)
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.broker().admin()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        self.broker().close()
    }
}

impl<F: Face> Backend for F {
    fn capability(&self) -> Capability {
        Face::capability(self)
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Face::subscribe(self, subscription)
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        self.broker().publisher()
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        self.broker().reader()
    }

    fn admin(&self) -> Arc<dyn Admin> {
        Face::admin(self)
    }

    fn transactions(&self) -> Option<Arc<dyn Transactions>> {
        self.broker().transactions()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Face::close(self)
    }
}
