//! One run: publish, handle until every published row is settled, fold the table.

use std::path::PathBuf;

use dotmsg::app::{AppHandle, Running};
use dotmsg::backend::TopicDescription;
use tokio::time::Instant;

use crate::Failure;
use crate::ledger;
use crate::options::{Options, Role};
use crate::progress::{Progress, settled};
use crate::publish;
use crate::settle;
use crate::trial::Trial;

/// One run of this process.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    options: &'a Options,
    /// Notes of all processes.
    pub(crate) state: PathBuf,
    /// What the broker's topics start with.
    prefix: &'a str,
    progress: Progress,
    start: Instant,
}

impl<'a> Run<'a> {
    /// A run that begins now.
    pub(crate) fn new(
        options: &'a Options,
        state: PathBuf,
        prefix: &'a str,
    ) -> Result<Self, Failure> {
        std::fs::create_dir_all(&state)
            .map_err(|error| format!("cannot make {}: {error}", state.display()))?;
        let before = ledger::fold(&state)?.rows as u64;
        Ok(Self {
            options,
            state,
            prefix,
            progress: Progress::new(before),
            start: Instant::now(),
        })
    }

    /// Only publishes. Returns how many rows it published.
    pub(crate) async fn publish(&self, running: Running) -> Result<u64, Failure> {
        let app = running.handle().clone();
        let topic = self.declare(&app).await?;
        let published = self.publish_to(&app, &topic).await?;
        running.wait().await?;
        self.progress.clear();
        eprintln!("flights: {published} rows published; --role handle handles them");
        Ok(published)
    }

    /// Handles until every published row is settled, or until a signal ends it. Returns how many rows it settled.
    pub(crate) async fn handle(&self, running: Running, trial: &Trial) -> Result<u64, Failure> {
        let app = running.handle().clone();
        let flight = app
            .route("flight")
            .ok_or("no route of the handler flight")?;
        trial.set_retry(&flight.spec.retry);
        let routes = running.run();
        tokio::pin!(routes);
        tokio::select! {
            biased;
            done = self.all_settled(&app) => {
                done?;
                app.drain();
                routes.await?;
            }
            ended = &mut routes => {
                ended?;
                self.progress.clear();
                eprintln!("flights: stopped before the end; the next run goes on from here");
            }
            () = self.progress.follow(&flight.stats) => {}
        }
        Ok(settled(&flight.stats))
    }

    async fn all_settled(&self, app: &AppHandle) -> Result<(), Failure> {
        let topic = self.declare(app).await?;
        if self.options.role == Role::All {
            self.publish_to(app, &topic).await?;
        }
        settle::settled(app, &topic, &self.state, &self.progress).await
    }

    async fn declare(&self, app: &AppHandle) -> Result<TopicDescription, Failure> {
        let backend = app.backend("main").ok_or("the backend main is not open")?;
        publish::declare(&*backend.admin(), self.prefix).await
    }

    async fn publish_to(&self, app: &AppHandle, topic: &TopicDescription) -> Result<u64, Failure> {
        let publisher = app
            .publisher("main")
            .ok_or("the backend main is not open")?;
        let paths = (&*self.options.input, &*self.state);
        publish::publish(publisher, topic, paths, &self.progress).await
    }

    /// The table of all runs so far, as it is printed; `done` rows are this run's.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    pub(crate) fn table(&self, done: u64) -> Result<String, Failure> {
        let seconds = self.start.elapsed().as_secs_f64();
        self.progress.clear();
        let mut table = ledger::fold(&self.state)?;
        table.messages_per_second = (done as f64 / seconds) as u64;
        Ok(if self.options.json {
            serde_json::to_string(&table)? + "\n"
        } else {
            table.to_string()
        })
    }
}
