//! Text of failures and identities: capped, escaped, and safe to make even when a user's `Display` panics.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::catch_panic::dispose;
use crate::handler::HandlerError;

/// Longest failure message kept, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 10;
/// Longest chain of causes kept, in bytes.
pub(super) const CHAIN_BYTES_MAX: usize = 4 << 10;
/// Longest kind of failure kept, in bytes.
pub(super) const KIND_BYTES_MAX: usize = 128;
/// Bytes of a key or an id shown in a log line.
const SHOWN_BYTES_MAX: usize = 64;

/// `text` without what is beyond `bytes_max`, cut at a character boundary.
pub(super) fn capped(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// The failure's message. An error type of the application formats itself here, so it must not be trusted not to panic.
pub(super) fn message(error: &HandlerError) -> String {
    guarded(|| capped(error.to_string(), MESSAGE_BYTES_MAX))
}

/// The error and its causes, outermost first, one per line.
pub(super) fn chain(error: &HandlerError) -> String {
    guarded(|| {
        let mut text = String::new();
        for cause in error.chain() {
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&cause.replace('\n', "\\n"));
            if text.len() >= CHAIN_BYTES_MAX {
                break;
            }
        }
        capped(text, CHAIN_BYTES_MAX)
    })
}

fn guarded(text: impl FnOnce() -> String) -> String {
    catch_unwind(AssertUnwindSafe(text)).unwrap_or_else(|panic| {
        dispose(panic);
        "(the error's own Display panicked)".to_owned()
    })
}

/// Bytes as ASCII with escapes, shortened: how keys and ids appear in logs.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES_MAX)];
        write!(f, "{}", shown.escape_ascii())?;
        if shown.len() < self.0.len() {
            write!(f, "... ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

/// A key in a log line, in quotes (to be logged by its `Display`, which adds none); null is told from empty.
pub(super) fn shown_key(key: Option<&bytes::Bytes>) -> String {
    key.map_or_else(|| "null".to_owned(), |key| format!("\"{}\"", Shown(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_falls_on_a_character_boundary() {
        assert_eq!(capped("aé".into(), 2), "a");
        assert_eq!(capped("aé".into(), 3), "aé");
    }

    #[test]
    fn a_key_is_escaped_and_shortened() {
        assert_eq!(Shown(b"a\n\xff").to_string(), "a\\n\\xff");
        assert!(
            Shown(&[b'x'; 100])
                .to_string()
                .ends_with("xx... (100 bytes)")
        );
        assert_eq!(shown_key(None), "null");
        assert_eq!(shown_key(Some(&"".into())), "\"\"");
    }

    #[test]
    fn a_display_that_panics_is_survived() {
        #[derive(Debug)]
        struct Bad;
        impl fmt::Display for Bad {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("no")
            }
        }
        impl std::error::Error for Bad {}
        let error = HandlerError::transient(Bad);
        assert!(message(&error).contains("panicked"));
        assert!(chain(&error).contains("panicked"));
    }
}
