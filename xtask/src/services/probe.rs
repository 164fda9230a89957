//! Whether a Kafka broker answers: one `Metadata` request, by hand.
//!
//! An open port says little: a broker accepts connections before it serves requests. The answer to `Metadata` names the
//! brokers of the cluster, which tells a node that came back from a node that is back in its cluster. Version 1 is the oldest
//! one with an empty list of topics that means none, and Kafka keeps it for old clients.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Size, API key 3 (`Metadata`), version 1, correlation id, no client id, no topic.
const REQUEST: &[u8] = &[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0];
/// Size, correlation id, number of brokers.
const ANSWER_BYTES: usize = 12;

/// How many brokers the one at this port knows of, itself included; nothing when it does not answer.
pub(super) fn brokers(port: u16) -> Option<usize> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    stream.set_write_timeout(Some(TIMEOUT)).ok()?;
    stream.write_all(REQUEST).ok()?;
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer).ok()?;
    count(&answer)
}

fn count(answer: &[u8; ANSWER_BYTES]) -> Option<usize> {
    let [_, _, _, _, _, _, _, 7, count @ ..] = *answer else {
        return None;
    };
    usize::try_from(i32::from_be_bytes(count)).ok()
}

#[cfg(test)]
mod tests {
    use super::{REQUEST, brokers, count};
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn the_size_of_the_request_is_its_size() {
        let size = u32::from_be_bytes([REQUEST[0], REQUEST[1], REQUEST[2], REQUEST[3]]);
        assert_eq!(size as usize, REQUEST.len() - 4);
    }

    #[test]
    fn the_answer_counts_brokers() {
        assert_eq!(count(&[0, 0, 0, 90, 0, 0, 0, 7, 0, 0, 0, 3]), Some(3));
        assert_eq!(count(&[0, 0, 0, 90, 0, 0, 0, 9, 0, 0, 0, 3]), None);
        assert_eq!(
            count(&[0, 0, 0, 90, 0, 0, 0, 7, 0xff, 0xff, 0xff, 0xff]),
            None
        );
    }

    #[test]
    fn a_port_that_only_accepts_is_no_broker() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut first, _) = listener.accept().unwrap();
            let mut request = [0; REQUEST.len()];
            first.read_exact(&mut request).unwrap();
            drop(first);
            let (mut second, _) = listener.accept().unwrap();
            second.read_exact(&mut request).unwrap();
            second
                .write_all(&[0, 0, 0, 90, 0, 0, 0, 7, 0, 0, 0, 1])
                .unwrap();
        });
        assert_eq!(brokers(port), None);
        assert_eq!(brokers(port), Some(1));
        server.join().unwrap();
        assert_eq!(brokers(port), None);
    }
}
