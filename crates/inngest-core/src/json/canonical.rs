//! The canonical form: a reader that writes as it reads, and writers for single values.

use std::{borrow::Cow, cmp::Ordering, ops::Range};

use serde_json::Value;

use super::InvalidJson;

/// Deepest nesting of arrays and objects. Below the 128 levels that JSON readers stop at, so that a document can be wrapped into
/// others and still be read.
pub const MAX_DEPTH: usize = 100;

/// The whole numbers up to here are the same as doubles.
const EXACT_INTEGER: u64 = 1 << 53;

pub(super) fn canonicalize(text: &[u8]) -> Result<Vec<u8>, InvalidJson> {
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            return Err(InvalidJson {
                offset: error.valid_up_to(),
                reason: "not UTF-8",
            });
        }
    };
    let mut reader = Reader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        out: Vec::with_capacity(text.len()),
    };
    reader.skip_space();
    reader.value(0)?;
    reader.skip_space();
    if reader.at < reader.bytes.len() {
        return Err(reader.error("text after the document"));
    }
    Ok(reader.out)
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    out: Vec<u8>,
}

/// Where one member of an object lies in the output: its key from `start`, its end before the comma.
struct Member {
    start: usize,
    key_end: usize,
    end: usize,
}

impl Reader<'_> {
    fn error(&self, reason: &'static str) -> InvalidJson {
        InvalidJson {
            offset: self.at,
            reason,
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, reason: &'static str) -> Result<(), InvalidJson> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.error(reason))
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), InvalidJson> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("unexpected end")),
        }
    }

    fn word(&mut self, word: &'static str) -> Result<(), InvalidJson> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error("expected a value"));
        }
        self.at += word.len();
        self.out.extend_from_slice(word.as_bytes());
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), InvalidJson> {
        self.enter(depth, b'[')?;
        if self.peek() == Some(b']') {
            return self.leave(b']');
        }
        loop {
            self.value(depth)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.out.push(b',');
                    self.skip_space();
                }
                Some(b']') => return self.leave(b']'),
                _ => return Err(self.error("expected `,` or `]`")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), InvalidJson> {
        self.enter(depth, b'{')?;
        if self.peek() == Some(b'}') {
            return self.leave(b'}');
        }
        let first = self.out.len();
        let mut members: Vec<Member> = Vec::new();
        let mut is_sorted = true;
        loop {
            let start = self.out.len();
            if self.peek() != Some(b'"') {
                return Err(self.error("expected a key"));
            }
            self.string()?;
            let key_end = self.out.len();
            self.skip_space();
            self.expect(b':', "expected `:`")?;
            self.out.push(b':');
            self.skip_space();
            self.value(depth)?;
            if let Some(last) = members.last() {
                let last = &self.out[last.start..last.key_end];
                is_sorted =
                    is_sorted && compare_written(last, &self.out[start..key_end]) == Ordering::Less;
            }
            members.push(Member {
                start,
                key_end,
                end: self.out.len(),
            });
            self.skip_space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.out.push(b',');
                    self.skip_space();
                }
                Some(b'}') => break,
                _ => return Err(self.error("expected `,` or `}`")),
            }
        }
        if !is_sorted {
            self.sort_members(first, &mut members);
        }
        self.leave(b'}')
    }

    fn sort_members(&mut self, first: usize, members: &mut [Member]) {
        let written = self.out.split_off(first);
        let part = |range: Range<usize>| &written[range.start - first..range.end - first];
        // The sort is stable, so among equal keys the one that came last stays last.
        members.sort_by(|a, b| compare_written(part(a.start..a.key_end), part(b.start..b.key_end)));
        for (index, member) in members.iter().enumerate() {
            let key = part(member.start..member.key_end);
            if members
                .get(index + 1)
                .is_some_and(|next| part(next.start..next.key_end) == key)
            {
                continue;
            }
            if self.out.len() > first {
                self.out.push(b',');
            }
            self.out.extend_from_slice(part(member.start..member.end));
        }
    }

    fn enter(&mut self, depth: usize, open: u8) -> Result<(), InvalidJson> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        self.at += 1;
        self.out.push(open);
        self.skip_space();
        Ok(())
    }

    fn leave(&mut self, close: u8) -> Result<(), InvalidJson> {
        self.at += 1;
        self.out.push(close);
        Ok(())
    }

    fn number(&mut self) -> Result<(), InvalidJson> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.error("expected a digit")),
        }
        let mut is_whole = true;
        if self.peek() == Some(b'.') {
            is_whole = false;
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            is_whole = false;
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        // Fifteen digits are exact in a double.
        if is_whole && text.len() <= 15 && text != "-0" {
            self.out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let number: f64 = text.parse().map_err(|_| InvalidJson {
            offset: start,
            reason: "not a number",
        })?;
        if !number.is_finite() {
            return Err(InvalidJson {
                offset: start,
                reason: "number out of range",
            });
        }
        write_double(&mut self.out, number);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), InvalidJson> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            Err(self.error("expected a digit"))
        } else {
            Ok(())
        }
    }

    fn string(&mut self) -> Result<(), InvalidJson> {
        self.at += 1;
        self.out.push(b'"');
        loop {
            let start = self.at;
            while self
                .peek()
                .is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= 0x20)
            {
                self.at += 1;
            }
            self.out.extend_from_slice(&self.bytes[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.out.push(b'"');
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.error("control character in a string")),
                None => return Err(self.error("unexpected end in a string")),
            }
        }
    }

    fn escape(&mut self) -> Result<(), InvalidJson> {
        self.at += 1;
        let character = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                let character = self.code_point()?;
                write_char(&mut self.out, character);
                return Ok(());
            }
            _ => return Err(self.error("unknown escape")),
        };
        self.at += 1;
        write_char(&mut self.out, character);
        Ok(())
    }

    fn code_point(&mut self) -> Result<char, InvalidJson> {
        let high = self.hex()?;
        if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
            let before = self.at;
            self.at += 2;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Result<u32, InvalidJson> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            code = code * 16 + digit.ok_or_else(|| self.error("expected four hex digits"))?;
            self.at += 1;
        }
        Ok(code)
    }
}

