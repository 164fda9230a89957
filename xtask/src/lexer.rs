//! A Rust lexer that is just good enough to look for paths and declarations.
//!
//! Searching text would be misled by comments, strings and groups (`use crate::{a, b}`); a real parser would make the
//! task runner slow to build. Comments, strings, characters and lifetimes are dropped; what stays keeps its line.

use std::collections::BTreeSet;

/// What a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, a keyword, or a number.
    Word(String),
    /// One character of punctuation.
    Mark(char),
}

/// One token and the line it starts on, from 1.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) line: usize,
}

impl Token {
    /// The word, if it is one.
    pub(crate) fn word(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(word) => Some(word),
            Kind::Mark(_) => None,
        }
    }

    /// Whether it is this punctuation.
    pub(crate) fn is(&self, mark: char) -> bool {
        self.kind == Kind::Mark(mark)
    }
}

/// Splits source text into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut lexer = Lexer {
        chars: source.chars().collect(),
        at: 0,
        line: 1,
        tokens: Vec::new(),
    };
    while lexer.at < lexer.chars.len() {
        lexer.next();
    }
    lexer.tokens
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<Token>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    /// Moves over one character and keeps the line count.
    fn bump(&mut self) {
        if self.peek(0) == '\n' {
            self.line += 1;
        }
        self.at += 1;
    }

    fn next(&mut self) {
        match (self.peek(0), self.peek(1)) {
            ('/', '/') => {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.bump();
                }
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.string(),
            ('\'', _) => self.quote(),
            (c, _) if c.is_whitespace() => self.bump(),
            (c, _) if c.is_alphanumeric() || c == '_' => self.word(),
            (c, _) => {
                self.tokens.push(Token {
                    kind: Kind::Mark(c),
                    line: self.line,
                });
                self.bump();
            }
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while self.at < self.chars.len() {
            match (self.peek(0), self.peek(1)) {
                ('/', '*') => depth += 1,
                ('*', '/') => depth -= 1,
                _ => {
                    self.bump();
                    continue;
                }
            }
            self.bump();
            self.bump();
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.bump();
        while self.at < self.chars.len() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                self.bump();
            }
            self.bump();
        }
        self.bump();
    }

    /// A raw string from its first `#` or quote on.
    fn raw_string(&mut self) {
        let mut hashes = 0;
        while self.peek(0) == '#' {
            hashes += 1;
            self.bump();
        }
        self.bump();
        while self.at < self.chars.len() {
            let closes = self.peek(0) == '"' && (1..=hashes).all(|ahead| self.peek(ahead) == '#');
            self.bump();
            if closes {
                (0..hashes).for_each(|_| self.bump());
                return;
            }
        }
    }

    /// A character or a lifetime: `'a'` against `'a`.
    fn quote(&mut self) {
        self.bump();
        let is_lifetime =
            (self.peek(0).is_alphabetic() || self.peek(0) == '_') && self.peek(1) != '\'';
        if is_lifetime {
            return;
        }
        while self.at < self.chars.len() && self.peek(0) != '\'' {
            if self.peek(0) == '\\' {
                self.bump();
            }
            self.bump();
        }
        self.bump();
    }

    fn word(&mut self) {
        let line = self.line;
        let start = self.at;
        while self.peek(0).is_alphanumeric() || self.peek(0) == '_' {
            self.bump();
        }
        let word: String = self.chars[start..self.at].iter().collect();
        match (word.as_str(), self.peek(0), self.peek(1)) {
            ("r" | "br" | "cr", '"', _) | ("r" | "br" | "cr", '#', '"' | '#') => self.raw_string(),
            ("b" | "c", '"', _) => self.string(),
            ("b", '\'', _) => self.quote(),
            ("r", '#', _) => {
                self.bump();
                self.word();
            }
            _ => self.tokens.push(Token {
                kind: Kind::Word(word),
                line,
            }),
        }
    }
}

