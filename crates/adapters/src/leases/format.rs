//! The format of the state file, version 2: a SQLite database with the application id and user
//! version below.
//!
//! - `about(name, value)`: `fan-out` (the fan-out's name), `source` (the stream's ARN),
//!   `source-created` (milliseconds since 1970, or absent).
//! - `lanes(output, shard, kind, value, sub, arrival)`: one row per lane. `kind` is `trim-horizon`,
//!   `at` (value: milliseconds since 1970), `after` (value: sequence number, decimal; `sub`: index
//!   of   the last part that is done, or null for the whole record) or `closed`. `arrival`: arrival
//!   time of the last durable record in milliseconds since 1970, or null.
//! - `outputs(output, arn, created)`: the stream behind an output when its checkpoints were
//!   written; `created` in milliseconds since 1970, or null.
//! - `snapshots(output, bytes)`: the state of an output that is a stateful pump, written by the
//!   same transaction as the positions of its lanes.

use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::Millis;

/// "DSTR": tells our files from other SQLite databases (`PRAGMA application_id`).
pub(crate) const APPLICATION_ID: i32 = 0x4453_5452;

/// `PRAGMA user_version`.
pub const VERSION: i32 = 2;

pub(crate) const SCHEMA: &str = "
    CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID, STRICT;
    CREATE TABLE lanes (
        output TEXT NOT NULL, shard TEXT NOT NULL, kind TEXT NOT NULL, value TEXT, sub INTEGER,
        arrival INTEGER,
        PRIMARY KEY (output, shard)
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE outputs (
        output TEXT PRIMARY KEY, arn TEXT NOT NULL, created INTEGER
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE snapshots (output TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID, STRICT;
";

/// A position as the columns `kind`, `value` and `sub`.
pub fn write(position: &Position) -> (&'static str, Option<String>, Option<u32>) {
    match position {
        Position::TrimHorizon => ("trim-horizon", None, None),
        Position::At(at) => ("at", Some(at.0.to_string()), None),
        Position::After { sequence, sub } => ("after", Some(sequence.as_str().to_owned()), *sub),
        Position::Closed => ("closed", None, None),
    }
}

/// The position in the columns `kind`, `value` and `sub`; `None` for a row that no version 2 wrote.
pub fn read(kind: &str, value: Option<&str>, sub: Option<u32>) -> Option<Position> {
    match (kind, value, sub) {
        ("trim-horizon", None, None) => Some(Position::TrimHorizon),
        ("at", Some(at), None) => Some(Position::At(Millis(at.parse().ok()?))),
        ("after", Some(s), sub) if is_sequence(s) => Some(Position::After {
            sequence: Sequence::new(s),
            sub,
        }),
        ("closed", None, None) => Some(Position::Closed),
        _ => None,
    }
}

/// True for a decimal text of 1 to 129 digits.
fn is_sequence(text: &str) -> bool {
    (1..=129).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
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
            Position::after("0"),
            Position::after("00001795"),
            Position::after(&"9".repeat(129)),
            Position::After {
                sequence: Sequence::new("17"),
                sub: Some(u32::MAX),
            },
            Position::Closed,
        ];
        for position in all {
            let (kind, value, sub) = write(&position);
            assert_eq!(read(kind, value.as_deref(), sub), Some(position));
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
            assert_eq!(read(kind, value, None), None, "{kind} {value:?}");
        }
    }
}
