//! Rights on a Kafka cluster: given and taken away through the port where everything is allowed.
//!
//! The client library has no call for it that is safe, and two requests of the protocol are all it takes: `CreateAcls` and
//! `DeleteAcls`, version 1 (KIP-290), whose strings are plain.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What a right is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    Topic = 2,
    Group = 3,
    TransactionalId = 5,
}

/// What it allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    Read = 3,
    Write = 4,
    Create = 5,
    DescribeConfigs = 10,
}

/// One right of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) on: On,
    pub(crate) name: String,
    /// On all names that begin so.
    pub(crate) prefixed: bool,
    pub(crate) to: To,
}

const CREATE_ACLS: u16 = 30;
const DELETE_ACLS: u16 = 31;
const ALLOW: u8 = 3;

/// Gives a user these rights.
pub(crate) fn give(broker: &str, user: &str, rights: &[Right]) {
    let answer = ask(broker, CREATE_ACLS, user, rights);
    // Throttle time and count; then an error code and a text for each.
    let mut rest = &answer[8..];
    for right in rights {
        assert_eq!(&rest[..2], [0, 0], "{right:?} is not given");
        let length = i16::from_be_bytes([rest[2], rest[3]]);
        rest = &rest[4 + usize::try_from(length).unwrap_or(0)..];
    }
}

/// Takes one away.
pub(crate) fn take(broker: &str, user: &str, right: &Right) {
    let answer = ask(broker, DELETE_ACLS, user, std::slice::from_ref(right));
    assert_eq!(&answer[8..10], [0, 0], "{right:?} is not taken away");
    let length = i16::from_be_bytes([answer[10], answer[11]]);
    let at = 12 + usize::try_from(length).unwrap_or(0);
    let count = i32::from_be_bytes(answer[at..at + 4].try_into().unwrap());
    assert_eq!(count, 1, "{right:?} was not there");
}

/// The body of the answer.
fn ask(broker: &str, api: u16, user: &str, rights: &[Right]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(api.to_be_bytes());
    body.extend(1_u16.to_be_bytes());
    body.extend(7_u32.to_be_bytes());
    text(&mut body, "test");
    body.extend(u32::try_from(rights.len()).unwrap().to_be_bytes());
    for right in rights {
        body.push(right.on as u8);
        text(&mut body, &right.name);
        body.push(if right.prefixed { 4 } else { 3 });
        text(&mut body, &format!("User:{user}"));
        text(&mut body, "*");
        body.extend([right.to as u8, ALLOW]);
    }
    let mut stream = TcpStream::connect(broker).expect("the port where everything is allowed");
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    stream
        .write_all(&u32::try_from(body.len()).unwrap().to_be_bytes())
        .unwrap();
    stream.write_all(&body).unwrap();
    let mut size = [0; 4];
    stream.read_exact(&mut size).unwrap();
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    answer.split_off(4)
}

fn text(body: &mut Vec<u8>, text: &str) {
    body.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend(text.as_bytes());
}
