//! An output that sends records to an HTTP server, one POST request a chunk.

pub(crate) mod body;
pub(crate) mod signature;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use distributary_core::batch::Batch;
use distributary_core::clock::Clock;
use distributary_core::output::{
    Chunk, EncodingKey, Outcome, Output, Picks, Profile, Refusal, RequestLimits, Trouble,
    TroubleKind, Verdict, Weight,
};
use distributary_core::record::Record;
use distributary_kinesis::transport::RequestClass;
use distributary_wire::transport::{
    Request, RequestBody, Response, ResponseBody, Transport, TransportError,
};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::formats::{self, Format};
use crate::messages::{Alone, place};
use body::{Body, Encoded};
use signature::Secret;

/// Records of a body at most.
const RECORDS: usize = 500;
/// Requests of one lane in flight together, each with other keys.
const IN_FLIGHT: NonZeroUsize = NonZeroUsize::new(8).unwrap();
/// Bytes of an answer that a message shows.
const SHOWN: usize = 200;

/// Settings of a [`Webhook`].
#[derive(Clone, Debug)]
pub(crate) struct WebhookSettings {
    pub(crate) uri: Uri,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) format: Format,
    pub(crate) body: Body,
    /// Bytes of a body with several records.
    pub(crate) bytes: usize,
    pub(crate) secret: Option<Secret>,
}

/// The output.
pub(crate) struct Webhook {
    settings: WebhookSettings,
    clock: Clock,
    transport: Arc<dyn Transport>,
    alone: Alone,
}

/// The meaning of an answer for a whole request.
enum Answer {
    Durable,
    /// A record of the request is the cause.
    Refused(Refusal),
    Rejected(Trouble),
    Unknown(Trouble),
}

impl Webhook {
    pub(crate) fn new(
        settings: WebhookSettings,
        clock: Clock,
        transport: Arc<dyn Transport>,
    ) -> Self {
        Self {
            settings,
            clock,
            transport,
            alone: Alone::default(),
        }
    }

    fn sends_one(&self) -> bool {
        self.settings.body == Body::One || self.alone.is_needed()
    }

    fn request(&self, id: &str, encoded: &Encoded) -> Result<Request, http::Error> {
        let settings = &self.settings;
        let mut request = http::Request::builder()
            .method(Method::POST)
            .uri(settings.uri.clone())
            .header(CONTENT_TYPE, settings.body.media_type(settings.format))
            .header("webhook-id", id)
            .header("idempotency-key", id);
        for (name, value) in &settings.headers {
            request = request.header(name, value);
        }

        if let Some(secret) = &settings.secret {
            let timestamp = self.clock.wall().0.div_euclid(1_000);
            let signature = secret.sign(id, timestamp, &encoded.body);
            request = request
                .header("webhook-timestamp", timestamp)
                .header("webhook-signature", signature);
        }
        let body = RequestBody::whole(encoded.body.clone());
        request.extension(RequestClass::Write).body(body)
    }

    async fn send(&self, id: &str, encoded: &Encoded, deadline: Duration) -> Answer {
        let request = match self.request(id, encoded) {
            Ok(request) => request,
            Err(error) => {
                let message = format!("the request cannot be written: {error}");
                return Answer::Rejected(Trouble::new(TroubleKind::Invalid, message));
            }
        };
        match self.transport.call(request, deadline).await {
            Ok(response) => self.answer(&response),
            Err(error) => self.no_answer(error),
        }
    }

    fn no_answer(&self, error: TransportError) -> Answer {
        let message = format!("no answer from {}: {error}", self.settings.uri);
        let not_sent = error.not_sent();
        let trouble = Trouble::new(TroubleKind::Unavailable, message).caused_by(error);
        if not_sent {
            Answer::Rejected(trouble)
        } else {
            Answer::Unknown(trouble)
        }
    }

    fn answer(&self, response: &Response) -> Answer {
        let status = response.status();
        if status.is_success() {
            return Answer::Durable;
        }

        let message = self.message(response);
        let Some(kind) = trouble_of(status) else {
            let code = format!("HTTP {}", status.as_u16());
            return Answer::Refused(Refusal::new(code, message));
        };
        let mut trouble = Trouble::new(kind, message);
        trouble.retry_after = retry_after(response.headers(), &self.clock);
        if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE {
            return Answer::Unknown(trouble);
        }
        Answer::Rejected(trouble)
    }

    /// One sentence about an answer that is no success.
    fn message(&self, response: &Response) -> String {
        let (uri, status) = (&self.settings.uri, response.status());
        if let (true, Some(to)) = (
            status.is_redirection(),
            response.headers().get(http::header::LOCATION),
        ) {
            let to = String::from_utf8_lossy(to.as_bytes());
            return format!(
                "{uri} redirects to {to}, and redirects are not followed; name that one"
            );
        }

        let body = match response.body() {
            ResponseBody::Full(body) => &body[..body.len().min(SHOWN)],
            ResponseBody::Stream(_) => &[],
        };
        format!("{uri} answers {status}: {}", String::from_utf8_lossy(body))
    }

