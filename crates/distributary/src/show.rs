//! Records as text for people.

use distributary_core::batch::ShardId;
use distributary_core::clock::Millis;

/// `bytes` as text that a terminal can show. Bytes that are not UTF-8, characters that are not
/// printable, and backslashes are written as `\xNN`, `\u{…}`, `\n`, `\r`, `\t` or `\\`.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_escaped(&mut text, c);
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

fn push_escaped(text: &mut String, c: char) {
    match c {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
        c if c.is_control() || invisible(c) => text.extend(c.escape_unicode()),
        c => text.push(c),
    }
}

/// Characters that are invisible or change how other characters are shown, and so falsify a text.
fn invisible(c: char) -> bool {
    matches!(
        u32::from(c),
        0x200B..=0x200F
            | 0x2028..=0x202E
            | 0x2060..=0x206F
            | 0xFEFF
            | 0xFFF9..=0xFFFB
            | 0xE0000..=0xE007F
    )
}

/// The number in a shard's id; the whole id if the form is not Kinesis's own.
pub(crate) fn shard_number(id: &ShardId) -> &str {
    match id.as_str().strip_prefix("shardId-") {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            let short = digits.trim_start_matches('0');
            if short.is_empty() { "0" } else { short }
        }
        _ => id.as_str(),
    }
}

/// A count with thousands separators: `1,234,567`.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 record`, `2,000 records`.
pub(crate) fn records(n: u64) -> String {
    format!("{} record{}", count(n), if n == 1 { "" } else { "s" })
}

/// A number of bytes with a fitting unit: `999 bytes`, `1.5 MB` (1 MB = 1,000,000 bytes).
pub(crate) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if n < 1000 {
        return format!("{n} byte{}", if n == 1 { "" } else { "s" });
    }
    // Only one decimal is shown.
    #[allow(clippy::cast_precision_loss)]
    let mut value = n as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A moment in UTC with milliseconds: `2026-01-31T00:00:00.000Z`. A moment beyond the calendar is
/// written as milliseconds since 1970.
pub(crate) fn time(at: Millis) -> String {
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(at.0) * 1_000_000)
        .ok()
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| format!("{} ms", at.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn printable_text_is_unchanged() {
        assert_eq!(
            escape("{\"log\": \"Record 0\"} – Grüße, ভাষা".as_bytes()),
            "{\"log\": \"Record 0\"} – Grüße, ভাষা"
        );
        assert_eq!(
            escape(b"a\nb\\n\x1b[31m\0\x7f"),
            "a\\nb\\\\n\\x1b[31m\\x00\\x7f"
        );
        assert_eq!(escape(b"\xff\xc3ok\xe2\x82"), "\\xff\\xc3ok\\xe2\\x82");
        assert_eq!(
            escape("\u{202e}evil\u{85}".as_bytes()),
            "\\u{202e}evil\\u{85}"
        );
    }

    proptest! {
        #[test]
        fn no_control_character_is_left(data in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!escape(&data).chars().any(char::is_control));
        }
    }

    #[test]
    fn shards_by_number() {
        for (id, number) in [
            ("shardId-000000000000", "0"),
            ("shardId-000000000120", "120"),
            ("shardId-", "shardId-"),
            ("shardId-00a", "shardId-00a"),
            ("", ""),
        ] {
            assert_eq!(shard_number(&ShardId::new(id)), number);
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!([1, 2000].map(records), ["1 record", "2,000 records"]);
        assert_eq!(
            [0, 1, 999, 1000, 999_949, 999_950, 12_345_678].map(bytes),
            [
                "0 bytes",
                "1 byte",
                "999 bytes",
                "1.0 kB",
                "999.9 kB",
                "1.0 MB",
                "12.3 MB"
            ]
        );
        assert_eq!(time(Millis(1_769_817_600_123)), "2026-01-31T00:00:00.123Z");
        assert_eq!(time(Millis(i64::MAX)), "9223372036854775807 ms");
    }
}
