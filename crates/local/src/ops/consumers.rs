//! Consumers with enhanced fan-out, and `SubscribeToShard`.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_wire::arn::ConsumerArn;
use distributary_wire::error::ApiError;
use distributary_wire::limits;
use distributary_wire::types::*;

use super::get::{StartPosition, start_offset};
use super::streams::check_creation_time;
use super::{Call, Page, page_size};
use crate::check::{Checks, Pattern};
use crate::consumer::{Consumer, LastSubscription};
use crate::errors::{
    Answer, consumer_not_found, dry_run, in_use, invalid_argument, invalid_next_token,
    limit_exceeded, shard_does_not_exist, stream_not_active,
};
use crate::faults::{Effects, LiveSubscription, SubscriptionFault};
use crate::ops::tags::check_tags;
use crate::push::{Control, Subscription};
use crate::settings::millis;
use crate::stream::{Shard, State, Stream};
use crate::token::{self, Kind};

/// Consumers on a page of `ListStreamConsumers` by default.
const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 10_000;

fn check_register(request: &RegisterStreamConsumerRequest) -> Answer<()> {
    let name = request.consumer_name.as_deref();
    let mut checks = Checks::of_stream_arn(request);
    checks.required("consumerName", name.as_ref());
    checks.text("consumerName", name, 1..=128, Pattern::Name);
    checks.finish()
}

pub(crate) fn register(
    call: &Call<'_>,
    request: &RegisterStreamConsumerRequest,
) -> Answer<RegisterStreamConsumerResponse> {
    check_register(request)?;
    let tags = request.tags.clone().unwrap_or_default();
    check_tags(&tags)?;
    let stream = call.stream(None, request.stream_arn.as_deref())?;
    let limit = consumer_limit(call, &stream);
    let name = request.consumer_name.clone().unwrap_or_default();

    stream.write(call.now_ms, |state| {
        check_room(call, &stream, state, &name, limit)?;
        let consumer = new_consumer(call, &stream, &name, tags);

        // AWS always answers CREATING here.
        let mut shown = consumer.describe(call.now_ms);
        shown.consumer_status = ConsumerStatus::Creating;
        state.consumers.insert(name, consumer);
        Ok(RegisterStreamConsumerResponse { consumer: shown })
    })
}

fn new_consumer(
    call: &Call<'_>,
    stream: &Stream,
    name: &str,
    tags: BTreeMap<String, String>,
) -> Consumer {
    let delay_ms = millis(call.inner.settings.delays.consumer);
    let arn = ConsumerArn {
        stream: stream.arn.clone(),
        name: name.to_owned(),
        created_s: (call.now_ms / 1000).cast_signed(),
    };

    Consumer {
        arn,
        created_ms: call.now_ms,
        active_ms: call.now_ms.saturating_add(delay_ms),
        gone_ms: None,
        tags,
        policy: None,
        subscriptions: BTreeMap::new(),
    }
}

/// The largest number of consumers of a stream.
fn consumer_limit(call: &Call<'_>, stream: &Stream) -> usize {
    if let Some(limit) = call.inner.settings.consumers_per_stream {
        return limit;
    }

    let namespace = &stream.namespace;
    if call.inner.account(namespace, |a| a.is_committed()) {
        limits::CONSUMERS_PER_STREAM_ADVANTAGE
    } else {
        limits::CONSUMERS_PER_STREAM
    }
}

/// # Errors
/// `ResourceInUseException` for the stream's state or a name in use; `LimitExceededException`.
fn check_room(
    call: &Call<'_>,
    stream: &Stream,
    state: &State,
    name: &str,
    limit: usize,
) -> Answer<()> {
    if !state.serves() {
        return Err(stream_not_active(stream, &state.status()));
    }
    if state.consumers.contains_key(name) {
        let (stream, account) = (&stream.name, &stream.namespace.account);
        return Err(in_use(format!(
            "Consumer {name} under stream {stream} already exists for account {account}."
        )));
    }
    if state.consumers.len() >= limit {
        return Err(limit_exceeded(format!(
            "Stream {stream} cannot have more than {limit} consumers."
        )));
    }
    check_creating(call, stream, state)
}