pub(super) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => match number.as_i64() {
            Some(number) => write_integer(out, number),
            None => write_double(out, number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => write_string(out, text),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_value(out, item);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_by(|a, b| compare_keys(a.0, b.0));
            out.push(b'{');
            for (index, (key, value)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write_string(out, key);
                out.push(b':');
                write_value(out, value);
            }
            out.push(b'}');
        }
    }
}

pub(crate) fn write_integer(out: &mut Vec<u8>, number: i64) {
    if number.unsigned_abs() <= EXACT_INTEGER {
        out.extend_from_slice(number.to_string().as_bytes());
    } else {
        #[expect(clippy::cast_precision_loss, reason = "canonical numbers are doubles")]
        write_double(out, number as f64);
    }
}

fn write_double(out: &mut Vec<u8>, number: f64) {
    out.extend_from_slice(ryu_js::Buffer::new().format_finite(number).as_bytes());
}

pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut written = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            out.extend_from_slice(&text.as_bytes()[written..index]);
            write_char(out, char::from(byte));
            written = index + 1;
        }
    }
    out.extend_from_slice(&text.as_bytes()[written..]);
    out.push(b'"');
}

fn write_char(out: &mut Vec<u8>, character: char) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\0'..='\u{1f}' => {
            let code = character as usize;
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[code >> 4], HEX[code & 15]]);
        }
        _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// The order of keys: by UTF-16 code unit.
pub(super) fn compare_keys(a: &str, b: &str) -> Ordering {
    if a.is_ascii() && b.is_ascii() {
        a.cmp(b)
    } else {
        a.encode_utf16().cmp(b.encode_utf16())
    }
}

/// The order of keys as they stand in the output, quoted and escaped.
fn compare_written(a: &[u8], b: &[u8]) -> Ordering {
    let is_plain = |key: &[u8]| key.iter().all(|byte| byte.is_ascii() && *byte != b'\\');
    let (a, b) = (unquoted(a), unquoted(b));
    if is_plain(a) && is_plain(b) {
        a.cmp(b)
    } else {
        compare_keys(&unescaped(a), &unescaped(b))
    }
}

fn unquoted(key: &[u8]) -> &[u8] {
    key.get(1..key.len().saturating_sub(1)).unwrap_or_default()
}

fn unescaped(key: &[u8]) -> String {
    let mut quoted = Vec::with_capacity(key.len() + 2);
    quoted.push(b'"');
    quoted.extend_from_slice(key);
    quoted.push(b'"');
    serde_json::from_slice(&quoted).unwrap_or_default()
}

/// Where the value of `key` lies in a canonical object.
pub(super) fn find_member(bytes: &[u8], key: &str) -> Option<Range<usize>> {
    let mut wanted = Vec::with_capacity(key.len() + 2);
    write_string(&mut wanted, key);
    Members::of(bytes)
        .find(|(key, _)| bytes[key.clone()] == wanted)
        .map(|(_, value)| value)
}

/// The text of a key as it stands in a canonical document, with its quotes.
pub(super) fn key_text(quoted: &[u8]) -> Cow<'_, str> {
    let key = unquoted(quoted);
    match std::str::from_utf8(key) {
        Ok(text) if !key.contains(&b'\\') => Cow::Borrowed(text),
        _ => Cow::Owned(unescaped(key)),
    }
}

/// Where the keys and values of a canonical object lie.
pub(super) struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Members<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let at = if bytes.first() == Some(&b'{') {
            1
        } else {
            bytes.len()
        };
        Self { bytes, at }
    }
}

impl Iterator for Members<'_> {
    type Item = (Range<usize>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return None;
        }
        let key = self.at..skip_value(self.bytes, self.at);
        let value = key.end + 1..skip_value(self.bytes, key.end + 1);
        self.at = value.end + 1;
        (value.start < value.end && value.end <= self.bytes.len()).then_some((key, value))
    }
}

/// Where the items of a canonical array lie.
pub(super) struct Items<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Items<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let at = if bytes.first() == Some(&b'[') {
            1
        } else {
            bytes.len()
        };
        Self { bytes, at }
    }
}

impl Iterator for Items<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.at..skip_value(self.bytes, self.at);
        self.at = item.end + 1;
        (item.start < item.end && item.end <= self.bytes.len()).then_some(item)
    }
}

/// The end of the value that starts at `at` in a canonical document.
fn skip_value(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at += 1;
                while let Some(byte) = bytes.get(at) {
                    match byte {
                        b'\\' => at += 2,
                        b'"' => break,
                        _ => at += 1,
                    }
                }
                at += 1;
                if depth == 0 {
                    return at;
                }
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return at;
                }
            }
            b',' if depth == 0 => return at,
            _ => at += 1,
        }
    }
    at
}
