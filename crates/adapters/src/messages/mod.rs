//! Outputs that send records as messages of a service. A kind brings a [`Service`]: the form of a
//! message, the limits, and one call; verdicts, deadlines and the search for a message that makes a
//! whole request fail are written once, here.

pub(crate) mod attributes;
#[cfg(feature = "aws")]
pub(crate) mod aws;
pub(crate) mod collapse;
pub(crate) mod composer;
pub(crate) mod place;
#[cfg(test)]
mod tests;
pub(crate) mod text;

use std::fmt::Debug;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::Batch;
use distributary_core::clock::Clock;
use distributary_core::output::{
    Chunk, EncodingKey, Outcome, Output, Picks, Profile, Refusal, Trouble, TroubleKind, Verdict,
    Weight,
};
use distributary_core::record::Record;

use crate::formats;
use crate::kind::BuildError;

/// Requests of one lane in flight together, each with other keys.
pub(crate) const IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// A service that takes messages.
#[async_trait]
pub(crate) trait Service: Send + Sync + 'static {
    /// The form in which a record is sent.
    type Message: Debug + Send + Sync + 'static;
    /// The kind's name.
    const KIND: &'static str;

    /// As [`Output::profile`].
    fn profile(&self) -> Profile;

    /// The settings that change messages or the cuts between requests.
    fn form(&self) -> String;

    /// The bytes that a request's limit counts for `record`.
    fn weigh(&self, record: &Record<'_>) -> usize;

    /// The messages of these records.
    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Self::Message>;

    /// Bytes that `message` keeps allocated.
    fn allocation(message: &Self::Message) -> usize;

    /// Sends `messages`, at least one, in one request.
    async fn send(&self, messages: &[Self::Message]) -> Answer;
}

/// The meaning of the answer to one request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Every message is durable.
    Durable,
    /// One verdict for each message.
    Each(Vec<Verdict>),
    /// The whole request is refused because of one of the messages.
    Refused(Refusal),
    /// Nothing was written.
    Rejected(Trouble),
    /// Anything may have been written.
    Unknown(Trouble),
}

impl Answer {
    /// True if one of several records is refused, and the answer does not say which one: of a
    /// message with several records no answer does.
    fn hides_refusal(&self, is_collapsed: bool) -> bool {
        let is_refusal = |verdict: &Verdict| matches!(verdict, Verdict::Refused(_));
        match self {
            Self::Refused(_) => true,
            Self::Each(verdicts) => is_collapsed && verdicts.iter().any(is_refusal),
            Self::Durable | Self::Rejected(_) | Self::Unknown(_) => false,
        }
    }

    /// True if a question about a place was not answered, but records may well be written there:
    /// the role may only write, or the server's answer to that question is not understood.
    pub(crate) fn is_open(&self) -> bool {
        let kind = match self {
            Self::Rejected(trouble) | Self::Unknown(trouble) => trouble.kind,
            Self::Durable | Self::Each(_) | Self::Refused(_) => return false,
        };
        matches!(kind, TroubleKind::Denied | TroubleKind::Unintelligible)
    }

    /// The trouble of an answer that is no success.
    pub(crate) fn trouble(self) -> Trouble {
        match self {
            Self::Rejected(trouble) | Self::Unknown(trouble) => trouble,
            Self::Refused(refusal) => {
                let message = refusal.message;
                Trouble::new(TroubleKind::Invalid, message)
            }
            Self::Durable | Self::Each(_) => {
                Trouble::new(TroubleKind::Unintelligible, "an answer of another call")
            }
        }
    }

    /// One sentence about an answer that is no success.
    pub(crate) fn reason(self) -> String {
        self.trouble().message
    }

    /// The error for an output that cannot be made because of this answer.
    pub(crate) fn cannot_write(self, place: &str) -> BuildError {
        let source = self.trouble();
        BuildError::Failed {
            message: format!("cannot write to {place}: {source}"),
            source,
        }
    }
}

/// The messages of a chunk.
#[derive(Debug)]
pub(crate) struct Encoded<M> {
    pub(crate) messages: Vec<M>,
    /// For each pick the index of the message that holds the record, or the verdict on a record
    /// that is in none.
    pub(crate) places: Vec<Result<usize, Verdict>>,
}

impl<M> Encoded<M> {
    /// All records in one message; `places` has the verdicts on records that are not in the
    /// message.
    pub(crate) fn together(message: Result<M, Verdict>, places: Vec<Result<(), Verdict>>) -> Self {
        let (messages, whole) = match message {
            Ok(message) => (vec![message], Ok(0)),
            Err(verdict) => (Vec::new(), Err(verdict)),
        };
        let places = places.into_iter();
        let places = places.map(|place| place.and_then(|()| whole.clone()));
        let places = places.collect();
        Self { messages, places }
    }

    /// One message for each record; `message` returns the verdict where there is none.
    pub(crate) fn one_each(picks: &Picks, message: impl Fn(usize) -> Result<M, Verdict>) -> Self {
        let mut messages = Vec::with_capacity(picks.len());
        let places = picks.iter().map(|i| {
            messages.push(message(i)?);
            Ok(messages.len() - 1)
        });
        let places = places.collect();
        Self { messages, places }
    }

