//! One run: publish, handle until every published row is settled, fold the table.

use std::path::PathBuf;
use std::process::ExitCode;

use dotmsg::app::{AppHandle, Running};
use dotmsg::backend::TopicDescription;
use dotmsg::config::BackendConfig;
use tokio::time::Instant;

use crate::Failure;
use crate::input::Input;
use crate::journal;
use crate::ledger;
use crate::options::{Options, Role};
use crate::progress::{Progress, settled};
use crate::publish;
use crate::settle;
use crate::table::grouped;
use crate::trial::Trial;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Finished,
    /// By a signal, with rows left.
    Stopped,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Finished => Self::SUCCESS,
            End::Stopped => Self::FAILURE,
        }
    }
}

/// One run of this process.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    options: &'a Options,
    /// Notes of all processes.
    pub(crate) state: PathBuf,
    /// What is published; `None`: nothing.
    input: Option<Input<'a>>,
    /// What the broker's topics start with.
    prefix: &'a str,
    /// Whether no other process can reach the topics.
    alone: bool,
    progress: Progress,
    start: Instant,
}

impl<'a> Run<'a> {
    /// A run that begins now.
    ///
    /// # Errors
    /// The input is not what it should be, or the state cannot be read.
    pub(crate) fn new(options: &'a Options, main: &'a BackendConfig) -> Result<Self, Failure> {
        let publishes = options.role != Role::Handle;
        let input = publishes.then(|| Input::check(&options.input));
        let input = input.transpose()?;
        let state = options.state(&main.url);
        journal::make(&state)?;
        let before = ledger::fold(&state)?.rows as u64;
        Ok(Self {
            options,
            state,
            input,
            prefix: &main.topic_prefix,
            alone: main.url.starts_with("log:") || main.url.starts_with("memory:"),
            progress: Progress::new(before),
            start: Instant::now(),
        })
    }

    /// Only publishes. Returns what it prints.
    pub(crate) async fn publish(&self, running: Running) -> Result<String, Failure> {
        let app = running.handle().clone();
        let topic = self.declare(&app).await?;
        let published = self.publish_to(&app, &topic).await?;
        running.wait().await?;
        if self.options.json {
            return self.table(published);
        }
        self.progress.clear();
        if published == 0 {
            return Ok("everything was published before; --role handle handles it\n".to_owned());
        }
        let (rows, rate) = (grouped(published), grouped(self.rate(published)));
        Ok(format!(
            "{rows} rows published, {rate} a second; --role handle handles them\n"
        ))
    }

    /// Handles until every published row is settled, or until a signal ends it. Returns what it prints.
    pub(crate) async fn handle(
        &self,
        running: Running,
        trial: &Trial,
    ) -> Result<(String, End), Failure> {
        let app = running.handle().clone();
        let flight = app
            .route("flight")
            .ok_or("no route of the handler flight")?;
        trial.set_retry(&flight.spec.retry);
        let routes = running.run();
        tokio::pin!(routes);
        let mut end = End::Finished;
        tokio::select! {
            biased;
            done = self.all_settled(&app) => {
                app.drain();
                let ended = routes.await;
                done?;
                ended?;
            }
            ended = &mut routes => {
                ended?;
                end = End::Stopped;
            }
            () = self.progress.follow(&flight.stats) => {}
        }
        let done = settled(&flight.stats);
        let table = self.table(done)?;
        if end == End::Stopped {
            eprintln!("flights: stopped before the end; the next run goes on from here");
        } else if done == 0 {
            eprintln!("flights: nothing was left to do; the table is that of earlier runs");
        }
        Ok((table, end))
    }

    async fn all_settled(&self, app: &AppHandle) -> Result<(), Failure> {
        let topic = self.declare(app).await?;
        self.publish_to(app, &topic).await?;
        settle::settled(app, &topic, &self.state, (self.alone, &self.progress)).await
    }

    async fn declare(&self, app: &AppHandle) -> Result<TopicDescription, Failure> {
        let backend = app.backend("main").ok_or("the backend main is not open")?;
        publish::declare(&*backend.admin(), self.prefix).await
    }

    async fn publish_to(&self, app: &AppHandle, topic: &TopicDescription) -> Result<u64, Failure> {
        let Some(input) = &self.input else {
            return Ok(0);
        };
        let publisher = app
            .publisher("main")
            .ok_or("the backend main is not open")?;
        publish::publish(publisher, topic, input, &self.state, &self.progress).await
    }

    /// The table of all runs so far, as it is printed; `done` rows are this run's.
    fn table(&self, done: u64) -> Result<String, Failure> {
        self.progress.clear();
        let mut table = ledger::fold(&self.state)?;
        table.messages_per_second = self.rate(done);
        Ok(if self.options.json {
            serde_json::to_string(&table)? + "\n"
        } else {
            table.to_string()
        })
    }

    /// So many rows per second of this run.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    fn rate(&self, rows: u64) -> u64 {
        (rows as f64 / self.start.elapsed().as_secs_f64()) as u64
    }
}
