//! Values of keys that are more than a text. Each error names the expected values.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use distributary_core::clock::{Clock, Millis};
use distributary_core::engine::{OnRecreated, Order, Start};
use serde::{Deserialize, Deserializer, de};

/// A value that is not one of the expected ones; the text names both.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Expected(pub String);

impl Expected {
    /// The error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Reads a value of `T` from a text, for serde.
///
/// # Errors
/// The error of `T`'s parser.
pub fn text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    String::deserialize(deserializer)?
        .parse()
        .map_err(de::Error::custom)
}

/// Reads an optional value of `T` from a text, for serde.
///
/// # Errors
/// The error of `T`'s parser.
pub fn optional_text<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    text(deserializer).map(Some)
}

/// Texts as a key of the form [`Texts`](crate::keys::Form::Texts) has them: one alone, or a list.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Texts {
    /// One text.
    One(String),
    /// A list.
    List(Vec<String>),
}

impl Texts {
    /// All texts.
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::List(texts) => texts,
        }
    }
}

/// The value of a word in a list of words, or an error with the list and the nearest word.
///
/// # Errors
/// [`Expected`] if `text` is not in the list.
pub fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, Expected> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }

    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    Err(not_one_of(text, &known))
}

/// The error for a text that is not in a list of words.
pub(crate) fn not_one_of(text: &str, words: &[&str]) -> Expected {
    let hint = nearest(text, words.iter().copied())
        .map_or_else(String::new, |word| format!("; did you mean {word:?}?"));
    Expected(format!("{text:?} is none of {}{hint}", words.join(", ")))
}

/// The known word that is most like `text`; none if no word is at least half alike.
pub fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this likeness (1: equal) two words have nothing in common.
    const ALIKE: f64 = 0.5;

    let text = text.to_lowercase().replace('_', "-");
    let alike = |word: &str| strsim::normalized_damerau_levenshtein(&text, word);
    // Among words that are equally alike, the one with the longer common beginning was meant.
    let beginning = |word: &str| {
        text.chars()
            .zip(word.chars())
            .take_while(|(a, b)| a == b)
            .count()
    };

    known
        .map(|word| (alike(word), beginning(word), word))
        .filter(|(alike, ..)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
        .map(|(.., word)| word)
}

/// The longest name of a fan-out or an output, in bytes: names become parts of file names.
const NAME_CHARS: usize = 128;

/// The name of a fan-out or an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

impl FromStr for Name {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        if (1..=NAME_CHARS).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }

        Err(Expected(format!(
            "{text:?} is no name: expected 1 to {NAME_CHARS} of a-z, A-Z, 0-9, '_', '.', '-'"
        )))
    }
}

/// The position at which an output without progress starts, as users write it: a word, in AWS's
/// spelling or with hyphens, or a moment of the past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartAt(pub Start);

impl FromStr for StartAt {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        // A moment such as `-1h` counts from the moment at which the user's text is read.
        Self::parse(text, Clock::real().wall())
    }
}

impl StartAt {
    fn parse(text: &str, now: Millis) -> Result<Self, Expected> {
        match text.to_ascii_lowercase().replace('_', "-").as_str() {
            "trim-horizon" => return Ok(Self(Start::TrimHorizon)),
            "latest" | "now" => return Ok(Self(Start::Latest)),
            _ => {}
        }

        let Some(at) = moment(text, now) else {
            return Err(Expected(format!(
                "{text:?} is no start: expected trim-horizon, latest (or now), or a time such as \
                 2026-01-31, 2026-01-31T00:00:00Z, -1h or 1769817600 (seconds since 1970)"
            )));
        };
        if at > now {
            return Err(Expected(format!(
                "{text:?} is in the future: expected a time of the past, or latest for the records \
                 from now on"
            )));
        }
        Ok(Self(Start::At(at)))
    }
}

/// A moment: in RFC 3339, as a date (midnight UTC), before `now`, or since 1970.
fn moment(text: &str, now: Millis) -> Option<Millis> {
    if let Some(ago) = text.strip_prefix('-') {
        let ago = humantime::parse_duration(ago).ok()?;
        let ago = i64::try_from(ago.as_millis()).ok()?;
        return Some(Millis(now.0.checked_sub(ago)?));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return since_1970(text);
    }

    calendar(text).or_else(|| calendar(&format!("{text}T00:00:00Z")))
}

/// A moment in RFC 3339.
fn calendar(text: &str) -> Option<Millis> {
    use time::format_description::well_known::Rfc3339;

    let at = time::OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let millis = at.unix_timestamp_nanos().div_euclid(1_000_000);
    Some(Millis(i64::try_from(millis).ok()?))
}

/// A moment in seconds since 1970, or in milliseconds from 13 digits on.
fn since_1970(digits: &str) -> Option<Millis> {
    let number: i64 = digits.parse().ok()?;
    if digits.len() >= MILLIS_DIGITS {
        return Some(Millis(number));
    }
    number.checked_mul(1000).map(Millis)
}

/// Digits from which on a number since 1970 counts milliseconds.
const MILLIS_DIGITS: usize = 13;

/// A length of time, such as `200ms`, `30s` or `5m`; above 0 and at most a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// The longest length of time that any key takes.
const SPAN_MAX: Duration = Duration::from_secs(86_400);

impl FromStr for Span {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let time = humantime::parse_duration(text)
            .ok()
            .filter(|time| !time.is_zero() && *time <= SPAN_MAX);
        time.map(Self).ok_or_else(|| {
            Expected(format!(
                "{text:?} is no length of time: expected one such as 200ms, 30s or 5m, above 0s and at \
                 most 24h"
            ))
        })
    }
}