    /// True if several records are sent.
    fn is_several(&self) -> bool {
        let sent = self.places.iter().filter(|place| place.is_ok());
        sent.count() > 1
    }

    /// True if a message holds several records.
    fn is_collapsed(&self) -> bool {
        let in_messages = self.places.iter().filter(|place| place.is_ok());
        in_messages.count() > self.messages.len()
    }

    /// The outcome if the messages have these verdicts.
    fn outcome(&self, verdicts: impl Fn(usize) -> Verdict) -> Outcome {
        let verdict = |place: &Result<usize, Verdict>| match place {
            Ok(message) => verdicts(*message),
            Err(verdict) => verdict.clone(),
        };
        let verdicts: Vec<Verdict> = self.places.iter().map(verdict).collect();

        let all_durable = verdicts.iter().all(|v| matches!(v, Verdict::Durable));
        if all_durable {
            Outcome::Durable
        } else {
            Outcome::PerRecord(verdicts)
        }
    }
}

/// The output that sends the messages of a [`Service`].
pub(crate) struct Messages<S> {
    service: S,
    clock: Clock,
    alone: Alone,
}

impl<S: Service> Messages<S> {
    pub(crate) fn new(service: S, clock: Clock) -> Self {
        Self {
            service,
            clock,
            alone: Alone::default(),
        }
    }

    fn outcome(&self, encoded: &Encoded<S::Message>, answer: Answer) -> Outcome {
        let sent = encoded.places.len();
        if encoded.is_several() && answer.hides_refusal(encoded.is_collapsed()) {
            self.alone.narrow(sent);
            return Outcome::Stale;
        }

        match answer {
            Answer::Durable => {
                self.alone.sent(sent);
                encoded.outcome(|_| Verdict::Durable)
            }
            Answer::Each(verdicts) if verdicts.len() == encoded.messages.len() => {
                self.alone.sent(sent);
                encoded.outcome(|message| verdicts[message].clone())
            }
            Answer::Each(verdicts) => Outcome::Unknown(miscounted(&verdicts, encoded)),
            Answer::Refused(refusal) => {
                self.alone.sent(sent);
                encoded.outcome(|_| Verdict::Refused(refusal.clone()))
            }
            Answer::Rejected(trouble) => Outcome::Rejected(trouble),
            Answer::Unknown(trouble) => Outcome::Unknown(trouble),
        }
    }
}

fn miscounted<M>(verdicts: &[Verdict], encoded: &Encoded<M>) -> Trouble {
    let (got, sent) = (verdicts.len(), encoded.messages.len());
    let message = format!("the answer speaks of {got} messages, and {sent} were sent");
    Trouble::new(TroubleKind::Unintelligible, message)
}

#[async_trait]
impl<S: Service> Output for Messages<S> {
    fn profile(&self) -> Profile {
        let mut profile = self.service.profile();
        if self.alone.is_needed() {
            profile.request.entries = 1;
        }
        profile
    }

    fn encoding(&self) -> EncodingKey {
        let form = self.service.form();
        let alone = self.alone.is_needed();
        EncodingKey::new(S::KIND, format!("{form} {alone}"))
    }

    fn weigh(&self, record: &Record<'_>) -> Weight {
        Weight {
            entries: 1,
            bytes: self.service.weigh(record),
        }
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        formats::bound(records, bytes)
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        let encoded = self.service.encode(batch, &picks);
        Chunk {
            picks,
            allocation: encoded.messages.iter().map(S::allocation).sum(),
            payload: Box::new(encoded),
        }
    }

    async fn write(&self, _batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let encoded = chunk.payload.as_any();
        let Some(encoded) = encoded.downcast_ref::<Encoded<S::Message>>() else {
            return Outcome::Stale;
        };
        if encoded.messages.is_empty() {
            self.alone.sent(encoded.places.len());
            return encoded.outcome(|_| Verdict::Durable);
        }

        let send = self.service.send(&encoded.messages);
        match self.clock.timeout(deadline, send).await {
            Some(answer) => self.outcome(encoded, answer),
            None => {
                let message = format!("{} did not answer within {deadline:?}", S::KIND);
                let trouble = Trouble::new(TroubleKind::Unavailable, message);
                Outcome::Unknown(trouble)
            }
        }
    }
}

/// The search for a record that makes a whole request fail: the records of such a request are sent
/// alone, one a request, until all of them have been sent.
#[derive(Debug, Default)]
pub(crate) struct Alone(AtomicUsize);

impl Alone {
    /// True if each record is to be sent alone.
    pub(crate) fn is_needed(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Has the next `records` records sent alone.
    pub(crate) fn narrow(&self, records: usize) {
        self.0.store(records, Ordering::Relaxed);
    }

    /// Notes that `records` records were sent.
    pub(crate) fn sent(&self, records: usize) {
        let less = |alone: usize| Some(alone.saturating_sub(records));
        let _ = self
            .0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}
