//! Values of flags and keys that are more than a text, each with what is expected in its error.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use distributary_core::clock::Millis;
use distributary_core::engine::{Order, Start};
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::output::Route;
use serde::{Deserialize, Deserializer, de};

/// What was expected instead of a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Expected(pub(crate) String);

/// A text that `T` is made of, for serde.
pub(super) fn text<'de, D: Deserializer<'de>, T: FromStr<Err: fmt::Display>>(
    d: D,
) -> Result<Option<T>, D::Error> {
    String::deserialize(d)?
        .parse()
        .map(Some)
        .map_err(de::Error::custom)
}

/// A stream, for serde.
pub(super) fn stream<'de, D: Deserializer<'de>>(d: D) -> Result<StreamRef, D::Error> {
    String::deserialize(d)?.parse().map_err(de::Error::custom)
}

/// One of `T`'s values, for serde: the words that the flag takes.
pub(super) fn choice<'de, D: Deserializer<'de>, T: ValueEnum>(d: D) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(d)?;
    if let Ok(value) = T::from_str(&text, false) {
        return Ok(Some(value));
    }
    let words: Vec<String> = T::value_variants()
        .iter()
        .filter_map(|v| Some(v.to_possible_value()?.get_name().to_owned()))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let hint = nearest(&text, words.iter().copied())
        .map_or_else(String::new, |w| format!("; did you mean {w:?}?"));
    Err(de::Error::custom(format!(
        "{text:?} is none of {}{hint}",
        words.join(", ")
    )))
}

/// The known word that `text` was probably meant to be.
pub(super) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this, two words have nothing to do with each other (1: the same).
    const ALIKE: f64 = 0.5;
    let text = text.to_lowercase().replace('_', "-");
    known
        .map(|word| (strsim::normalized_damerau_levenshtein(&text, word), word))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

/// The longest name of a fan-out: it is part of a file's name.
const NAME_CHARS: usize = 128;

/// A fan-out's or an output's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(pub(crate) String);

impl FromStr for Name {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if (1..=NAME_CHARS).contains(&text.len()) && text.bytes().all(allowed) {
            return Ok(Self(text.to_owned()));
        }
        Err(Expected(format!(
            "{text:?} is no name: expected 1 to {NAME_CHARS} of a-z, A-Z, 0-9, '_', '.', '-'"
        )))
    }
}

/// Where to start, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartAt(pub(crate) Start);

impl FromStr for StartAt {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let at = |time: &str| {
            let at =
                time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339)
                    .ok()?;
            Some(Millis(
                i64::try_from(at.unix_timestamp_nanos().div_euclid(1_000_000)).ok()?,
            ))
        };
        match text {
            "trim-horizon" => Ok(Self(Start::TrimHorizon)),
            "latest" => Ok(Self(Start::Latest)),
            time => at(time).map(|at| Self(Start::At(at))).ok_or_else(|| {
                Expected(format!(
                    "{text:?} is no start: expected trim-horizon, latest, or a time such as 2026-01-31T00:00:00Z"
                ))
            }),
        }
    }
}

/// A length of time, such as `200ms`, `30s` or `5m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// The longest length of time that makes sense anywhere: a day.
const SPAN_MAX: Duration = Duration::from_secs(86_400);

impl FromStr for Span {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match humantime::parse_duration(text) {
            Ok(d) if !d.is_zero() && d <= SPAN_MAX => Ok(Self(d)),
            Ok(_) => Err(Expected(format!(
                "{text:?} is out of range: expected more than 0s and at most 24h"
            ))),
            Err(_) => Err(Expected(format!(
                "{text:?} is no length of time: expected one such as 200ms, 30s or 5m"
            ))),
        }
    }
}

/// A number of bytes, such as `256MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl FromStr for Size {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let unit = match unit.trim() {
            "" | "B" => Some(1),
            "kB" => Some(1000),
            "MB" => Some(1_000_000),
            "GB" => Some(1_000_000_000),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        let size = unit.and_then(|unit: usize| number.parse::<usize>().ok()?.checked_mul(unit));
        size.map(Self).ok_or_else(|| {
            Expected(format!(
                "{text:?} is no size: expected one such as 256MiB or 1GB"
            ))
        })
    }
}

