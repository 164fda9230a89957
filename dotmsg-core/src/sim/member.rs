//! A member: an app that is started, and started again whenever it ends before the run does, as a supervisor would.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::history::What;
use super::life::{Life, RESTART_MS};
use super::subject::Subject;
use super::world::{World, lock};
use crate::app::AppReport;
use crate::error::Result;

/// A member, over all its lives.
#[derive(Debug)]
pub(super) struct Member {
    world: Arc<World>,
    number: u32,
    life: Mutex<Option<Arc<Life>>>,
    stop: Notify,
    /// How long it is down after the stop.
    down_ms: Mutex<u64>,
    /// It is not to be started before it is told to.
    held: AtomicBool,
    released: Notify,
    /// The run ends: it is not started again.
    last: AtomicBool,
}

/// How a life ended.
enum End {
    Killed(u64),
    Stopped(u64),
    Failed,
}

impl Member {
    pub(super) fn new(world: &Arc<World>, number: u32) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            number,
            life: Mutex::default(),
            stop: Notify::new(),
            down_ms: Mutex::new(0),
            held: AtomicBool::new(false),
            released: Notify::new(),
            last: AtomicBool::new(false),
        })
    }

    /// Its life, while it has one.
    pub(super) fn life(&self) -> Option<Arc<Life>> {
        lock(&self.life).clone()
    }

    /// Told to stop, as on SIGTERM; started again after `down_ms`.
    pub(super) fn stop(&self, down_ms: u64) {
        if self.life().is_some() {
            *lock(&self.down_ms) = down_ms;
            self.stop.notify_one();
        }
    }

    /// Told to stop, and not to start again before [`Member::release`].
    pub(super) fn hold(&self) {
        self.held.store(true, Relaxed);
        if let Some(life) = self.life() {
            life.wake();
        }
        self.stop.notify_one();
    }

    /// May start again.
    pub(super) fn release(&self) {
        self.held.store(false, Relaxed);
        self.released.notify_one();
    }

    /// Told to stop, for good.
    pub(super) fn end(&self) {
        self.last.store(true, Relaxed);
        self.stop.notify_one();
    }

    /// Lives until the run ends.
    pub(super) async fn live(self: Arc<Self>, subject: Arc<dyn Subject>) {
        while !self.last.load(Relaxed) {
            while self.held.load(Relaxed) {
                self.released.notified().await;
            }
            let life = Life::new(&self.world, self.number);
            *lock(&self.life) = Some(Arc::clone(&life));
            let end = self.one_life(&life, &*subject).await;
            *lock(&self.life) = None;
            let down_ms = match end {
                End::Killed(down_ms) | End::Stopped(down_ms) => down_ms,
                End::Failed => RESTART_MS,
            };
            if self.last.load(Relaxed) {
                break;
            }
            let rest = tokio::time::sleep(Duration::from_millis(down_ms.max(1)));
            tokio::select! {
                biased;
                () = rest => {}
                () = self.stop.notified() => {}
            }
        }
    }

    async fn one_life(&self, life: &Arc<Life>, subject: &dyn Subject) -> End {
        life.push(0, What::Started);
        let started = tokio::select! {
            biased;
            down_ms = life.death() => return End::Killed(down_ms),
            started = subject.start(life) => started,
        };
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                life.push(0, What::Failed(error.kind(), error.to_string().into()));
                return End::Failed;
            }
        };
        self.world.register(running.handle());
        life.started(running.handle());
        let handle = running.handle().clone();
        let mut task = tokio::spawn(running.wait());
        tokio::select! {
            biased;
            down_ms = life.death() => return killed(task, down_ms).await,
            ended = &mut task => return self.ended(life, ended),
            () = self.stop.notified() => {}
        }
        life.push(0, What::Stopping);
        handle.drain();
        tokio::select! {
            biased;
            down_ms = life.death() => killed(task, down_ms).await,
            ended = &mut task => self.ended(life, ended),
        }
    }

    fn ended(
        &self,
        life: &Life,
        ended: std::result::Result<Result<AppReport>, tokio::task::JoinError>,
    ) -> End {
        match ended {
            Ok(Ok(report)) => {
                let abandoned = report.routes.iter().map(|route| route.abandoned).sum();
                life.push(0, What::Stopped(abandoned));
                End::Stopped(*lock(&self.down_ms))
            }
            Ok(Err(error)) => {
                life.push(0, What::Failed(error.kind(), error.to_string().into()));
                End::Failed
            }
            Err(panic) => {
                let text = format!("the app's task panicked: {panic}");
                life.push(
                    0,
                    What::Failed(crate::error::ErrorKind::Unexpected, text.into()),
                );
                End::Failed
            }
        }
    }
}

/// Nothing of it is left when this resolves.
async fn killed(task: JoinHandle<Result<AppReport>>, down_ms: u64) -> End {
    task.abort();
    // Whatever it came to: it is dead.
    let _ = task.await;
    End::Killed(down_ms)
}
