//! Reads the time of a signature, apart from the client's code that writes it.

/// `20260131T235959Z` in milliseconds since 1970; `None` for another form.
pub(super) fn parse(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let days = days_since_1970(number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);

    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

/// Days since 1970 of a civil date, counted in years that start in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, months_since_march) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };

    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days_in_year = (months_since_march * 153 + 2) / 5 + day - 1;
    365 * year + leap_days + days_in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("19700101T000000Z", 0),
            ("20000229T120000Z", 951_825_600),
            ("20260101T000000Z", 1_767_225_600),
            ("20261231T235959Z", 1_798_761_599),
        ] {
            assert_eq!(parse(text), Some(seconds * 1000), "{text}");
        }
        assert_eq!(parse("yesterday"), None);
    }
}
