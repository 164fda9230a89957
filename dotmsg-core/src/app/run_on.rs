//! One message through an app, from a call: the shortest way to see a handler work.
//!
//! It is what examples and first programs need and services do not: an app in memory that asks for no file, and a run that
//! publishes, waits and ends by itself. What must stay true: `Ok` means that every route that got something handled all of it.
//! A message that nobody took, that was given up or that waits for a retry is an error with its reason, because a first
//! program that prints nothing and succeeds teaches nothing.

use serde::Serialize;

use super::{Adapters, App, AppHandle, RouteHandle};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::message::{Message, cut};
use crate::replay::{DeadLetter, DeadLetters};

impl<R: Adapters> App<(), R> {
    /// An app on a log in memory that makes topics as they are needed, without a configuration file: for a first program, an
    /// example, a prototype. The environment (`DOTMSG__…`) may say otherwise, as with [`App::from_config`], and so may
    /// [`App::configure`].
    ///
    /// What is in memory is gone when the app ends. A service names its backend in a file.
    #[must_use]
    pub fn memory() -> Self {
        let config = Config::new()
            .default_value("backend.main.url", "memory:")
            .default_value("backend.main.auto_create", true)
            .default_value("backend.main.memory.auto_create", true);
        Self::with_config(config.env_os(std::env::vars_os()))
    }
}

impl<S, R> App<S, R>
where
    S: Send + Sync + 'static,
    R: Adapters,
{
    /// Starts, publishes this value as JSON to `topic` of the backend `main`, waits until nothing is left to handle (what
    /// handlers returned included, of earlier runs too), and stops. It listens to no signals.
    ///
    /// ```
    /// use dotmsg_core::app::{Adapters, App};
    /// use dotmsg_core::backend::Registry;
    /// use dotmsg_core::config::RouteDefaults;
    /// use dotmsg_core::handler::{HandlerError, Json};
    /// use dotmsg_core::log::{MemoryLogs, memory_factory};
    ///
    /// /// What `dotmsg::App` brings along.
    /// struct InMemory;
    ///
    /// impl Adapters for InMemory {
    ///     fn registry() -> Registry {
    ///         let mut registry = Registry::new();
    ///         registry.register("memory", memory_factory(MemoryLogs::new()));
    ///         registry
    ///     }
    /// }
    ///
    /// async fn hello(Json(name): Json<String>) -> Result<(), HandlerError> {
    ///     match &*name {
    ///         "" => Err(HandlerError::permanent("nobody to greet")),
    ///         name => Ok(println!("hello, {name}")),
    ///     }
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let route = || RouteDefaults::new("hello").with("topic", "names").with("group", "hello");
    /// let app = || App::<(), InMemory>::memory().route(route(), hello);
    /// app().run_on("names", "world").await?;
    ///
    /// let error = app().run_on("names", "").await.unwrap_err();
    /// assert!(error.to_string().contains("nobody to greet"), "{error}");
    /// # Ok::<(), dotmsg_core::error::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`App::run`]. The value is no JSON; it is not published; no handler took it; a message became a dead letter, or waits
    /// in a tier.
    pub async fn run_on<T: Serialize>(self, topic: &str, payload: T) -> Result<()> {
        self.has_handlers()?;
        let message = json(topic, &payload)?;
        let running = self.start().await?;
        let app = running.handle().clone();
        let seen = async {
            publish(&app, topic, message).await?;
            app.idle().await;
            is_handled(&app, topic).await
        };
        let seen = seen.await;
        app.drain();
        // The route's own failure is the cause, where there is one.
        running.wait().await?;
        seen
    }
}

fn error(kind: ErrorKind, topic: &str, message: &'static str) -> Error {
    Error::new(kind, "run on a message", message).with("topic", topic)
}

fn json(topic: &str, payload: &impl Serialize) -> Result<Message> {
    match cut(|to| serde_json::to_writer(to, payload)) {
        Ok(bytes) => Ok(Message::new(bytes)),
        Err(cause) => Err(error(
            ErrorKind::Invalid,
            topic,
            "the value cannot be represented as JSON",
        )
        .source_error(cause)),
    }
}

async fn publish(app: &AppHandle, topic: &str, message: Message) -> Result<()> {
    let Some(publisher) = app.publisher("main") else {
        return Err(error(
            ErrorKind::Config,
            topic,
            "no route uses the backend main",
        ));
    };
    publisher.publish(topic, message).await?;
    Ok(())
}

/// The one that was given up last, as a log on disk may hold those of earlier runs.
async fn newest_letter(route: &RouteHandle) -> Result<Option<DeadLetter>> {
    let letters = DeadLetters::read(&*route.backend, &route.topology.dead_letter).await?;
    Ok(letters.into_iter().max_by_key(|letter| letter.appended_at))
}

/// Whether something was handled, and nothing was given up or is to be tried again.
async fn is_handled(app: &AppHandle, topic: &str) -> Result<()> {
    let mut settled = 0;
    for route in app.routes() {
        let stats = &route.stats;
        settled += stats.handled() + stats.discarded() + stats.duplicates() + stats.shed();
        let failed =
            |what| error(ErrorKind::Invalid, topic, what).with("route", &route.spec.handler);
        if stats.dead_lettered() > 0 {
            let failed = failed("the message became a dead letter");
            return Err(match newest_letter(route).await? {
                Some(letter) => failed
                    .with("kind", &letter.kind)
                    .with("reason", &letter.reason),
                None => failed,
            });
        }
        if stats.away() > 0 {
            return Err(failed(
                "the message failed and waits in a tier for its next attempt",
            ));
        }
    }
    match settled {
        0 => Err(
            error(ErrorKind::NotFound, topic, "no handler took the message")
                .remedy("Publish to the topic that a handler names in its attribute"),
        ),
        _ => Ok(()),
    }
}