/// # Errors
/// `LimitExceededException` if too many consumers are CREATING.
fn check_creating(call: &Call<'_>, stream: &Stream, state: &State) -> Answer<()> {
    let creating = state
        .consumers
        .values()
        .filter(|consumer| consumer.status(call.now_ms) == ConsumerStatus::Creating)
        .count();
    let limit = limits::CONSUMERS_CREATING;
    if creating < limit {
        return Ok(());
    }

    Err(limit_exceeded(format!(
        "Stream {stream} cannot have more than {limit} consumers in CREATING state."
    )))
}

/// The consumer that a request names, by name or by ARN.
struct ConsumerReference {
    stream: Arc<Stream>,
    name: String,
    /// Distinguishes the consumer from an earlier consumer with the same name.
    arn: Option<ConsumerArn>,
}

impl ConsumerReference {
    /// Finds the stream. The consumer itself is looked up by the operation, under the stream's
    /// lock.
    fn find(
        call: &Call<'_>,
        stream_arn: Option<&str>,
        name: Option<&str>,
        arn: Option<&str>,
    ) -> Answer<Self> {
        check_reference(stream_arn, name, arn)?;
        if let Some(text) = arn {
            let arn = parse_arn(text)?;
            check_agreement(&arn, stream_arn, name)?;
            return Self::by_arn(call, arn);
        }

        let (Some(stream_arn), Some(name)) = (stream_arn, name) else {
            return Err(invalid_argument(
                "Either ConsumerARN or both ConsumerName and StreamARN must be specified.",
            ));
        };
        Ok(Self {
            stream: call.stream(None, Some(stream_arn))?,
            name: name.to_owned(),
            arn: None,
        })
    }

    fn by_arn(call: &Call<'_>, arn: ConsumerArn) -> Answer<Self> {
        Ok(Self {
            stream: call.stream_of_consumer(&arn)?,
            name: arn.name.clone(),
            arn: Some(arn),
        })
    }

    fn is(&self, consumer: &Consumer) -> bool {
        self.arn.as_ref().is_none_or(|arn| *arn == consumer.arn)
    }

    fn not_found(&self) -> ApiError {
        consumer_not_found(&self.name, &self.stream.namespace.account)
    }
}

fn check_reference(stream_arn: Option<&str>, name: Option<&str>, arn: Option<&str>) -> Answer<()> {
    let mut checks = Checks::default();
    checks.stream_arn(stream_arn);
    checks.text("consumerName", name, 1..=128, Pattern::Name);
    checks.text("consumerARN", arn, 1..=2048, Pattern::ConsumerArn);
    checks.finish()
}

fn parse_arn(text: &str) -> Answer<ConsumerArn> {
    text.parse()
        .map_err(|_| invalid_argument(format!("ConsumerARN {text} is not valid.")))
}

/// # Errors
/// `InvalidArgumentException` if the ARN and the other members name different consumers.
fn check_agreement(arn: &ConsumerArn, stream_arn: Option<&str>, name: Option<&str>) -> Answer<()> {
    let agrees = name.is_none_or(|name| name == arn.name)
        && stream_arn.is_none_or(|stream| stream == arn.stream.to_string());
    if agrees {
        return Ok(());
    }
    Err(invalid_argument(
        "ConsumerARN, ConsumerName and StreamARN do not name the same consumer.",
    ))
}

pub(crate) fn describe(
    call: &Call<'_>,
    request: &DescribeStreamConsumerRequest,
) -> Answer<DescribeStreamConsumerResponse> {
    let reference = ConsumerReference::find(
        call,
        request.stream_arn.as_deref(),
        request.consumer_name.as_deref(),
        request.consumer_arn.as_deref(),
    )?;
    let state = reference.stream.read(call.now_ms);
    let consumer = state.consumers.get(&reference.name);
    let consumer = consumer
        .filter(|c| reference.is(c))
        .ok_or_else(|| reference.not_found())?;

    Ok(DescribeStreamConsumerResponse {
        consumer_description: description(consumer, call.now_ms),
    })
}

fn description(consumer: &Consumer, now_ms: u64) -> ConsumerDescription {
    let shown = consumer.describe(now_ms);
    ConsumerDescription {
        consumer_name: shown.consumer_name,
        consumer_arn: shown.consumer_arn,
        consumer_status: shown.consumer_status,
        consumer_creation_timestamp: shown.consumer_creation_timestamp,
        stream_arn: consumer.arn.stream.to_string(),
    }
}

