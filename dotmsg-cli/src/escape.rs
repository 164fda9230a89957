//! Bytes of messages as a terminal may show them.
//!
//! Keys, payloads, headers and the texts of errors come from whoever sent a message. A control character among them could move
//! the cursor, change what was printed before, or name a window; one that turns the direction of text could make it read as
//! something else. So none of them reaches the output as it is.

use std::fmt::Write;

/// Whether a terminal would obey it, or show nothing and change what is around it.
fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// One line of text: what is active is written as an escape, and bytes that are no UTF-8 as `\xNN`.
pub(crate) fn line(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match is_active(character) {
                true => line.extend(character.escape_default()),
                false => line.push(character),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(line, "\\x{byte:02x}");
        }
    }
    line
}

/// Several lines: as [`line`], with the line ends left.
pub(crate) fn lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|one| line(one.as_bytes())).collect();
    lines.join("\n")
}

/// One line of at most so many characters; what is cut is an ellipsis.
pub(crate) fn short(bytes: &[u8], characters: usize) -> String {
    let line = line(bytes);
    if line.chars().count() <= characters {
        return line;
    }
    let kept = line.chars().take(characters.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// JSON without active characters: they stand in strings only, where JSON has an escape for them.
pub(crate) fn json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match is_active(character) {
            true => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(safe, "\\u{unit:04x}");
                }
            }
            false => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        assert_eq!(line(b"\x1b[2Jgone\r\n"), "\\u{1b}[2Jgone\\r\\n");
        assert_eq!(line("c1 \u{9b}31m".as_bytes()), "c1 \\u{9b}31m");
        assert_eq!(line("\u{202e}abc".as_bytes()), "\\u{202e}abc");
        assert_eq!(
            line("a\u{61c}b\u{e0041}".as_bytes()),
            "a\\u{61c}b\\u{e0041}"
        );
        assert_eq!(line(b"ok \xff\xfe"), "ok \\xff\\xfe");
        assert_eq!(line("häuser 🏠".as_bytes()), "häuser 🏠");
        assert_eq!(lines("a\nb\x07"), "a\nb\\u{7}");
    }

    #[test]
    fn json_stays_json() {
        let wild = "\u{1b}]0;x\u{7}\u{202e}\u{9b}\u{61c}\u{e0041}";
        let text = json(&serde_json::json!({ "a": wild }).to_string());
        assert!(!text.chars().any(is_active), "{text:?}");
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["a"], wild);
    }

    #[test]
    fn short_keeps_whole_characters() {
        assert_eq!(short("äöü".as_bytes(), 3), "äöü");
        assert_eq!(short("äöüß".as_bytes(), 3), "äö…");
    }
}
