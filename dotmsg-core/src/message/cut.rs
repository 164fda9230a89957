//! Small byte strings, cut from one buffer per thread.
//!
//! What a handler returns lives for milliseconds: its id and its payload are written, copied by the client, and gone. An
//! allocation for each, and one more to share it, would cost as much as writing them. A string keeps the buffer that it was cut
//! from alive, so only what is soon gone belongs here.

use std::cell::RefCell;

use bytes::buf::Writer;
use bytes::{BufMut, Bytes, BytesMut};

/// What is written to: known by type, since what is written in small pieces costs more to call than to copy.
pub(crate) type Pen<'b> = Writer<&'b mut BytesMut>;

/// Bytes of one buffer.
const BUFFER: usize = 16 << 10;
/// What is longer than this has an allocation of its own: it costs little beside its content.
const LONGEST: usize = 2 << 10;

thread_local! {
    static BUFFER_OF_THREAD: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(BUFFER));
}

/// The bytes that `write` writes.
pub(crate) fn cut<E>(write: impl FnOnce(&mut Pen<'_>) -> Result<(), E>) -> Result<Bytes, E> {
    BUFFER_OF_THREAD.with(|buffer| {
        // Whatever is written may itself be made by code that cuts: then it has a buffer of its own.
        let Ok(mut buffer) = buffer.try_borrow_mut() else {
            let mut own = BytesMut::new();
            write(&mut (&mut own).writer())?;
            return Ok(own.freeze());
        };
        if buffer.capacity() < LONGEST {
            *buffer = BytesMut::with_capacity(BUFFER);
        }
        buffer.clear();
        write(&mut (&mut *buffer).writer())?;
        let written = buffer.split().freeze();
        if written.len() > LONGEST {
            // It would keep what others are cut from, or has grown the buffer to itself.
            return Ok(Bytes::copy_from_slice(&written));
        }
        Ok(written)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn of(text: &str) -> Bytes {
        cut(|to| to.write_all(text.as_bytes())).unwrap()
    }

    #[test]
    fn each_is_what_was_written() {
        let all: Vec<Bytes> = (0..5_000).map(|n| of(&format!("{n:05}"))).collect();
        for (n, one) in all.iter().enumerate() {
            assert_eq!(one, format!("{n:05}").as_bytes());
        }
        let long = "x".repeat(3 * BUFFER);
        assert_eq!(of(&long), long);
        assert_eq!(of("after"), "after");
    }

    #[test]
    fn what_fails_leaves_nothing_behind() {
        let failed = cut(|to| {
            to.write_all(b"half").unwrap();
            Err::<(), _>("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(of("whole"), "whole");
    }

    #[test]
    fn one_within_another_has_a_buffer_of_its_own() {
        let outer = cut(|to| {
            to.write_all(b"a")?;
            to.write_all(&of("b"))?;
            to.write_all(b"c")
        });
        assert_eq!(outer.unwrap(), "abc");
    }
}
