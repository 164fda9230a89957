//! A canary on a backend whose readers wait: for a broker that is away, or for records behind the last ones.

use std::ffi::OsString;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dotmsg::Result;
use dotmsg::backend::{
    Admin, Backend, BatchLimits, BoxFuture, Capability, Membership, Publisher, ReadBatch, Reader,
    Subscription,
};
use dotmsg::clock::SystemClock;
use dotmsg::log::{LogBroker, LogOptions};
use dotmsg_cli::Console;

use super::support::Desk;

/// Its readers give nothing of replay topics.
#[derive(Debug)]
struct Mute(LogBroker);

impl Backend for Mute {
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
        Box::pin(async { Ok(Box::new(MuteReader(self.0.reader().await?)) as _) })
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.0.admin()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Backend::close(&self.0)
    }
}

struct MuteReader(Box<dyn Reader>);

impl Reader for MuteReader {
    fn assign(&mut self, topic: &Arc<str>, partition: u32, from: u64) -> Result<()> {
        match topic.ends_with(".replay") {
            true => Ok(()),
            false => self.0.assign(topic, partition, from),
        }
    }

    fn unassign(&mut self, topic: &str, partition: u32) {
        self.0.unassign(topic, partition);
    }

    fn poll_batch(
        &mut self,
        cx: &mut Context<'_>,
        limits: BatchLimits,
        batch: &mut ReadBatch,
    ) -> Poll<Result<()>> {
        self.0.poll_batch(cx, limits, batch)
    }
}

#[tokio::test]
async fn a_canary_does_not_wait_for_a_reader_beyond_its_time() {
    let desk = Desk::new();
    for id in 1..=2 {
        desk.run(&format!("produce orders rate --key {id} --id {id}"))
            .ok();
    }
    desk.work().await;
    let data = desk.dir.path().join("data");
    let log = LogBroker::open(&data, LogOptions::new(Arc::new(SystemClock))).unwrap();
    let app = desk.app().backend("main", Arc::new(Mute(log)));
    let (mut console, captured) = Console::captured("");
    let line = "billing dlq replay --all --canary 1 --canary-timeout 300ms";
    let args = line.split(' ').map(OsString::from);
    let command = dotmsg_cli::run_in(app, args, &mut console);
    let exit = tokio::time::timeout(Duration::from_secs(30), command).await;
    assert_eq!(exit.expect("it ends").code(), 2, "{captured:?}");
    let says = "canary stopped: 1 dead letter not settled within 300ms, 0 failed again";
    assert!(captured.out().starts_with(says), "{captured:?}");
}
