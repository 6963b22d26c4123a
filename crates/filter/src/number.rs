//! Numbers of JSON as event patterns compare them.

/// A finite number in decimal: `0.digits × 10^exponent`, without zeros at either end of
/// the digits.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// A negative zero is zero.
    const ZERO: Self = Self {
        negative: false,
        digits: Vec::new(),
        exponent: 0,
    };

    /// Reads a number as JSON or Rust writes it.
    fn read(text: &str) -> Option<Self> {
        let (negative, text) = without_sign(text);
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));

        let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        let zeros = leading_zeros(&all);
        let digits = without_last_zeros(&all[zeros..]);
        if digits.is_empty() {
            return Some(Self::ZERO);
        }

        let places = i64::try_from(whole.len()).ok()?;
        let zeros = i64::try_from(zeros).ok()?;
        let exponent: i64 = exponent.parse().ok()?;
        let exponent = exponent.checked_add(places - zeros)?;

        Some(Self {
            negative,
            digits,
            exponent,
        })
    }
}

/// The rest behind a minus, and whether there was one.
fn without_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    }
}

fn leading_zeros(digits: &[u8]) -> usize {
    digits.iter().take_while(|digit| **digit == b'0').count()
}

fn without_last_zeros(digits: &[u8]) -> Vec<u8> {
    let mut digits = digits.to_vec();
    while digits.last() == Some(&b'0') {
        digits.pop();
    }
    digits
}

/// The double that a number is compared as; `None` if the number is not exactly the one that the
/// double prints as. Such a number equals only itself as written.
pub(crate) fn comparable(text: &str) -> Option<f64> {
    let double: f64 = text.parse().ok()?;
    if !double.is_finite() {
        return None;
    }

    let printed = Decimal::read(&format!("{double:e}"))?;
    // A negative zero is zero.
    (Decimal::read(text)? == printed).then_some(double + 0.0)
}

#[cfg(test)]
mod tests {
    use super::comparable;

    #[test]
    fn numbers_of_one_value_are_one_double() {
        for text in ["300", "300.0", "3.0e2", "3E+2", "30000e-2"] {
            assert_eq!(comparable(text), Some(300.0), "{text}");
        }
        assert_eq!(comparable("-0.0").map(f64::to_bits), Some(0));
        assert_eq!(comparable("0.1"), Some(0.1));
    }

    #[test]
    fn numbers_that_no_double_prints_as_are_not_comparable() {
        for text in [
            "9007199254740993",
            "123456789012345678901234567890",
            "0.1000000000000000055511151231257827",
            "1e400",
        ] {
            assert_eq!(comparable(text), None, "{text}");
        }
    }
}
