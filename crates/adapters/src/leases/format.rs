//! The format of the state file, version 1: a SQLite database with the application id and user version below.
//!
//! - `about(name, value)`: `fan-out` (its name), `source` (the stream's ARN), `source-created` (milliseconds since 1970, or
//!   absent).
//! - `lanes(output, shard, kind, value)`: one row a lane. `kind` is `trim-horizon`, `at` (value: milliseconds since 1970),
//!   `after` (value: sequence number, decimal) or `closed`.

use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::Millis;

/// "DSTR": tells our files from other SQLite databases (`PRAGMA application_id`).
pub(crate) const APPLICATION_ID: i32 = 0x4453_5452;

/// `PRAGMA user_version`.
pub(crate) const VERSION: i32 = 1;

pub(crate) const SCHEMA: &str = "
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE lanes (
        output TEXT NOT NULL, shard TEXT NOT NULL, kind TEXT NOT NULL, value TEXT,
        PRIMARY KEY (output, shard)
    ) WITHOUT ROWID, STRICT;
";

pub(crate) fn write(position: &Position) -> (&'static str, Option<String>) {
    match position {
        Position::TrimHorizon => ("trim-horizon", None),
        Position::At(at) => ("at", Some(at.0.to_string())),
        Position::After(sequence) => ("after", Some(sequence.as_str().to_owned())),
        Position::Closed => ("closed", None),
    }
}

/// `None` for a row that no version 1 wrote.
pub(crate) fn read(kind: &str, value: Option<&str>) -> Option<Position> {
    match (kind, value) {
        ("trim-horizon", None) => Some(Position::TrimHorizon),
        ("at", Some(at)) => Some(Position::At(Millis(at.parse().ok()?))),
        ("after", Some(s))
            if (1..=129).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit()) =>
        {
            Some(Position::After(Sequence::new(s)))
        }
        ("closed", None) => Some(Position::Closed),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_survive_the_format() {
        let all = [
            Position::TrimHorizon,
            Position::At(Millis(-1)),
            Position::At(Millis(1_767_225_600_123)),
            Position::After(Sequence::new("0")),
            Position::After(Sequence::new("00001795")),
            Position::After(Sequence::new(&"9".repeat(129))),
            Position::Closed,
        ];
        for position in all {
            let (kind, value) = write(&position);
            assert_eq!(read(kind, value.as_deref()), Some(position));
        }
    }

    #[test]
    fn rows_of_no_known_kind_are_refused() {
        for (kind, value) in [
            ("after", None),
            ("after", Some("")),
            ("after", Some("12x")),
            ("at", Some("")),
            ("closed", Some("1")),
            ("", None),
        ] {
            assert_eq!(read(kind, value), None, "{kind} {value:?}");
        }
    }
}
