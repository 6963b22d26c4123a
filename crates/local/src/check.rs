//! The constraints of the API's model, with the messages that AWS gives where they do not hold.

use distributary_wire::error::ApiError;
use distributary_wire::hashkey;

use crate::errors::{Answer, validation};

/// A pattern of the API's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Name,
    StreamArn,
    ConsumerArn,
    ResourceArn,
    SequenceNumber,
    HashKey,
    Any,
}

fn is_arn(text: &str, resource: impl Fn(&str) -> bool) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, partition, service, _region, account) = (next(), next(), next(), next(), next());
    let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    arn == "arn"
        && partition.starts_with("aws")
        && service == "kinesis"
        && digits
        && resource(next())
}

impl Pattern {
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
        let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let stream = |resource: &str| {
            resource
                .strip_prefix("stream/")
                .is_some_and(|n| !n.is_empty() && !n.contains(char::is_whitespace))
        };
        match self {
            Self::Name => text.bytes().all(name),
            Self::StreamArn | Self::ResourceArn => is_arn(text, stream),
            Self::ConsumerArn => text.parse::<distributary_wire::arn::ConsumerArn>().is_ok(),
            Self::SequenceNumber => {
                text == "0"
                    || (text.len() <= 129
                        && text.starts_with(|c: char| ('1'..='9').contains(&c))
                        && text.bytes().all(|b| b.is_ascii_digit()))
            }
            Self::HashKey => {
                text == "0"
                    || (text.len() <= 39
                        && text.starts_with(|c: char| ('1'..='9').contains(&c))
                        && text.bytes().all(|b| b.is_ascii_digit()))
            }
            Self::Any => true,
        }
    }
}

/// Collects what does not hold.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<String>);

impl Checks {
    fn fail(&mut self, value: &str, member: &str, constraint: &str) {
        self.0.push(format!(
            "Value {value} at '{member}' failed to satisfy constraint: Member must {constraint}"
        ));
    }

    pub(crate) fn required<T>(&mut self, member: &str, value: Option<&T>) {
        if value.is_none() {
            self.fail("null", member, "not be null");
        }
    }

    /// Length in characters, and pattern.
    pub(crate) fn text(
        &mut self,
        member: &str,
        value: Option<&str>,
        min: usize,
        max: usize,
        pattern: Pattern,
    ) {
        let Some(text) = value else { return };
        let length = text.chars().count();
        let quoted = format!("'{text}'");
        if !pattern.matches(text) {
            self.fail(
                &quoted,
                member,
                &format!("satisfy regular expression pattern: {}", pattern.text()),
            );
        }
        if length < min {
            self.fail(
                &quoted,
                member,
                &format!("have length greater than or equal to {min}"),
            );
        }
        if length > max {
            self.fail(
                &quoted,
                member,
                &format!("have length less than or equal to {max}"),
            );
        }
    }

    pub(crate) fn number(&mut self, member: &str, value: Option<i32>, min: i32, max: i32) {
        let Some(number) = value else { return };
        let quoted = format!("'{number}'");
        if number < min {
            self.fail(
                &quoted,
                member,
                &format!("have value greater than or equal to {min}"),
            );
        }
        if number > max {
            self.fail(
                &quoted,
                member,
                &format!("have value less than or equal to {max}"),
            );
        }
    }

    pub(crate) fn known(&mut self, member: &str, value: Option<&str>, known: &[&str]) {
        if let Some(text) = value.filter(|text| !known.contains(text)) {
            self.fail(
                &format!("'{text}'"),
                member,
                &format!("satisfy enum value set: [{}]", known.join(", ")),
            );
        }
    }

    /// The number of elements of a list or map, shown as `shown`.
    pub(crate) fn count(
        &mut self,
        member: &str,
        shown: &str,
        count: Option<usize>,
        min: usize,
        max: usize,
    ) {
        let Some(count) = count else { return };
        if count < min {
            self.fail(
                &format!("'{shown}'"),
                member,
                &format!("have length greater than or equal to {min}"),
            );
        }
        if count > max {
            self.fail(
                &format!("'{shown}'"),
                member,
                &format!("have length less than or equal to {max}"),
            );
        }
    }

    pub(crate) fn stream_name(&mut self, value: Option<&str>) {
        self.text("streamName", value, 1, 128, Pattern::Name);
    }

    pub(crate) fn stream_arn(&mut self, value: Option<&str>) {
        self.text("streamARN", value, 1, 2048, Pattern::StreamArn);
    }

    pub(crate) fn shard_id(&mut self, member: &str, value: Option<&str>) {
        self.text(member, value, 1, 128, Pattern::Name);
    }

    /// All that does not hold, or nothing.
    ///
    /// # Errors
    /// `ValidationException`.
    pub(crate) fn done(self) -> Answer<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(self.into_error())
        }
    }

    fn into_error(self) -> ApiError {
        let count = self.0.len();
        let noun = if count == 1 { "error" } else { "errors" };
        validation(format!(
            "{count} validation {noun} detected: {}",
            self.0.join("; ")
        ))
    }
}

/// A hash key that has passed [`Pattern::HashKey`]: `None` if it is 2^128 or more.
pub(crate) fn hash_key(text: &str) -> Option<u128> {
    hashkey::parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_aws_s() {
        let mut one = Checks::default();
        one.stream_name(Some("a b"));
        assert_eq!(
            one.done().unwrap_err().message,
            "1 validation error detected: Value 'a b' at 'streamName' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+"
        );
        let mut two = Checks::default();
        two.number("limit", Some(0), 1, 10_000);
        two.required::<String>("shardIterator", None);
        assert_eq!(
            two.done().unwrap_err().message,
            "2 validation errors detected: Value '0' at 'limit' failed to satisfy constraint: Member must have value \
             greater than or equal to 1; Value null at 'shardIterator' failed to satisfy constraint: Member must not \
             be null"
        );
        let mut none = Checks::default();
        none.stream_arn(Some("arn:aws:kinesis:us-east-1:000000000000:stream/s"));
        none.text(
            "x",
            Some("340282366920938463463374607431768211455"),
            0,
            39,
            Pattern::HashKey,
        );
        assert!(none.done().is_ok());
    }
}
