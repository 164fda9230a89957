//! A backend between an app and the broker: it can stop the world at a named point, and hears every commit.
//!
//! A stopped world is what a process is to the broker from the moment it is killed or frozen: the call that stopped it is not
//! answered, and nothing else gets through in either direction. A case then aborts the app (a crash), or lets the world go on
//! (a frozen process that wakes up).
//!
//! What must stay true: what is called after the stop never reaches the broker, and what was handed over before is not taken
//! back.

mod gate;
mod halves;

pub(crate) use gate::{Gate, Point};

use std::fmt;
use std::sync::Arc;

use dotmsg_core::backend::{
    Admin, Backend, BoxFuture, Capability, Membership, Partitioner, Progress, Publisher, Reader,
    Subscription,
};
use dotmsg_core::error::Result;

use self::halves::{GatedControl, GatedPublisher, GatedReader, GatedSource};

/// Hears what is handed to the broker to be committed, before it is.
pub(crate) type OnCommit = Arc<dyn Fn(&[Progress]) + Send + Sync>;

/// Passes everything on, through a gate.
pub(crate) struct Interposed {
    backend: Arc<dyn Backend>,
    gate: Arc<Gate>,
    on_commit: OnCommit,
}

impl Interposed {
    /// A world that stops at this point of what is done through it.
    pub(crate) fn stopping_at(backend: Arc<dyn Backend>, point: Point) -> (Arc<Self>, Arc<Gate>) {
        let gate = Arc::new(Gate::armed(point));
        let interposed = Self {
            backend,
            gate: Arc::clone(&gate),
            on_commit: Arc::new(|_| {}),
        };
        (Arc::new(interposed), gate)
    }

    /// A world that does not stop, in which the next answers are lost: what was asked for is done, and nobody hears so.
    pub(crate) fn losing(backend: Arc<dyn Backend>, answers: usize) -> (Arc<Self>, Arc<Gate>) {
        let gate = Arc::new(Gate::losing(answers));
        let interposed = Self {
            backend,
            gate: Arc::clone(&gate),
            on_commit: Arc::new(|_| {}),
        };
        (Arc::new(interposed), gate)
    }

    /// A world that does not stop; `hear` is told of every commit.
    pub(crate) fn hearing(
        backend: Arc<dyn Backend>,
        hear: impl Fn(&[Progress]) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            backend,
            gate: Arc::new(Gate::open()),
            on_commit: Arc::new(hear),
        })
    }
}

impl fmt::Debug for Interposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Interposed").field(&self.backend).finish()
    }
}

impl Backend for Interposed {
    fn capability(&self) -> Capability {
        self.backend.capability()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Membership>> {
        Box::pin(async move {
            self.gate.pass().await;
            let (source, control) = self.backend.subscribe(subscription).await?;
            let source = GatedSource {
                source,
                gate: Arc::clone(&self.gate),
            };
            let control = GatedControl {
                control,
                gate: Arc::clone(&self.gate),
                on_commit: Arc::clone(&self.on_commit),
            };
            Ok((Box::new(source) as _, Arc::new(control) as _))
        })
    }

    fn publisher(&self) -> Arc<dyn Publisher> {
        Arc::new(GatedPublisher {
            publisher: self.backend.publisher(),
            gate: Arc::clone(&self.gate),
        })
    }

    fn partitioned_by(&self, partitioner: Arc<dyn Partitioner>) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Self {
            backend: self.backend.partitioned_by(partitioner)?,
            gate: Arc::clone(&self.gate),
            on_commit: Arc::clone(&self.on_commit),
        }))
    }

    fn reader(&self) -> BoxFuture<'_, Result<Box<dyn Reader>>> {
        Box::pin(async move {
            self.gate.pass().await;
            let reader = GatedReader {
                reader: self.backend.reader().await?,
                gate: Arc::clone(&self.gate),
            };
            Ok(Box::new(reader) as _)
        })
    }

    fn admin(&self) -> Arc<dyn Admin> {
        self.backend.admin()
    }

    fn close(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            self.gate.pass().await;
            self.backend.close().await
        })
    }
}
