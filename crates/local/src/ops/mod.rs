//! The operations, one function each. No function waits; waiting is done in [`crate::dispatch`].

pub(crate) mod consumers;
pub(crate) mod get;
pub(crate) mod put;
pub(crate) mod settings;
pub(crate) mod shards;
pub(crate) mod streams;
pub(crate) mod tags;

use std::sync::Arc;
use std::time::Duration;

use distributary_wire::arn::{ConsumerArn, StreamArn};
use distributary_wire::codec::Format;
use distributary_wire::op::Operation;

use crate::errors::{Answer, invalid_argument, limit_exceeded, stream_not_active};
use crate::local::Inner;
use crate::reshard::Change;
use crate::settings::millis;
use crate::stream::{Namespace, Phase, State, Stream};
use crate::target::Targeted;

/// One call: the operation, the caller's account and region, the format and the time.
pub(crate) struct Call<'a> {
    pub(crate) inner: &'a Arc<Inner>,
    pub(crate) operation: Operation,
    /// The caller's account and region, for requests without an ARN.
    pub(crate) namespace: Namespace,
    pub(crate) format: Format,
    /// Wall-clock time in milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// The same moment by the monotonic clock.
    pub(crate) now: Duration,
}

impl Call<'_> {
    /// Counts the call against the rate of calls, if limits are enforced. `stream` is the name of
    /// the stream that the call is about, empty for a call about none.
    ///
    /// # Errors
    /// `LimitExceededException`.
    pub(crate) fn check_rate(&self, namespace: &Namespace, stream: &str) -> Answer<()> {
        if !self.inner.settings.enforce_limits {
            return Ok(());
        }

        let is_within_rate = self.inner.account(namespace, |account| {
            account.rates.admit(self.operation, stream, self.now)
        });
        if is_within_rate {
            return Ok(());
        }

        let account = &namespace.account;
        Err(limit_exceeded(match stream {
            "" => format!("Rate exceeded for account {account}."),
            stream => format!("Rate exceeded for stream {stream} under account {account}."),
        }))
    }

    /// The stream that a request is about; counts the call against the rate of calls.
    ///
    /// # Errors
    /// As [`stream`](Self::stream).
    pub(crate) fn stream_of(&self, request: &impl Targeted) -> Answer<Arc<Stream>> {
        let target = request.target();
        self.stream(target.stream_name, target.arn)
    }

    /// The stream with a name, an ARN or both; counts the call against the rate of calls. The name
    /// and the ARN have passed [`Checks`](crate::check::Checks).
    ///
    /// # Errors
    /// `InvalidArgumentException`, `ResourceNotFoundException`, `LimitExceededException`.
    pub(crate) fn stream(&self, name: Option<&str>, arn: Option<&str>) -> Answer<Arc<Stream>> {
        let stream = self.find_stream(name, arn)?;
        self.check_rate(&stream.namespace, &stream.name)?;
        Ok(stream)
    }

    /// As [`stream`](Self::stream), without counting the call.
    pub(crate) fn find_stream(&self, name: Option<&str>, arn: Option<&str>) -> Answer<Arc<Stream>> {
        let Some(text) = arn else {
            let name = name.ok_or_else(|| {
                invalid_argument("Either StreamName or StreamARN must be specified.")
            })?;
            return self.inner.stream(&self.namespace, name, self.now_ms);
        };

        let arn = parse_stream_arn(text, name)?;
        let namespace = Namespace::of(&arn);
        self.inner.stream(&namespace, &arn.name, self.now_ms)
    }

    /// As [`stream`](Self::stream), from the ARN of a consumer.
    pub(crate) fn stream_of_consumer(&self, arn: &ConsumerArn) -> Answer<Arc<Stream>> {
        let namespace = Namespace::of(&arn.stream);
        let stream = self
            .inner
            .stream(&namespace, &arn.stream.name, self.now_ms)?;
        self.check_rate(&stream.namespace, &stream.name)?;
        Ok(stream)
    }

    /// Changes a stream that must be ACTIVE.
    ///
    /// # Errors
    /// `ResourceInUseException` in any other state, and the errors of `change`.
    pub(crate) fn change_active<R>(
        &self,
        stream: &Stream,
        change: impl FnOnce(&mut State) -> Answer<R>,
    ) -> Answer<R> {
        stream.write(self.now_ms, |state| match state.phase {
            Phase::Active => change(state),
            Phase::Creating { .. }
            | Phase::Updating { .. }
            | Phase::Deleting { .. }
            | Phase::Gone => Err(stream_not_active(stream, &state.status())),
        })
    }

    /// Starts a change, which is made at the end of UPDATING.
    pub(crate) fn start_change(&self, state: &mut State, change: Change) {
        let delay_ms = millis(self.inner.settings.delays.update);
        state.start_change(change, self.now_ms, delay_ms);
    }
}

/// Parses the ARN of a stream, which must have the stream's name if a name is given.
fn parse_stream_arn(text: &str, name: Option<&str>) -> Answer<StreamArn> {
    let arn: StreamArn = text
        .parse()
        .map_err(|_| invalid_argument(format!("StreamARN {text} is not valid.")))?;
    match name.filter(|name| *name != arn.name) {
        Some(name) => Err(invalid_argument(format!(
            "StreamName {name} and StreamARN {text} do not name the same stream."
        ))),
        None => Ok(arn),
    }
}

/// The items of a page.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// True if more items follow the page.
    pub(crate) has_more: bool,
}

impl<T> Page<T> {
    /// Takes the first `size` items.
    pub(crate) fn take(mut items: impl Iterator<Item = T>, size: usize) -> Self {
        Self {
            items: items.by_ref().take(size).collect(),
            has_more: items.next().is_some(),
        }
    }

    /// The last item, if more items follow.
    pub(crate) fn last_before_more(&self) -> Option<&T> {
        self.items.last().filter(|_| self.has_more)
    }
}

/// The number of items on a page: as requested or `default`, and at most `max`.
pub(crate) fn page_size(requested: Option<i32>, default: usize, max: usize) -> usize {
    requested
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(default)
        .min(max)
}
