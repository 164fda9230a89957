//! Running a case: the broker that all share, the runtime they run in, the selection, the time limit.
//!
//! One runtime serves all cases, as one process would, because clients bind their connections to the runtime they were opened
//! in. What must stay true: a case that fails leaves nothing behind that another can notice but topics and groups of its own
//! name.

use std::future::Future;
use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dotmsg_core::backend::{Backend, Capability};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::fixture::{Broker, Fixture, Purpose};
use crate::minimum::shortfalls;
use crate::need::Need;
use crate::register::{CASES, Case};
use crate::trial::Trial;

/// No case takes longer than this; each wait inside of it has a shorter limit, which says what was waited for.
const CASE_WITHIN: Duration = Duration::from_secs(180);

/// Threads of the runtime. More than one, so that what runs side by side does; few, because the test runner starts several
/// cases at once.
const THREADS: usize = 4;

/// The suite on one fixture. [`conformance!`](crate::conformance) makes it; use it by hand to run cases in another harness.
pub struct Suite<F> {
    started: OnceLock<Started<F>>,
    /// Set when it was said that there is no broker.
    absent: OnceLock<()>,
}

struct Started<F> {
    runtime: Runtime,
    fixture: Arc<F>,
}

impl<F: Fixture> Suite<F> {
    /// The broker starts with the first case.
    #[must_use]
    #[allow(
        clippy::new_without_default,
        reason = "it is made in a static, where Default cannot be called"
    )]
    pub const fn new() -> Self {
        Self {
            started: OnceLock::new(),
            absent: OnceLock::new(),
        }
    }

    /// Runs the case of this theme and name, or says on standard error why it does not run.
    ///
    /// # Panics
    /// When the case fails, when there is no such case, and when the backend declares less than its fixture pins.
    pub fn run(&self, theme: &str, name: &str) {
        let case = CASES
            .iter()
            .find(|case| case.theme == theme && case.name == name)
            .unwrap_or_else(|| panic!("there is no case {theme}::{name}"));
        if let Some(reason) = F::absent() {
            self.absent
                .get_or_init(|| say_skipped("all cases", &reason));
            return;
        }
        let started = self.started.get_or_init(start);
        let fixture = Arc::clone(&started.fixture);
        started.runtime.block_on(run::<F>(case, fixture));
    }
}

impl<F> std::fmt::Debug for Suite<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite").finish_non_exhaustive()
    }
}

fn start<F: Fixture>() -> Started<F> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .unwrap_or_else(|error| panic!("no runtime for the cases: {error}"));
    let fixture = Arc::new(runtime.block_on(F::start(Purpose::Shared)));
    Started { runtime, fixture }
}

async fn run<F: Fixture>(case: &'static Case, shared: Arc<F>) {
    let Some(declared) = limited(declared(case, &*shared)).await else {
        return;
    };
    // Without a limit: it may have to wait until another case is through with its broker.
    let broker: Arc<dyn Broker> = match case.needs.contains(&Need::Restart) {
        true => Arc::new(F::start(Purpose::Alone).await),
        false => shared,
    };
    limited((case.run)(Trial::new(broker, declared, case))).await;
}

async fn limited<T>(part: impl Future<Output = T>) -> T {
    match timeout(CASE_WITHIN, part).await {
        Ok(done) => done,
        Err(_) => panic!("the case took more than {CASE_WITHIN:?}"),
    }
}

/// What the backend declares; `None` when the case needs more, which is said.
async fn declared<F: Fixture>(case: &Case, shared: &F) -> Option<Capability> {
    let backend = shared
        .connect()
        .await
        .unwrap_or_else(|error| panic!("the fixture opens no connection: {error}"));
    let declared = backend.capability();
    let short = shortfalls(&declared, &Fixture::minimum(shared));
    assert!(
        short.is_empty(),
        "the backend declares less than is pinned for it:\n  {}",
        short.join("\n  ")
    );
    close(&*backend).await;
    for need in case.needs {
        if let Some(reason) = need.unmet(&declared, shared) {
            say_skipped(&format!("{}::{}", case.theme, case.name), reason);
            return None;
        }
    }
    Some(declared)
}

async fn close(backend: &dyn Backend) {
    if let Err(error) = backend.close().await {
        panic!("a connection that did nothing does not close: {error}");
    }
}

/// Past the capture of the test runner, which takes what `eprintln!` writes and shows it for failed tests only: a skipped
/// case must be seen.
fn say_skipped(what: &str, reason: &str) {
    // In one piece, because cases run side by side.
    let line = format!("skipped {what}: {reason}\n");
    // A closed standard error is no reason to fail a test.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