/// A number of bytes, such as `256MiB` or `1GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

impl FromStr for Size {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit: Option<usize> = match unit.trim() {
            "" | "B" => Some(1),
            "kB" => Some(1000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };

        let size = unit.and_then(|unit| number.parse::<usize>().ok()?.checked_mul(unit));
        size.map(Self).ok_or_else(|| {
            Expected(format!(
                "{text:?} is no size: expected one such as 256MiB or 1GB"
            ))
        })
    }
}

/// An address to listen on, such as `127.0.0.1:9464`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub SocketAddr);

impl FromStr for Address {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let address = text.replace("localhost:", "127.0.0.1:").parse();
        address.map(Self).map_err(|_| {
            Expected(format!(
                "{text:?} is no address: expected IP:PORT, such as 127.0.0.1:9464"
            ))
        })
    }
}

/// The orders per partition key, as users write them.
pub const ORDERS: &[(&str, Order)] = &[
    ("strict", Order::Strict),
    ("resend", Order::Resend),
    ("unordered", Order::Unordered),
];

/// An order as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderWord(pub Order);

impl FromStr for OrderWord {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        word(text, ORDERS).map(Self)
    }
}

impl fmt::Display for OrderWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = ORDERS.iter().find(|(_, order)| *order == self.0);
        f.write_str(found.map_or("", |(word, _)| word))
    }
}

const REACTIONS: &[(&str, OnRecreated)] = &[
    ("restart", OnRecreated::Restart),
    ("continue", OnRecreated::Continue),
    ("stop", OnRecreated::Stop),
];

/// A reaction to an output that was created again, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReactionWord(pub OnRecreated);

impl FromStr for ReactionWord {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        word(text, REACTIONS).map(Self)
    }
}

/// Implements `Deserialize` for types that are read from a text.
macro_rules! deserialize_from_text {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                text(deserializer)
            }
        }
    )*};
}

deserialize_from_text!(Name, StartAt, Span, Size, Address, OrderWord, ReactionWord);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts() {
        let at = |text: &str| text.parse::<StartAt>().map(|start| start.0);
        assert_eq!(at("latest"), Ok(Start::Latest));
        assert_eq!(at("trim-horizon"), Ok(Start::TrimHorizon));
        assert_eq!(
            at("2026-01-31T00:00:00.123+01:00"),
            Ok(Start::At(Millis(1_769_814_000_123)))
        );
        for bad in [
            "",
            "yesterday",
            "-",
            "-1",
            "-1parsec",
            "2026-02-30T00:00:00Z",
        ] {
            let expected = at(bad).unwrap_err().0;
            assert!(expected.contains("expected trim-horizon, latest"), "{bad}");
        }
    }

    #[test]
    fn starts_in_other_spellings() {
        const NOW: i64 = 1_769_904_000_000;
        let at = |text: &str| StartAt::parse(text, Millis(NOW)).map(|start| start.0);
        for (text, start) in [
            ("TRIM_HORIZON", Start::TrimHorizon),
            ("LATEST", Start::Latest),
            ("now", Start::Latest),
            ("2026-01-31", Start::At(Millis(1_769_817_600_000))),
            ("1769817600", Start::At(Millis(1_769_817_600_000))),
            ("1769817600000", Start::At(Millis(1_769_817_600_000))),
            ("-1h", Start::At(Millis(NOW - 3_600_000))),
            ("-1d 12h", Start::At(Millis(NOW - 129_600_000))),
        ] {
            assert_eq!(at(text), Ok(start), "{text}");
        }
        for future in ["2026-02-02", "1769904001", "2027-01-01T00:00:00Z"] {
            assert!(
                at(future).unwrap_err().0.contains("in the future"),
                "{future}"
            );
        }
    }

    #[test]
    fn sizes_and_spans() {
        let size = |text: &str| text.parse::<Size>().ok().map(|size| size.0);
        assert_eq!(
            ["256MiB", "1 GB", "17", "2kB"].map(size),
            [Some(256 << 20), Some(1_000_000_000), Some(17), Some(2000)]
        );
        assert_eq!(
            ["", "MiB", "1.5GB", "-1", "99999999999GiB", "1mib"].map(size),
            [None; 6]
        );
        let span = |text: &str| text.parse::<Span>().ok().map(|span| span.0);
        assert_eq!(
            ["200ms", "1m 30s"].map(span),
            [
                Some(Duration::from_millis(200)),
                Some(Duration::from_secs(90))
            ]
        );
        assert_eq!(["", "0s", "5", "-1s", "2 days"].map(span), [None; 5]);
    }

    #[test]
    fn names() {
        assert!("../x".parse::<Name>().is_err());
        assert!("".parse::<Name>().is_err());
        assert_eq!("a.b-c_1".parse(), Ok(Name("a.b-c_1".to_owned())));
    }

    #[test]
    fn the_nearest_word() {
        let known = ["from", "role-arn", "until-caught-up"];
        let near = |text| nearest(text, known.into_iter());
        assert_eq!(near("form"), Some("from"));
        assert_eq!(near("role_arn"), Some("role-arn"));
        assert_eq!(near("until-caugth-up"), Some("until-caught-up"));
        assert_eq!(near("zzz"), None);
        let tie = |words: [&'static str; 2]| nearest("stat", words.into_iter());
        assert_eq!(tie(["state", "start"]), Some("state"));
        assert_eq!(tie(["start", "state"]), Some("state"));
    }
}
