//! A JSON reader over text that skips what nobody asked for, and checks the grammar all the same.

/// Characters of a string that are looked at one by one, before a vectorised search pays.
const NEAR: usize = 16;

/// The deepest nesting that is read.
const DEEPEST: u32 = 128;

/// The characters of a string that stand for themselves: everything from the blank on but `"` and
/// `\`.
const PLAIN: [bool; 256] = plain();

const fn plain() -> [bool; 256] {
    let mut table = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = false;
        byte += 1;
    }
    table[b'"' as usize] = false;
    table[b'\\' as usize] = false;
    table
}

/// The text is no JSON from this byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) usize);

/// A value in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Null,
    True,
    False,
    Number,
    /// A string, and whether escapes occur.
    Text {
        escaped: bool,
    },
    Object,
    Array,
}

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    pub(crate) at: usize,
    depth: u32,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str, at: usize) -> Self {
        Self {
            bytes: text.as_bytes(),
            at,
            depth: 0,
        }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    fn malformed<T>(&self) -> Result<T, Malformed> {
        Err(Malformed(self.at))
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            self.malformed()
        }
    }

    /// Reads a whole value, of whatever kind.
    pub(crate) fn value(&mut self) -> Result<Token, Malformed> {
        let start = self.at;
        let kind = match self.peek() {
            Some(b'"') => TokenKind::Text {
                escaped: self.string()?,
            },
            Some(b'{') => self.whole_object()?,
            Some(b'[') => self.whole_array()?,
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                TokenKind::Number
            }
            _ => self.keyword()?,
        };

        Ok(Token {
            kind,
            start,
            end: self.at,
        })
    }

    fn keyword(&mut self) -> Result<TokenKind, Malformed> {
        match self.peek() {
            Some(b't') => self.word(b"true", TokenKind::True),
            Some(b'f') => self.word(b"false", TokenKind::False),
            Some(b'n') => self.word(b"null", TokenKind::Null),
            _ => self.malformed(),
        }
    }

    fn whole_object(&mut self) -> Result<TokenKind, Malformed> {
        self.open_object()?;
        let mut first = true;
        while self.next_key(&mut first)?.is_some() {
            self.value()?;
        }
        Ok(TokenKind::Object)
    }

    fn whole_array(&mut self) -> Result<TokenKind, Malformed> {
        self.open_array()?;
        let mut first = true;
        while self.next_element(&mut first)? {
            self.value()?;
        }
        Ok(TokenKind::Array)
    }

    pub(crate) fn open_object(&mut self) -> Result<(), Malformed> {
        self.expect(b'{')?;
        self.deeper()
    }

    pub(crate) fn open_array(&mut self) -> Result<(), Malformed> {
        self.expect(b'[')?;
        self.deeper()
    }

    fn deeper(&mut self) -> Result<(), Malformed> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return self.malformed();
        }
        Ok(())
    }

    /// The next key of an object, without its quotes, and whether the key has escapes; the value
    /// comes next. `None` after the last one.
    pub(crate) fn next_key(
        &mut self,
        first: &mut bool,
    ) -> Result<Option<(&'a [u8], bool)>, Malformed> {
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(None);
        }
        if !std::mem::replace(first, false) {
            self.expect(b',')?;
            self.skip_blanks();
        }

        let start = self.at + 1;
        let escaped = self.string()?;
        let key = &self.bytes[start..self.at - 1];
        self.skip_colon()?;
        Ok(Some((key, escaped)))
    }

    fn skip_colon(&mut self) -> Result<(), Malformed> {
        self.skip_blanks();
        self.expect(b':')?;
        self.skip_blanks();
        Ok(())
    }

    /// Whether another element of an array comes next.
    pub(crate) fn next_element(&mut self, first: &mut bool) -> Result<bool, Malformed> {
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !std::mem::replace(first, false) {
            self.expect(b',')?;
            self.skip_blanks();
        }
        Ok(true)
    }

    fn word(&mut self, word: &[u8], kind: TokenKind) -> Result<TokenKind, Malformed> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.malformed();
        }
        self.at += word.len();
        Ok(kind)
    }

    /// Reads a string with quotes. Returns whether escapes occur.
    fn string(&mut self) -> Result<bool, Malformed> {
        self.expect(b'"')?;
        let mut escaped = false;
        loop {
            self.skip_plain()?;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.malformed(),
            }
        }
    }

    /// Goes to the next character that does not stand for itself.
    fn skip_plain(&mut self) -> Result<(), Malformed> {
        let near = self.bytes.len().min(self.at + NEAR);
        while self.at < near {
            let byte = self.bytes[self.at];
            if !PLAIN[usize::from(byte)] {
                return Ok(());
            }
            self.at += 1;
        }

        self.skip_distant_plain()
    }

    fn skip_distant_plain(&mut self) -> Result<(), Malformed> {
        let rest = &self.bytes[self.at..];
        let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let mut plain = rest[..end].iter();
        match plain.position(|byte| *byte < 0x20) {
            Some(control) => Err(Malformed(self.at + control)),
            None => {
                self.at += end;
                Ok(())
            }
        }
    }

    fn escape(&mut self) -> Result<(), Malformed> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 1..self.at + 5).unwrap_or_default();
                if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return self.malformed();
                }
                self.at += 5;
                Ok(())
            }
            _ => self.malformed(),
        }
    }

    fn number(&mut self) -> Result<(), Malformed> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start {
            return self.malformed();
        }
        Ok(())
    }
}

/// The characters of a string with escapes. A lone surrogate becomes U+FFFD.
pub(crate) fn unescaped(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;

    while let Some((plain, after)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut characters = after.chars();
        let escape = characters.next().unwrap_or('\\');
        rest = characters.as_str();

        let character = match escape {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (character, after) = unicode_escape(rest);
                rest = after;
                character
            }
            other => other,
        };
        text.push(character);
    }
    text.push_str(rest);
    text
}

/// The character of the four digits after `\u`, with those of a second half where one is needed.
fn unicode_escape(rest: &str) -> (char, &str) {
    let Some((first, after)) = code_unit(rest) else {
        return (char::REPLACEMENT_CHARACTER, rest);
    };
    if let Some(character) = char::from_u32(first) {
        return (character, after);
    }

    let second = after.strip_prefix("\\u").and_then(code_unit);
    match second {
        Some((low @ 0xDC00..=0xDFFF, end)) if first < 0xDC00 => {
            let code = 0x10000 + ((first - 0xD800) << 10) + (low - 0xDC00);
            let character = char::from_u32(code);
            (character.unwrap_or(char::REPLACEMENT_CHARACTER), end)
        }
        _ => (char::REPLACEMENT_CHARACTER, after),
    }
}

/// The number of four hexadecimal digits, and the rest.
fn code_unit(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let unit = u32::from_str_radix(digits, 16).ok()?;
    Some((unit, rest))
}
