//! Amazon resource names of streams and consumers.
//!
//! Format: [Amazon Kinesis in the service authorization reference][reference].
//!
//! [reference]: https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonkinesis.html

use std::fmt;
use std::str::FromStr;

/// The ARN of a stream: `arn:<partition>:kinesis:<region>:<account>:stream/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamArn {
    /// `aws`, `aws-cn`, `aws-us-gov` …
    pub partition: String,
    /// The region, such as `eu-central-1`.
    pub region: String,
    /// The account: twelve digits with AWS; some local servers use other texts.
    pub account: String,
    /// The stream's name.
    pub name: String,
}

/// The ARN of an enhanced fan-out consumer: the ARN of the stream, then
/// `/consumer/<name>:<creation time in seconds>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsumerArn {
    /// The stream that the consumer reads.
    pub stream: StreamArn,
    /// The consumer's name.
    pub name: String,
    /// When the consumer was registered, in seconds since 1970.
    pub created_s: i64,
}

/// A text is not the ARN of a stream or consumer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the ARN of a Kinesis {expected}")]
pub struct ArnError {
    text: String,
    expected: &'static str,
}

/// Longest ARN in bytes. Source: `StreamARN` and `ConsumerARN` of the API.
const ARN_MAX: usize = 2048;
/// Longest name of a stream or consumer in bytes. Source: `StreamName` of the API.
const NAME_MAX: usize = 128;

/// True for a valid stream or consumer name: 1 to 128 characters of `[a-zA-Z0-9_.-]`.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Splits `arn:partition:kinesis:region:account:resource` into partition, region, account and
/// resource.
fn split(text: &str) -> Option<(&str, &str, &str, &str)> {
    if text.len() > ARN_MAX {
        return None;
    }

    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "kinesis", region, account, resource] = parts[..] else {
        return None;
    };

    let is_word =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let valid = [partition, region, account].into_iter().all(is_word);
    valid.then_some((partition, region, account, resource))
}

impl StreamArn {
    fn read(text: &str) -> Option<Self> {
        let (partition, region, account, resource) = split(text)?;
        let name = resource
            .strip_prefix("stream/")
            .filter(|name| is_name(name))?;

        Some(Self {
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl FromStr for StreamArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        Self::read(text).ok_or_else(|| ArnError {
            text: text.to_owned(),
            expected: "stream",
        })
    }
}

impl fmt::Display for StreamArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            partition,
            region,
            account,
            name,
        } = self;
        write!(
            f,
            "arn:{partition}:kinesis:{region}:{account}:stream/{name}"
        )
    }
}

impl ConsumerArn {
    fn read(text: &str) -> Option<Self> {
        let (stream, consumer) = text.split_once("/consumer/")?;
        let (name, created) = consumer.split_once(':')?;
        let digits = created.bytes().all(|b| b.is_ascii_digit());
        if !is_name(name) || !digits || text.len() > ARN_MAX {
            return None;
        }

        Some(Self {
            stream: StreamArn::read(stream)?,
            name: name.to_owned(),
            created_s: created.parse().ok()?,
        })
    }
}

impl FromStr for ConsumerArn {
    type Err = ArnError;

    fn from_str(text: &str) -> Result<Self, ArnError> {
        Self::read(text).ok_or_else(|| ArnError {
            text: text.to_owned(),
            expected: "consumer",
        })
    }
}

impl fmt::Display for ConsumerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/consumer/{}:{}",
            self.stream, self.name, self.created_s
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/clicks.v2_x-1";
    const CONSUMER: &str =
        "arn:aws:kinesis:eu-central-1:000000000000:stream/s/consumer/app:1700000000";

    #[test]
    fn arns_are_read_and_printed() {
        let stream: StreamArn = STREAM.parse().unwrap();
        assert_eq!(
            (stream.region.as_str(), stream.name.as_str()),
            ("cn-north-1", "clicks.v2_x-1")
        );
        assert_eq!(stream.to_string(), STREAM);

        let consumer: ConsumerArn = CONSUMER.parse().unwrap();
        assert_eq!(
            (consumer.name.as_str(), consumer.created_s),
            ("app", 1_700_000_000)
        );
        assert_eq!(consumer.to_string(), CONSUMER);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "s",
            "arn:aws:kinesis:eu-central-1:1:stream/",
            "arn:aws:kinesis:eu-central-1:1:stream/a b",
            "arn:aws:kinesis::1:stream/a",
            "arn:aws:sqs:eu-central-1:1:stream/a",
            CONSUMER,
        ] {
            assert!(text.parse::<StreamArn>().is_err(), "{text}");
        }

        for text in [
            STREAM,
            "arn:aws:kinesis:r:1:stream/s/consumer/app",
            "arn:aws:kinesis:r:1:stream/s/consumer/app:x",
        ] {
            assert!(text.parse::<ConsumerArn>().is_err(), "{text}");
        }

        let error = "s".parse::<StreamArn>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"s\" is not the ARN of a Kinesis stream"
        );
    }
}
