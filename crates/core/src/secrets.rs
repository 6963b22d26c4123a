//! Secrets that the process knows, and their removal from every text for people.
//!
//! Redaction is by value: servers and libraries repeat keys, tokens and signatures in places that
//! no list of field names covers.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The text in the place of a secret.
const MASK: &str = "[redacted]";
/// Shorter values are not secrets of AWS, but words such as `local` and `test` for local servers.
const SECRET_MIN: usize = 12;
/// Bytes of a secret that suffice to recognise a shortened copy.
const PREFIX: usize = 16;
/// Secrets that are known at a time; the oldest is forgotten first.
const KNOWN_MAX: usize = 256;
/// Names of members and headers with a secret value, in lower case. Secrets of which the process
/// learns only by the text are recognised by these names.
const NAMES: [&str; 4] = ["signature", "secretaccesskey", "secret_access_key", "token"];
/// Shortest value after one of [`NAMES`] that is redacted.
const NAMED_MIN: usize = 32;

static KNOWN: Mutex<VecDeque<Secret>> = Mutex::new(VecDeque::new());

struct Secret {
    value: String,
    /// The first bytes of the value: as they are, in a URL, and in JSON.
    prefixes: Vec<String>,
}

/// Remembers a secret, to be removed from every later text. Values of less than twelve bytes are
/// ignored.
pub fn remember(secret: &str) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if secret.len() < SECRET_MIN || known.iter().any(|known| known.value == secret) {
        return;
    }

    if known.len() >= KNOWN_MAX {
        known.pop_front();
    }
    known.push_back(Secret::new(secret));
}

/// `text` with every known secret, and every beginning of one from 16 bytes on, replaced by
/// `[redacted]`.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        for secret in &*known {
            if let Some(clean) = secret.removed_from(&text) {
                text = Cow::Owned(clean);
            }
        }
    }

    match without_named(&text) {
        Some(clean) => Cow::Owned(clean),
        None => text,
    }
}

impl Secret {
    fn new(value: &str) -> Self {
        let prefix = &value[..value.floor_char_boundary(PREFIX)];
        let url = prefix.replace('/', "%2F").replace('+', "%2B");
        let mut prefixes = vec![prefix.to_owned(), url.replace('=', "%3D")];
        prefixes.push(prefix.replace('/', "\\/"));
        prefixes.dedup();
        Self {
            value: value.to_owned(),
            prefixes,
        }
    }

    /// `text` without the secret; `None` if the secret does not occur.
    fn removed_from(&self, text: &str) -> Option<String> {
        let place = |text: &str| {
            let places = self.prefixes.iter().filter_map(|prefix| text.find(prefix));
            places.min()
        };
        let mut next = place(text);
        next?;

        let mut rest = text;
        let mut clean = String::new();
        while let Some(at) = next {
            let (before, found) = rest.split_at(at);
            clean.push_str(before);
            clean.push_str(MASK);
            rest = &found[self.copied(found)..];
            next = place(rest);
        }
        clean.push_str(rest);
        Some(clean)
    }

    /// Bytes of `found`, from its start on, that repeat the secret.
    fn copied(&self, found: &str) -> usize {
        let mut at = 0;
        for c in self.value.chars() {
            match written(&found[at..], c) {
                Some(bytes) => at += bytes,
                None => break,
            }
        }
        at
    }
}

/// Bytes in which `text` begins with `c`: as it is, after a backslash, or in a URL.
fn written(text: &str, c: char) -> Option<usize> {
    let escaped = text.strip_prefix('\\').unwrap_or(text);
    if escaped.starts_with(c) {
        return Some(text.len() - escaped.len() + c.len_utf8());
    }

    let in_url = match c {
        '/' => "%2f",
        '+' => "%2b",
        '=' => "%3d",
        _ => return None,
    };
    let start = text.get(..in_url.len())?;
    start.eq_ignore_ascii_case(in_url).then_some(in_url.len())
}

/// `text` without the values after [`NAMES`]; `None` if no name with a long value occurs.
fn without_named(text: &str) -> Option<String> {
    let value = named_value(text)?;
    let before = &text[..value.start];
    let after = &text[value.end..];
    let clean = format!("{before}{MASK}{after}");

    let cleaner = without_named(&clean);
    Some(cleaner.unwrap_or(clean))
}

/// The place of the first value of a name of [`NAMES`].
fn named_value(text: &str) -> Option<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    for name in NAMES {
        for (at, name) in lower.match_indices(name) {
            let value = value_after(text, at + name.len());
            if value.is_some() {
                return value;
            }
        }
    }
    None
}

/// The place of the value that follows a name at `at`, if the value is long enough for a secret.
fn value_after(text: &str, at: usize) -> Option<Range<usize>> {
    let is_between = |c: char| matches!(c, '=' | ':' | '"' | '\\' | '>' | ' ');
    let rest = text[at..].trim_start_matches(is_between);
    let start = text.len() - rest.len();
    if start == at {
        return None;
    }

    let mut length = 0;
    for c in rest.chars() {
        if !c.is_ascii_alphanumeric() && !"+/=%_-.".contains(c) {
            break;
        }
        length += c.len_utf8();
    }
    (length >= NAMED_MIN).then_some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "IQoJb3JpZ2luX2VjEOT//////////wEaCWV1LXdlc3QtMSJHMEUCIQ==";

    #[test]
    fn a_secret_is_removed_wherever_and_however_it_stands() {
        remember(TOKEN);
        for text in [
            format!("token {TOKEN}"),
            format!("{TOKEN}{TOKEN}: refused"),
            format!("cut {}", &TOKEN[..20]),
            format!("?token={}&x", TOKEN.replace('/', "%2F").replace('=', "%3D")),
            format!("{{\"t\":\"{}\"}}", TOKEN.replace('/', "\\/")),
        ] {
            let clean = redact(&text);
            assert!(clean.contains(MASK), "{clean}");
            assert!(
                !clean.contains(&TOKEN[..16]) && !clean.contains("CIQ"),
                "{clean}"
            );
        }
    }

    #[test]
    fn values_of_secret_names_are_removed() {
        let hex = "0123456789abcdef".repeat(4);
        for text in [
            format!("Credential=AKIA/2026, Signature={hex}"),
            format!("<SecretAccessKey>{hex}</SecretAccessKey><SessionToken>{hex}</SessionToken>"),
            format!("{{\\\"SecretAccessKey\\\" : \\\"{hex}\\\"}}"),
            format!("x-amz-security-token:{hex}\nx"),
        ] {
            let clean = redact(&text);
            assert!(clean.contains(MASK) && !clean.contains(&hex), "{clean}");
        }
    }

    #[test]
    fn other_texts_stay() {
        remember("local");
        for text in [
            "the local stream",
            "the signature does not match",
            "Signature=x",
            "",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
