//! A TCP proxy between a client and a broker that breaks the connection in the ways in which networks break it.
//!
//! An adapter's own tests need more than "the broker is gone": the answer that does not come, the half of a frame, the line
//! that is slow. The proxy listens on a port of its own and passes bytes on to a broker; what is wrong with the line is plain
//! data per direction ([`Toxics`]) and may be changed while connections are open.
//!
//! ```no_run
//! # async fn example() -> std::io::Result<()> {
//! use std::time::Duration;
//! use dotmsg_testkit::proxy::{Direction, Proxy, Toxics};
//!
//! let proxy = Proxy::start("localhost:9092").await?;
//! // … a client connects to proxy.address() …
//! proxy.set(Direction::ToClient, Toxics::new().delay(Duration::from_millis(50)));
//! proxy.reset_all(); // every connection ends with a reset, at once
//! proxy.heal();
//! # Ok(())
//! # }
//! ```
//!
//! `toxics`: what may be wrong; `course`: what becomes of bytes under it, a state machine without clock or sockets; `pipe`: one
//! direction of one connection; this file: listening, connecting, cutting.
//!
//! What must stay true: bytes are never reordered and never changed; whatever is lost is lost to the end of its connection.

mod course;
mod pipe;
#[cfg(test)]
mod tests;
mod toxics;

pub use toxics::{Direction, Toxics};

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use self::pipe::{Line, pass};

/// How connections are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// As by a process that dies or a firewall that rejects: RST.
    Reset,
    /// As by a peer that is through: FIN.
    Close,
}

/// A proxy in front of one broker. Dropping it resets all connections and stops listening.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    seed: u64,
    /// To the server, to the client.
    toxics: [watch::Sender<Toxics>; 2],
    /// Counts cuts; the kind is of the last one.
    cut: watch::Sender<(u64, Cut)>,
    refuses: watch::Sender<bool>,
    open: AtomicUsize,
    accepted: AtomicU64,
    passed: [AtomicU64; 2],
}

impl Proxy {
    /// Listens on a free port of this machine for a broker at `host:port`. Jitter is seeded with 0.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(upstream: impl Into<String>) -> io::Result<Self> {
        Self::start_seeded(upstream, 0).await
    }

    /// The same with another seed of the jitter.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start_seeded(upstream: impl Into<String>, seed: u64) -> io::Result<Self> {
        Self::start_at(0, upstream, seed).await
    }

    /// The same at a port of this machine, for a broker that has to tell its clients beforehand where it is found: one that names
    /// its own address in its answers would send them past the proxy.
    ///
    /// # Errors
    /// The port is taken.
    pub async fn start_at(port: u16, upstream: impl Into<String>, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.into(),
            seed,
            toxics: [
                watch::Sender::new(Toxics::new()),
                watch::Sender::new(Toxics::new()),
            ],
            cut: watch::Sender::new((0, Cut::Reset)),
            refuses: watch::Sender::new(false),
            open: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            passed: [const { AtomicU64::new(0) }; 2],
        });
        let task = tokio::spawn(listen(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what is wrong with a direction, for open connections and for new ones.
    pub fn set(&self, direction: Direction, toxics: Toxics) {
        self.shared.toxics[direction as usize].send_replace(toxics);
    }

    /// Takes everything back that is wrong, and accepts connections again. What was swallowed stays lost.
    pub fn heal(&self) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            self.set(direction, Toxics::new());
        }
        self.refuse(false);
    }

    /// Resets every open connection, on both sides.
    pub fn reset_all(&self) {
        self.cut(Cut::Reset);
    }

    /// Closes every open connection in good order, on both sides.
    pub fn close_all(&self) {
        self.cut(Cut::Close);
    }

    /// Whether new connections are reset at once, as where nobody listens.
    pub fn refuse(&self, refuse: bool) {
        self.shared.refuses.send_replace(refuse);
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// Connections that were accepted so far, refused ones not counted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Bytes that have passed in this direction, of all connections: a line on which nothing is under way adds nothing.
    #[must_use]
    pub fn passed(&self, direction: Direction) -> u64 {
        self.shared.passed[direction as usize].load(Ordering::SeqCst)
    }

    fn cut(&self, how: Cut) {
        self.shared
            .cut
            .send_modify(|(count, last)| (*count, *last) = (*count + 1, how));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections are in a set that the task owns.
        self.task.abort();
    }
}

async fn listen(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(serve(client, Arc::clone(&shared)));
                }
                // Out of descriptors, say: the next one may succeed.
                Err(_) => tokio::task::yield_now().await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, until both sides are through or it is cut.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    if *shared.refuses.borrow() {
        reset(&client);
        return;
    }
    // From here on a cut counts: one that comes while the broker is connected to must not be missed.
    let mut cut = shared.cut.subscribe();
    cut.mark_unchanged();
    let Ok(mut server) = TcpStream::connect(&*shared.upstream).await else {
        reset(&client);
        return;
    };
    let number = shared.accepted.fetch_add(1, Ordering::SeqCst);
    shared.open.fetch_add(1, Ordering::SeqCst);
    let _open = Open(Arc::clone(&shared));
    // Slices and delays are the proxy's to decide.
    let _ = client.set_nodelay(true).and(server.set_nodelay(true));
    let how = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let line = |direction: Direction| Line {
            toxics: shared.toxics[direction as usize].subscribe(),
            seed: shared.seed ^ (number << 1) ^ direction as u64,
            passed: &shared.passed[direction as usize],
        };
        let both = async {
            tokio::try_join!(
                pass(from_client, to_server, line(Direction::ToServer)),
                pass(from_server, to_client, line(Direction::ToClient)),
            )
        };
        tokio::select! {
            biased;
            _ = cut.changed() => cut.borrow().1,
            // One direction that is over with an error ends both, as an error of a socket does.
            ended = both => match ended {
                Ok(_) => Cut::Close,
                Err(_) => Cut::Reset,
            },
        }
    };
    if how == Cut::Reset {
        reset(&client);
        reset(&server);
    }
}

/// Makes the end of a connection a reset.
fn reset(stream: &TcpStream) {
    // A socket that has failed already needs none.
    let _ = stream.set_zero_linger();
}

struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}
