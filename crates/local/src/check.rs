//! Checks the constraints of the API's model, with AWS's messages.

use std::fmt::Display;
use std::ops::RangeInclusive;

use distributary_wire::arn::ConsumerArn;
use distributary_wire::error::ApiError;

use crate::errors::{Answer, validation};
use crate::target::Targeted;

/// A pattern of the API's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// The name of a stream or a consumer, or the id of a shard.
    Name,
    StreamArn,
    ConsumerArn,
    /// The ARN of a stream or a consumer.
    ResourceArn,
    SequenceNumber,
    HashKey,
    Any,
}

impl Pattern {
    /// The pattern in AWS's messages.
    const fn text(self) -> &'static str {
        match self {
            Self::Name => "[a-zA-Z0-9_.-]+",
            Self::StreamArn => "arn:aws.*:kinesis:.*:\\d{12}:stream/\\S+",
            Self::ConsumerArn => {
                "^(arn):aws.*:kinesis:.*:\\d{12}:.*stream\\/[a-zA-Z0-9_.-]+\\/consumer\\/[a-zA-Z0-9_.-]+:[0-9]+"
            }
            Self::ResourceArn => "arn:aws.*:kinesis:.*:\\d{12}:.*stream/\\S+",
            Self::SequenceNumber => "0|([1-9]\\d{0,128})",
            Self::HashKey => "0|([1-9]\\d{0,38})",
            Self::Any => "",
        }
    }

    fn matches(self, text: &str) -> bool {
        match self {
            Self::Name => text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-')),
            Self::StreamArn | Self::ResourceArn => is_stream_arn(text),
            Self::ConsumerArn => text.parse::<ConsumerArn>().is_ok(),
            Self::SequenceNumber => is_decimal(text, 129),
            Self::HashKey => is_decimal(text, 39),
            Self::Any => true,
        }
    }
}

fn is_stream_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, _region, account) = (next(), next(), next(), next(), next());
    let resource = next().strip_prefix("stream/");

    arn == "arn"
        && partition.starts_with("aws")
        && service == "kinesis"
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
        && resource.is_some_and(|name| !name.is_empty() && !name.contains(char::is_whitespace))
}

/// True for a decimal number without leading zeros of at most `max_digits` digits.
fn is_decimal(text: &str, max_digits: usize) -> bool {
    let has_leading_zero = text.len() > 1 && text.starts_with('0');

    !text.is_empty()
        && !has_leading_zero
        && text.len() <= max_digits
        && text.bytes().all(|b| b.is_ascii_digit())
}

/// Collects the constraints that a request violates. `member` is the member of the request as AWS's
/// messages name it. An absent value violates only [`required`](Self::required).
#[derive(Debug, Default)]
pub(crate) struct Checks {
    violations: Vec<String>,
}

impl Checks {
    /// Starts with the name and the ARN of the stream that a request is about.
    pub(crate) fn of_stream(request: &impl Targeted) -> Self {
        let target = request.target();
        let mut checks = Self::default();
        checks.stream_name(target.stream_name);
        checks.stream_arn(target.arn);
        checks
    }

    /// Starts with the ARN of the stream of a request that takes no name.
    pub(crate) fn of_stream_arn(request: &impl Targeted) -> Self {
        let arn = request.target().arn;
        let mut checks = Self::default();
        checks.required("streamARN", arn.as_ref());
        checks.stream_arn(arn);
        checks
    }

    fn add(&mut self, value: &str, member: &str, constraint: impl Display) {
        self.violations.push(format!(
            "Value {value} at '{member}' failed to satisfy constraint: Member must {constraint}"
        ));
    }

    pub(crate) fn required<T>(&mut self, member: &str, value: Option<&T>) {
        if value.is_none() {
            self.add("null", member, "not be null");
        }
    }

