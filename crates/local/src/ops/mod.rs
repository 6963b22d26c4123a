//! The operations, one function each. They run to the end without waiting; what waits is in [`crate::dispatch`].

pub(crate) mod consumers;
pub(crate) mod records;
pub(crate) mod settings;
pub(crate) mod shards;
pub(crate) mod streams;
pub(crate) mod tags;

use std::sync::Arc;
use std::time::Duration;

use distributary_wire::arn::{ConsumerArn, StreamArn};
use distributary_wire::codec::Format;
use distributary_wire::op::Operation;

use crate::errors::{Answer, in_use, invalid_argument, limit_exceeded};
use crate::local::Inner;
use crate::settings::millis;
use crate::stream::{Namespace, State, Stream};

/// Who calls, when, and in which format.
pub(crate) struct Call<'a> {
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) operation: Operation,
    pub(crate) namespace: Namespace,
    pub(crate) format: Format,
    pub(crate) now_ms: u64,
    pub(crate) now: Duration,
}

/// Which stream a request is for, and more of what it is about.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names<'a> {
    pub(crate) name: Option<&'a str>,
    /// The ARN of a stream or a consumer.
    pub(crate) arn: Option<&'a str>,
    pub(crate) shard: Option<&'a str>,
    pub(crate) consumer: Option<&'a str>,
}

impl<'a> Names<'a> {
    /// The stream's name.
    pub(crate) fn stream(&self) -> Option<&'a str> {
        let resource = self.arn.and_then(|arn| arn.split(":stream/").nth(1));
        self.name.or(resource.and_then(|r| r.split('/').next()))
    }

    /// The region of the ARN.
    pub(crate) fn region(&self) -> Option<&'a str> {
        self.arn.and_then(|arn| arn.split(':').nth(3))
    }

    /// The consumer's name.
    pub(crate) fn consumer(&self) -> Option<&'a str> {
        let named = self.arn.and_then(|arn| arn.split("/consumer/").nth(1));
        self.consumer.or(named.and_then(|c| c.split(':').next()))
    }
}

/// The namespace that an ARN says.
pub(crate) fn namespace_of(arn: &StreamArn) -> Namespace {
    Namespace {
        account: arn.account.clone(),
        region: arn.region.clone(),
    }
}

impl Call<'_> {
    /// Counts the call against its rate, if rates are enforced.
    ///
    /// # Errors
    /// `LimitExceededException`.
    pub(crate) fn admit(&self, namespace: &Namespace, stream: &str) -> Answer<()> {
        if !self.inner.settings.enforce_limits {
            return Ok(());
        }
        let admitted = self.inner.account(namespace, |account| {
            account.rates.admit(self.operation, stream, self.now)
        });
        if admitted {
            return Ok(());
        }
        let account = &namespace.account;
        Err(limit_exceeded(match stream {
            "" => format!("Rate exceeded for account {account}."),
            stream => format!("Rate exceeded for stream {stream} under account {account}."),
        }))
    }

    /// The stream that a request names, by name, by ARN or by both. The name and the ARN have been checked to be such.
    ///
    /// # Errors
    /// `InvalidArgumentException`, `ResourceNotFoundException`, `LimitExceededException`.
    pub(crate) fn stream(&self, name: Option<&str>, arn: Option<&str>) -> Answer<Arc<Stream>> {
        let stream = self.find(name, arn)?;
        self.admit(&stream.namespace, &stream.name)?;
        Ok(stream)
    }

    /// As [`stream`](Self::stream), without counting the call.
    pub(crate) fn stream_unadmitted(
        &self,
        name: Option<&str>,
        arn: Option<&str>,
    ) -> Answer<Arc<Stream>> {
        self.find(name, arn)
    }

    fn find(&self, name: Option<&str>, arn: Option<&str>) -> Answer<Arc<Stream>> {
        let Some(text) = arn else {
            let name = name.ok_or_else(|| {
                invalid_argument("Either StreamName or StreamARN must be specified.")
            })?;
            return self.inner.stream(&self.namespace, name, self.now_ms);
        };
        let arn: StreamArn = text
            .parse()
            .map_err(|_| invalid_argument(format!("StreamARN {text} is not valid.")))?;
        if name.is_some_and(|name| name != arn.name) {
            let name = name.unwrap_or_default();
            return Err(invalid_argument(format!(
                "StreamName {name} and StreamARN {text} do not name the same stream."
            )));
        }
        self.inner
            .stream(&namespace_of(&arn), &arn.name, self.now_ms)
    }

    /// As [`stream`](Self::stream), of a consumer's ARN.
    pub(crate) fn stream_of_consumer(&self, arn: &ConsumerArn) -> Answer<Arc<Stream>> {
        let stream =
            self.inner
                .stream(&namespace_of(&arn.stream), &arn.stream.name, self.now_ms)?;
        self.admit(&stream.namespace, &stream.name)?;
        Ok(stream)
    }

    /// Changes a stream that must be ACTIVE.
    ///
    /// # Errors
    /// `ResourceInUseException`, and those of `change`.
    pub(crate) fn change<R>(
        &self,
        stream: &Stream,
        change: impl FnOnce(&mut State) -> Answer<R>,
    ) -> Answer<R> {
        stream.write(self.now_ms, |state| {
            let status = state.status();
            if state.phase != crate::stream::Phase::Active {
                let (name, account) = (&stream.name, &stream.namespace.account);
                return Err(in_use(format!(
                    "Stream {name} under account {account} not ACTIVE, instead in state {status}"
                )));
            }
            change(state)
        })
    }

    /// How long UPDATING lasts, in milliseconds.
    pub(crate) fn update_ms(&self) -> u64 {
        millis(self.inner.settings.delays.update)
    }
}

/// The largest number of items on a page: what was asked for, or `default`, but not over `max`.
pub(crate) fn page_size(asked: Option<i32>, default: usize, max: usize) -> usize {
    asked
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(default)
        .min(max)
}
