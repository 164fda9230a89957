//! Listening, and what each path answers.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dotmsg_core::app::AppHandle;
use dotmsg_core::error::{Error, ErrorKind, Result};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::health::json_of;
use crate::metrics::metrics_text;

/// Connections at once; more wait. A scraper and a few probes need a handful.
const CONNECTIONS_MAX: usize = 64;
/// A request has arrived by then, or its connection is closed.
const REQUEST_WITHIN: Duration = Duration::from_secs(10);
/// And its answer has been taken by then: who asks and does not read must not keep the room of others.
const CONNECTION_WITHIN: Duration = Duration::from_secs(20);
/// After an error of the system (no file descriptor is left, say) nothing is accepted for so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Answer = Response<Full<Bytes>>;

/// An address that is listened on; nothing answers before [`Endpoint::serve`].
#[derive(Debug)]
pub struct Endpoint {
    listener: TcpListener,
}

/// Listens on `address`, such as `127.0.0.1:9464`; port 0 takes a free one.
///
/// # Errors
/// The address is taken, or not one of this machine's.
pub async fn bind(address: SocketAddr) -> Result<Endpoint> {
    let refused = |error: io::Error| {
        Error::new(
            ErrorKind::Config,
            "listen for HTTP",
            "the address cannot be listened on",
        )
        .with("address", address)
        .remedy("Choose a free port, and an address of this machine or 0.0.0.0")
        .source_error(error)
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    Ok(Endpoint { listener })
}

impl Endpoint {
    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for this app until the future is dropped, which ends every connection.
    pub async fn serve(self, app: AppHandle) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        loop {
            let permit = Arc::clone(&room).acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let connection = connection(stream, app.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::debug!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
            while connections.try_join_next().is_some() {}
        }
    }
}

fn connection(stream: TcpStream, app: AppHandle) -> impl Future<Output = ()> {
    let service = service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(answer(&request, &app).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WITHIN)
        // Whoever asks again connects again: what asks here does so every few seconds, and requests that are sent ahead of their
        // answers would be worked off without end.
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    async move {
        match timeout(CONNECTION_WITHIN, connection).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection of the HTTP endpoint broke"),
            Err(_) => tracing::debug!("an answer of the HTTP endpoint was not taken"),
        }
    }
}

async fn answer<B>(request: &Request<B>, app: &AppHandle) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD\n");
        let allowed = header::HeaderValue::from_static("GET, HEAD");
        answer.headers_mut().insert(header::ALLOW, allowed);
        return answer;
    }
    match request.uri().path() {
        "/metrics" => text(StatusCode::OK, OPEN_METRICS, metrics_text(app)),
        "/health/live" => health(app, |health| health.is_live()).await,
        "/health/ready" => health(app, |health| health.is_ready()).await,
        "/lag" => text(StatusCode::OK, TEXT, lag(app)),
        _ => text(
            StatusCode::NOT_FOUND,
            TEXT,
            "not here; there are /metrics, /health/live, /health/ready and /lag\n",
        ),
    }
}

async fn health(app: &AppHandle, is_well: impl Fn(&dotmsg_core::app::Health) -> bool) -> Answer {
    let health = app.health().await;
    let status = match is_well(&health) {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    text(status, JSON, format!("{}\n", json_of(&health)))
}

fn lag(app: &AppHandle) -> String {
    let of_route = |route: &dotmsg_core::app::RouteHandle| {
        let lag = route.stats.lag();
        let (topic, group) = (&route.topology.source, &route.spec.group);
        let diagnosis = lag.diagnosis();
        format!(
            "{}: {topic}, group {group}\n{lag}{diagnosis}\n",
            route.spec.handler
        )
    };
    let routes: Vec<String> = app.routes().iter().map(of_route).collect();
    routes.join("\n")
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static(kind);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