    /// The outcome of a chunk that the server refused because of one of its records.
    fn refused(&self, refusal: &Refusal, encoded: &Encoded) -> Outcome {
        let records = encoded.refused.len();
        if records > 1 {
            self.alone.narrow(records);
            return Outcome::Stale;
        }
        Outcome::PerRecord(vec![Verdict::Refused(refusal.clone())])
    }
}

/// The class of a failure; `None` if the server refuses a record.
fn trouble_of(status: StatusCode) -> Option<TroubleKind> {
    match status.as_u16() {
        300..=399 | 405 => Some(TroubleKind::Invalid),
        401 | 403 | 407 => Some(TroubleKind::Denied),
        404 | 410 => Some(TroubleKind::Missing),
        429 => Some(TroubleKind::Throttled),
        408 | 425 | 500..=599 => Some(TroubleKind::Unavailable),
        400..=499 => None,
        _ => Some(TroubleKind::Unintelligible),
    }
}

/// The wait of a `Retry-After` header: seconds, or a date.
fn retry_after(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let now = UNIX_EPOCH + Duration::from_millis(u64::try_from(clock.wall().0).ok()?);
    date.duration_since(now).ok()
}

/// Names a request by its records, so that a receiver recognises a request that is sent again:
/// `SHARD:FIRST-LAST`, or `SHARD:SEQUENCE` of one record. A row of a pump has its number behind
/// the sequence number.
fn request_id(batch: &Batch, picks: &Picks) -> String {
    let shard = &batch.origin().shard;
    let last = picks.len().saturating_sub(1);
    let place = |pick: usize| {
        picks
            .get(pick)
            .map_or_else(String::new, |i| place::within_shard(batch, i))
    };
    match last {
        0 => format!("{shard}:{}", place(0)),
        last => format!("{shard}:{}-{}", place(0), place(last)),
    }
}

#[async_trait]
impl Output for Webhook {
    fn profile(&self) -> Profile {
        let entries = if self.sends_one() { 1 } else { RECORDS };
        let request = RequestLimits {
            entries,
            bytes: self.settings.bytes,
        };
        Profile {
            in_flight: IN_FLIGHT,
            ..Profile::new(request)
        }
    }

    fn encoding(&self) -> EncodingKey {
        let WebhookSettings {
            format,
            body,
            bytes,
            ..
        } = &self.settings;
        let one = self.sends_one();
        EncodingKey::new("http", format!("{format:?} {body:?} {bytes} {one}"))
    }

    fn weigh(&self, record: &Record<'_>) -> Weight {
        let bytes = formats::len(record, self.settings.format);
        Weight {
            entries: 1,
            bytes: bytes + 3,
        }
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        formats::bound(records, bytes)
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        let encoded = Encoded::new(batch, &picks, self.settings.format, self.settings.body);
        Chunk {
            allocation: encoded.body.len(),
            payload: Box::new(encoded),
            picks,
        }
    }

    async fn write(&self, batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let Some(encoded) = chunk.payload.as_any().downcast_ref::<Encoded>() else {
            return Outcome::Stale;
        };
        if encoded.is_empty() {
            return verdicts(encoded);
        }

        let id = request_id(batch, &chunk.picks);
        let answer = self.send(&id, encoded, deadline).await;
        match &answer {
            Answer::Refused(refusal) => {
                let outcome = self.refused(refusal, encoded);
                if matches!(outcome, Outcome::PerRecord(_)) {
                    self.alone.sent(1);
                }
                outcome
            }
            Answer::Durable => {
                self.alone.sent(encoded.refused.len());
                verdicts(encoded)
            }
            Answer::Rejected(trouble) => Outcome::Rejected(trouble.clone()),
            Answer::Unknown(trouble) => Outcome::Unknown(trouble.clone()),
        }
    }
}

/// The outcome of a chunk whose body is durable.
fn verdicts(encoded: &Encoded) -> Outcome {
    if encoded.refused.iter().all(Option::is_none) {
        return Outcome::Durable;
    }
    let verdict = |refused: &Option<Refusal>| match refused {
        None => Verdict::Durable,
        Some(refusal) => Verdict::Refused(refusal.clone()),
    };
    Outcome::PerRecord(encoded.refused.iter().map(verdict).collect())
}

/// The status of the answer to a HEAD request.
pub(crate) async fn probe(
    transport: &dyn Transport,
    uri: Uri,
    deadline: Duration,
) -> Result<u16, TransportError> {
    let mut request = Request::new(RequestBody::default());
    *request.method_mut() = Method::HEAD;
    *request.uri_mut() = uri;
    let answer = transport.call(request, deadline).await?;
    Ok(answer.status().as_u16())
}
