//! Streams as users name them: a name, or an ARN that also says the region.

use std::fmt;
use std::str::FromStr;

use distributary_wire::arn::{StreamArn, is_name};

/// A stream, named by its name (in the region and account of the client) or by its ARN.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamRef {
    name: String,
    arn: Option<StreamArn>,
}

/// A text that names no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} names no stream: expected a name (1 to 128 of a-z, A-Z, 0-9, '_', '.', '-') or an ARN \
     such as arn:aws:kinesis:eu-central-1:123456789012:stream/orders"
)]
pub struct BadStreamRef {
    text: String,
}

impl StreamRef {
    /// The stream's bare name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The ARN, if the stream was given by ARN.
    pub fn arn(&self) -> Option<&StreamArn> {
        self.arn.as_ref()
    }

    /// The region of the ARN.
    pub fn region(&self) -> Option<&str> {
        self.arn.as_ref().map(|arn| arn.region.as_str())
    }
}

impl FromStr for StreamRef {
    type Err = BadStreamRef;

    fn from_str(text: &str) -> Result<Self, BadStreamRef> {
        if let Ok(arn) = text.parse::<StreamArn>() {
            return Ok(arn.into());
        }
        if is_name(text) {
            return Ok(Self {
                name: text.to_owned(),
                arn: None,
            });
        }

        Err(BadStreamRef {
            text: text.to_owned(),
        })
    }
}

impl From<StreamArn> for StreamRef {
    fn from(arn: StreamArn) -> Self {
        Self {
            name: arn.name.clone(),
            arn: Some(arn),
        }
    }
}

impl fmt::Display for StreamRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.arn {
            Some(arn) => arn.fmt(f),
            None => f.write_str(&self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_arns() {
        let by_name: StreamRef = "orders.v2".parse().unwrap();
        assert_eq!((by_name.name(), by_name.region()), ("orders.v2", None));
        let text = "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders";
        let by_arn: StreamRef = text.parse().unwrap();
        assert_eq!(
            (by_arn.name(), by_arn.region()),
            ("orders", Some("cn-north-1"))
        );
        assert_eq!(by_arn.to_string(), text);
        for bad in [
            "",
            "a b",
            "arn:aws:sqs:eu-central-1:1:q",
            "arn:aws:kinesis:eu-central-1:1:stream/",
        ] {
            assert!(bad.parse::<StreamRef>().is_err(), "{bad}");
        }
    }
}