pub(crate) fn deregister(
    call: &Call<'_>,
    request: &DeregisterStreamConsumerRequest,
) -> Answer<DeregisterStreamConsumerResponse> {
    let reference = ConsumerReference::find(
        call,
        request.stream_arn.as_deref(),
        request.consumer_name.as_deref(),
        request.consumer_arn.as_deref(),
    )?;
    let delay_ms = millis(call.inner.settings.delays.consumer);

    reference.stream.write(call.now_ms, |state| {
        let consumer = state.consumers.get_mut(&reference.name);
        let consumer = consumer
            .filter(|c| reference.is(c))
            .ok_or_else(|| reference.not_found())?;

        let gone_ms = call.now_ms.saturating_add(delay_ms);
        consumer.gone_ms.get_or_insert(gone_ms);
        for last in consumer.subscriptions.values() {
            let end = SubscriptionFault::End(Some(reference.not_found()));
            last.control.apply(end);
        }
        Ok(DeregisterStreamConsumerResponse::default())
    })
}

fn check_list(request: &ListStreamConsumersRequest) -> Answer<()> {
    let token = request.next_token.as_deref();
    let mut checks = Checks::of_stream_arn(request);
    checks.text("nextToken", token, 1..=1_048_576, Pattern::Any);
    checks.number("maxResults", request.max_results, 1..=PAGE_MAX as i32);
    checks.finish()
}

/// The name after which a page of `ListStreamConsumers` starts.
fn list_start(call: &Call<'_>, stream: &Stream, token: Option<&str>) -> Answer<Option<String>> {
    let Some(text) = token else {
        return Ok(None);
    };
    let age_ms = millis(call.inner.settings.page_token_age);
    let payload = token::open_page(Kind::Consumers, text, call.now_ms, age_ms)?;
    let (uid, rest) = token::read_page_payload(&payload)?;
    let name = std::str::from_utf8(rest).ok().filter(|_| uid == stream.uid);
    Ok(Some(name.ok_or_else(invalid_next_token)?.to_owned()))
}

pub(crate) fn list(
    call: &Call<'_>,
    request: &ListStreamConsumersRequest,
) -> Answer<ListStreamConsumersResponse> {
    check_list(request)?;
    let stream = call.stream(None, request.stream_arn.as_deref())?;
    check_creation_time(&stream, request.stream_creation_timestamp)?;
    let after = list_start(call, &stream, request.next_token.as_deref())?;

    let state = stream.read(call.now_ms);
    let size = page_size(request.max_results, PAGE_DEFAULT, PAGE_MAX);
    let rest = state
        .consumers
        .values()
        .filter(|c| after.as_ref().is_none_or(|a| c.arn.name > *a));
    let page = Page::take(rest, size);
    let next_token = page.last_before_more().map(|last| {
        let payload = token::page_payload(stream.uid, last.arn.name.as_bytes());
        token::seal(Kind::Consumers, call.now_ms, 0, &payload)
    });

    let consumers = page.items.iter().map(|c| c.describe(call.now_ms));
    Ok(ListStreamConsumersResponse {
        consumers: Some(consumers.collect()),
        next_token,
    })
}

fn check_subscribe(request: &SubscribeToShardRequest) -> Answer<()> {
    let arn = request.consumer_arn.as_deref();
    let mut checks = Checks::default();
    checks.required("consumerARN", arn.as_ref());
    checks.text("consumerARN", arn, 1..=2048, Pattern::ConsumerArn);
    checks.required("shardId", request.shard_id.as_ref());
    checks.shard_id("shardId", request.shard_id.as_deref());
    checks.required("startingPosition", request.starting_position.as_ref());
    if let Some(position) = &request.starting_position {
        check_position(&mut checks, position);
    }
    checks.finish()
}

fn check_position(checks: &mut Checks, position: &StartingPosition) {
    let kind = position.kind.as_ref();
    checks.required("startingPosition.type", kind);
    checks.one_of("startingPosition.type", kind, ShardIteratorType::KNOWN);
    checks.text(
        "startingPosition.sequenceNumber",
        position.sequence_number.as_deref(),
        0..=129,
        Pattern::SequenceNumber,
    );
}