/// Source without its test items, and what was taken out.
pub(crate) struct Shipped {
    /// The tokens that are not under `#[cfg(test)]`.
    pub(crate) tokens: Vec<Token>,
    /// Names of `#[cfg(test)] mod name;`: their files are test code too.
    pub(crate) test_modules: BTreeSet<String>,
    /// Lines of the test items in this file.
    pub(crate) test_lines: usize,
}

/// Takes out every item under `#[cfg(test)]` or `#[cfg(all(test, …))]`; the whole file for `#![cfg(test)]`.
pub(crate) fn without_tests(all: &[Token]) -> Shipped {
    let mut shipped = Shipped {
        tokens: Vec::new(),
        test_modules: BTreeSet::new(),
        test_lines: 0,
    };
    let mut at = 0;
    while at < all.len() {
        let Some((end, is_inner)) = test_attribute(all, at) else {
            shipped.tokens.push(all[at].clone());
            at += 1;
            continue;
        };
        let end = if is_inner {
            all.len()
        } else {
            item_end(all, end)
        };
        let item = &all[at..end];
        shipped.test_lines += item[item.len() - 1].line + 1 - item[0].line;
        for pair in item.windows(3) {
            if pair[0].word() == Some("mod") && pair[2].is(';') {
                shipped
                    .test_modules
                    .extend(pair[1].word().map(str::to_owned));
            }
        }
        at = end;
    }
    shipped
}

/// The index after a `cfg` attribute that asks for `test`, and whether it is an inner one (`#![…]`).
fn test_attribute(all: &[Token], at: usize) -> Option<(usize, bool)> {
    let is_inner = all.get(at + 1)?.is('!');
    let open = at + 1 + usize::from(is_inner);
    if !(all[at].is('#') && all.get(open)?.is('[') && all.get(open + 1)?.word() == Some("cfg")) {
        return None;
    }
    let end = group_end(all, open);
    let asks = |word| {
        all[open..end]
            .iter()
            .any(|token| token.word() == Some(word))
    };
    (asks("test") && !asks("not")).then_some((end, is_inner))
}

/// The index after the group that opens at `open`.
pub(crate) fn group_end(all: &[Token], open: usize) -> usize {
    let mut depth = 0_i32;
    for (at, token) in all.iter().enumerate().skip(open) {
        match token.kind {
            Kind::Mark('(' | '[' | '{') => depth += 1,
            Kind::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    all.len()
}

/// The index after the item that starts at `at`: its `;`, or its block.
fn item_end(all: &[Token], mut at: usize) -> usize {
    while at < all.len() {
        match all[at].kind {
            Kind::Mark(';') => return at + 1,
            Kind::Mark('{') => return group_end(all, at),
            Kind::Mark('(' | '[') => at = group_end(all, at),
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<String> {
        tokens(source)
            .iter()
            .filter_map(|token| token.word().map(str::to_owned))
            .collect()
    }

    #[test]
    fn comments_strings_characters_and_lifetimes_are_dropped() {
        let source = r###"
            // crate::a
            /* crate::b /* nested */ still */
            fn f<'x>(c: &'x str) { let _ = ("crate::c \" x", r#"crate::"d""#, '"', '\'', b'z', r#type); }
        "###;
        let expected = ["fn", "f", "x", "c", "x", "str", "let", "_", "type"];
        assert_eq!(words(source), expected);
    }

    #[test]
    fn lines_are_counted_inside_strings_and_comments() {
        let found = tokens("/*\n*/ \"\n\" here");
        assert_eq!(found[0].line, 3);
    }

    #[test]
    fn test_items_are_taken_out() {
        let all = tokens(
            "use a;\n#[cfg(test)]\n#[path = \"x\"]\nmod model;\n#[cfg(all(test, loom))]\nmod t {\n use b;\n}\n#[cfg(not(test))] use c;",
        );
        let shipped = without_tests(&all);
        let words: Vec<_> = shipped.tokens.iter().filter_map(Token::word).collect();
        assert_eq!(words, ["use", "a", "cfg", "not", "test", "use", "c"]);
        assert!(shipped.test_modules.contains("model"));
        assert_eq!(shipped.test_lines, 7);
    }
}
