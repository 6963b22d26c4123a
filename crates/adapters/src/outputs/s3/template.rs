//! Names of objects.

use std::fmt;
use std::str::FromStr;

use distributary_core::clock::Millis;

use crate::values::{Expected, text};

/// The default.
const DEFAULT: &str = "{yyyy}/{mm}/{dd}/{hh}/{shard}/{first}-{last}.{ext}";
/// The parts that stand for facts about an object.
const PARTS: &[&str] = &[
    "{yyyy}", "{mm}", "{dd}", "{hh}", "{shard}", "{first}", "{last}", "{ext}",
];
/// Parts without which two objects could have one name.
const NEEDED: &[&str] = &["{shard}", "{first}", "{last}"];

/// A name with places for facts about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(String);

/// The facts about an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Arrival of the first record.
    pub(super) arrival: Millis,
    pub(super) shard: String,
    /// Sequence number of the first record.
    pub(super) first: String,
    pub(super) last: String,
    pub(super) extension: String,
}

impl Default for Template {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Template {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        if let Some(missing) = NEEDED.iter().find(|part| !text.contains(**part)) {
            return Err(Expected(format!(
                "{text:?} has no {missing}, so that two objects could have one name; expected a name \
                 with {}",
                NEEDED.join(", ")
            )));
        }

        let mut rest = text.to_owned();
        for part in PARTS {
            rest = rest.replace(part, "");
        }
        if rest.contains(['{', '}']) || text.starts_with('/') {
            return Err(Expected(format!(
                "{text:?} is no name of an object: expected no / at the start, and of braces only {}",
                PARTS.join(", ")
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> serde::Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer)
    }
}

impl Template {
    /// The name for an object.
    #[cfg_attr(not(feature = "s3"), allow(dead_code))]
    pub(super) fn name(&self, facts: &Facts) -> String {
        let nanos = i128::from(facts.arrival.0) * 1_000_000;
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(nanos);
        let at = at.unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        let year = format!("{:04}", at.year());
        let month = u8::from(at.month());
        let month = format!("{month:02}");
        let day = format!("{:02}", at.day());
        let hour = format!("{:02}", at.hour());

        self.0
            .replace("{yyyy}", &year)
            .replace("{mm}", &month)
            .replace("{dd}", &day)
            .replace("{hh}", &hour)
            .replace("{shard}", &facts.shard)
            .replace("{first}", &facts.first)
            .replace("{last}", &facts.last)
            .replace("{ext}", &facts.extension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_take_their_places() {
        let facts = Facts {
            arrival: Millis(1_769_817_600_000 + 3_600_000),
            shard: "shardId-000000000001".to_owned(),
            first: "10".to_owned(),
            last: "12".to_owned(),
            extension: "jsonl.gz".to_owned(),
        };
        assert_eq!(
            Template::default().name(&facts),
            "2026/01/31/01/shardId-000000000001/10-12.jsonl.gz"
        );
    }

    #[test]
    fn names_that_two_objects_could_have_are_refused() {
        let told = |text: &str| text.parse::<Template>().unwrap_err().0;
        assert!(told("{shard}-{first}").contains("has no {last}"));
        assert!(told("{shard}{first}{last}{year}").contains("of braces only"));
        assert!(told("/{shard}{first}{last}").contains("no / at the start"));
    }
}