/// Subscribes a consumer to a shard. Ends an earlier subscription of the consumer to the shard.
pub(crate) fn subscribe(
    call: &Call<'_>,
    request: &SubscribeToShardRequest,
    effects: &Effects,
) -> Answer<Subscription> {
    check_subscribe(request)?;
    let arn = parse_arn(request.consumer_arn.as_deref().unwrap_or_default())?;
    let stream = call.stream_of_consumer(&arn)?;

    let control = Arc::new(Control::default());
    let (shard, offset) = stream.write(call.now_ms, |state| {
        let (shard, offset) = subscription_start(call, request, &stream, state)?;
        let consumer = state.consumer_mut(&arn)?;
        check_can_subscribe(call, &stream, &shard, consumer)?;
        if request.dry_run.unwrap_or_default() {
            return Err(dry_run());
        }

        replace_subscription(call, &stream, &shard, consumer, &control);
        Ok((shard, offset))
    })?;

    let live = LiveSubscription {
        stream: stream.name.clone(),
        region: stream.namespace.region.clone(),
        shard: shard.id.clone(),
        consumer: arn.name,
        control: Arc::clone(&control),
    };
    let planned = effects.subscription.clone();
    let subscription = Subscription::new(call, stream, shard, control, offset, planned);
    call.inner.faults.watch(subscription.waiter, live);
    Ok(subscription)
}

/// Notes a new subscription and ends the subscription before.
fn replace_subscription(
    call: &Call<'_>,
    stream: &Stream,
    shard: &Shard,
    consumer: &mut Consumer,
    control: &Arc<Control>,
) {
    let new = LastSubscription {
        at: call.now,
        control: Arc::clone(control),
    };
    if let Some(last) = consumer.subscriptions.insert(shard.index, new) {
        let error = already_subscribed(stream, shard, &consumer.arn.name);
        last.control.apply(SubscriptionFault::End(Some(error)));
    }
}

/// The shard and the offset at which a subscription starts.
fn subscription_start(
    call: &Call<'_>,
    request: &SubscribeToShardRequest,
    stream: &Stream,
    state: &State,
) -> Answer<(Arc<Shard>, u64)> {
    let id = request.shard_id.as_deref().unwrap_or_default();
    let shard = state
        .shard(id)
        .ok_or_else(|| shard_does_not_exist(id, stream))?;

    let position = request.starting_position.clone().unwrap_or_default();
    let start = StartPosition {
        kind: position.kind.unwrap_or_default(),
        sequence_number: position.sequence_number.as_deref(),
        timestamp: position.timestamp,
    };
    let offset = start_offset(call, stream, state, shard, &start)?;
    Ok((Arc::clone(shard), offset))
}

/// # Errors
/// `ResourceInUseException` unless the consumer is ACTIVE and its last subscription to the shard is
/// old enough.
fn check_can_subscribe(
    call: &Call<'_>,
    stream: &Stream,
    shard: &Shard,
    consumer: &Consumer,
) -> Answer<()> {
    let name = &consumer.arn.name;
    let status = consumer.status(call.now_ms);
    if status != ConsumerStatus::Active {
        return Err(consumer_not_active(stream, name, &status));
    }

    let wait = call.inner.settings.resubscribe_after;
    let last = consumer.subscriptions.get(&shard.index);
    if last.is_some_and(|last| call.now.saturating_sub(last.at) < wait) {
        return Err(already_subscribed(stream, shard, name));
    }
    Ok(())
}

fn consumer_not_active(stream: &Stream, consumer: &str, status: &ConsumerStatus) -> ApiError {
    let (stream, account) = (&stream.name, &stream.namespace.account);
    in_use(format!(
        "Consumer {consumer} under stream {stream} for account {account} not ACTIVE, instead in \
         state {status}"
    ))
}

fn already_subscribed(stream: &Stream, shard: &Shard, consumer: &str) -> ApiError {
    let (name, account, shard) = (&stream.name, &stream.namespace.account, &shard.id);
    in_use(format!(
        "Another active subscription exists for this consumer: {account}:{name}:{shard}:{consumer}"
    ))
}