    /// Length in characters, and pattern.
    pub(crate) fn text(
        &mut self,
        member: &str,
        value: Option<&str>,
        length: RangeInclusive<usize>,
        pattern: Pattern,
    ) {
        let Some(text) = value else { return };

        if !pattern.matches(text) {
            let constraint = format!("satisfy regular expression pattern: {}", pattern.text());
            self.add(&format!("'{text}'"), member, constraint);
        }
        self.length(member, text, text.chars().count(), &length);
    }

    fn length(
        &mut self,
        member: &str,
        shown: &str,
        length: usize,
        allowed: &RangeInclusive<usize>,
    ) {
        let (min, max) = (allowed.start(), allowed.end());
        if length < *min {
            let constraint = format!("have length greater than or equal to {min}");
            self.add(&format!("'{shown}'"), member, constraint);
        }
        if length > *max {
            let constraint = format!("have length less than or equal to {max}");
            self.add(&format!("'{shown}'"), member, constraint);
        }
    }

    pub(crate) fn number(
        &mut self,
        member: &str,
        value: Option<i32>,
        allowed: RangeInclusive<i32>,
    ) {
        let Some(number) = value else { return };

        let (min, max) = allowed.into_inner();
        if number < min {
            let constraint = format!("have value greater than or equal to {min}");
            self.add(&format!("'{number}'"), member, constraint);
        }
        if number > max {
            let constraint = format!("have value less than or equal to {max}");
            self.add(&format!("'{number}'"), member, constraint);
        }
    }

    /// The value is in the set of an enumeration.
    pub(crate) fn one_of(&mut self, member: &str, value: Option<&impl Display>, known: &[&str]) {
        let Some(text) = value.map(ToString::to_string) else {
            return;
        };

        if !known.contains(&text.as_str()) {
            let constraint = format!("satisfy enum value set: [{}]", known.join(", "));
            self.add(&format!("'{text}'"), member, constraint);
        }
    }

    /// The number of elements of a list or a map, which messages show as `shown`.
    pub(crate) fn count(
        &mut self,
        member: &str,
        shown: &str,
        count: Option<usize>,
        allowed: RangeInclusive<usize>,
    ) {
        if let Some(count) = count {
            self.length(member, shown, count, &allowed);
        }
    }

    pub(crate) fn stream_name(&mut self, value: Option<&str>) {
        self.text("streamName", value, 1..=128, Pattern::Name);
    }

    pub(crate) fn stream_arn(&mut self, value: Option<&str>) {
        self.text("streamARN", value, 1..=2048, Pattern::StreamArn);
    }

    pub(crate) fn shard_id(&mut self, member: &str, value: Option<&str>) {
        self.text(member, value, 1..=128, Pattern::Name);
    }

    /// # Errors
    /// `ValidationException` with all violations.
    pub(crate) fn finish(self) -> Answer<()> {
        if self.violations.is_empty() {
            return Ok(());
        }
        Err(self.into_error())
    }

    fn into_error(self) -> ApiError {
        let count = self.violations.len();
        let noun = if count == 1 { "error" } else { "errors" };
        validation(format!(
            "{count} validation {noun} detected: {}",
            self.violations.join("; ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_aws_s() {
        let mut one = Checks::default();
        one.stream_name(Some("a b"));
        assert_eq!(
            one.finish().unwrap_err().message,
            "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
        );
        let mut two = Checks::default();
        two.number("limit", Some(0), 1..=10_000);
        two.required::<String>("shardIterator", None);
        assert_eq!(
            two.finish().unwrap_err().message,
            "2 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value \
             greater than or equal to 1; Value null at 'shardIterator' failed to satisfy constraint: Member must not \
             be null"
        );
        let mut none = Checks::default();
        none.stream_arn(Some("arn:aws:kinesis:us-east-1:000000000000:stream/s"));
        none.text(
            "x",
            Some("340282366920938463463374607431768211455"),
            0..=39,
            Pattern::HashKey,
        );
        assert!(none.finish().is_ok());
    }
}
