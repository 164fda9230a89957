//! The other side: a sender of webhooks, as little HTTP as it takes.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A sender that opens a connection for each event.
pub(crate) struct Sender(SocketAddr);

impl Sender {
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Posts an event and returns the status of the answer.
    pub(crate) async fn post(&self, path: &str, id: Option<&str>, body: &str) -> io::Result<u16> {
        let id = id.map_or(String::new(), |id| format!("Webhook-Id: {id}\r\n"));
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{id}Content-Length: {length}\r\n\r\n{body}",
            self.0
        );
        let mut stream = TcpStream::connect(self.0).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        status.ok_or_else(|| io::Error::other(format!("no answer of HTTP: {answer:?}")))
    }
}