/// An address to listen on, such as `127.0.0.1:9464`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) SocketAddr);

impl FromStr for Address {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let expected = || {
            Expected(format!(
                "{text:?} is no address: expected IP:PORT, such as 127.0.0.1:9464"
            ))
        };
        text.replace("localhost:", "127.0.0.1:")
            .parse()
            .map(Self)
            .map_err(|_| expected())
    }
}

/// `order`, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OrderWord {
    /// One record of a key per request, the next after its acknowledgement
    Strict,
    /// Full requests; after a partial failure a key's records are sent again from the failed one on
    Resend,
    /// Only what failed is sent again
    Unordered,
}

impl From<OrderWord> for Order {
    fn from(word: OrderWord) -> Self {
        match word {
            OrderWord::Strict => Self::Strict,
            OrderWord::Resend => Self::Resend,
            OrderWord::Unordered => Self::Unordered,
        }
    }
}

/// `route`, as users write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RouteWord {
    /// By the record's partition key
    PartitionKey,
    /// To the place in the hash space that the record's source shard has: shard-mates stay shard-mates
    SourceShard,
}

impl From<RouteWord> for Route {
    fn from(word: RouteWord) -> Self {
        match word {
            RouteWord::PartitionKey => Self::PartitionKey,
            RouteWord::SourceShard => Self::SourceShard,
        }
    }
}

/// `--to`: a stream, and a name for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct To {
    pub(super) name: Option<Name>,
    pub(super) stream: StreamRef,
}

impl FromStr for To {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        // Neither names nor ARNs have an equals sign.
        let (name, stream) = match text.split_once('=') {
            Some((name, stream)) => (Some(name.parse()?), stream),
            None => (None, text),
        };
        Ok(Self {
            name,
            stream: stream.parse().map_err(|e| Expected(format!("{e}")))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts() {
        let at = |text: &str| text.parse::<StartAt>().map(|s| s.0);
        assert_eq!(at("latest"), Ok(Start::Latest));
        assert_eq!(at("trim-horizon"), Ok(Start::TrimHorizon));
        assert_eq!(
            at("2026-01-31T00:00:00.123+01:00"),
            Ok(Start::At(Millis(1_769_814_000_123)))
        );
        for bad in [
            "",
            "LATEST",
            "yesterday",
            "2026-01-31",
            "2026-02-30T00:00:00Z",
        ] {
            assert!(
                at(bad)
                    .unwrap_err()
                    .0
                    .contains("expected trim-horizon, latest"),
                "{bad}"
            );
        }
    }

    #[test]
    fn sizes_and_spans() {
        let size = |text: &str| text.parse::<Size>().ok().map(|s| s.0);
        assert_eq!(
            ["256MiB", "1 GB", "17", "2kB"].map(size),
            [Some(256 << 20), Some(1_000_000_000), Some(17), Some(2000)]
        );
        assert_eq!(
            ["", "MiB", "1.5GB", "-1", "99999999999GiB", "1mib"].map(size),
            [None; 6]
        );
        let span = |text: &str| text.parse::<Span>().ok().map(|s| s.0);
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
    fn names_and_outputs() {
        assert!("../x".parse::<Name>().is_err());
        let to: To = "eu=arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
            .parse()
            .unwrap();
        assert_eq!(
            (to.name, to.stream.name()),
            (Some(Name("eu".to_owned())), "orders")
        );
        assert!("a=b=c".parse::<To>().is_err());
    }

    #[test]
    fn the_word_that_was_meant() {
        let known = ["from", "role-arn", "until-caught-up"];
        let near = |text| nearest(text, known.into_iter());
        assert_eq!(near("form"), Some("from"));
        assert_eq!(near("role_arn"), Some("role-arn"));
        assert_eq!(near("until-caugth-up"), Some("until-caught-up"));
        assert_eq!(near("zzz"), None);
    }
}
