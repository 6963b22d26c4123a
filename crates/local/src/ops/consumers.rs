//! Consumers with enhanced fan-out, and their subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_wire::arn::ConsumerArn;
use distributary_wire::limits;
use distributary_wire::types::*;

use super::{Call, page_size};
use crate::check::{Checks, Pattern};
use crate::consumer::{Consumer, Subscribed};
use crate::errors::{
    Answer, consumer_not_found, dry_run, in_use, invalid_argument, invalid_next_token,
    limit_exceeded, shard_does_not_exist,
};
use crate::faults::{Effects, SubscriptionFault, Watched};
use crate::ops::records::{Start, start_offset};
use crate::ops::tags::check_tags;
use crate::push::{Control, Subscription};
use crate::settings::millis;
use crate::stream::Stream;
use crate::token::{self, Kind};

/// Consumers on a page, by default and at most.
const PAGE: usize = 100;
const PAGE_MAX: usize = 10_000;

pub(crate) fn register(
    call: &Call<'_>,
    request: &RegisterStreamConsumerRequest,
) -> Answer<RegisterStreamConsumerResponse> {
    let (name, arn) = (request.consumer_name.as_ref(), request.stream_arn.as_ref());
    let mut checks = Checks::default();
    checks.required("streamARN", arn);
    checks.stream_arn(arn.map(String::as_str));
    checks.required("consumerName", name);
    checks.text(
        "consumerName",
        name.map(String::as_str),
        1,
        128,
        Pattern::Name,
    );
    checks.done()?;
    let tags = request.tags.clone().unwrap_or_default();
    check_tags(&tags)?;
    let stream = call.stream(None, arn.map(String::as_str))?;
    let name = name.cloned().unwrap_or_default();
    let advantage = call
        .inner
        .account(&stream.namespace, |account| account.is_committed());
    let limit = call
        .inner
        .settings
        .consumers_per_stream
        .unwrap_or(if advantage {
            limits::CONSUMERS_PER_STREAM_ADVANTAGE
        } else {
            limits::CONSUMERS_PER_STREAM
        });
    stream.write(call.now_ms, |state| {
        let account = &stream.namespace.account;
        if !state.serves() {
            return Err(in_use(format!(
                "Stream {} under account {account} not ACTIVE, instead in state {}",
                stream.name,
                state.status()
            )));
        }
        if state.consumers.contains_key(&name) {
            return Err(in_use(format!(
                "Consumer {name} under stream {} already exists for account {account}.",
                stream.name
            )));
        }
        if state.consumers.len() >= limit {
            return Err(limit_exceeded(format!(
                "Stream {} under account {account} cannot have more than {limit} consumers.",
                stream.name
            )));
        }
        let creating = state.consumers.values().filter(|c| c.status(call.now_ms) == ConsumerStatus::Creating);
        if creating.count() >= limits::CONSUMERS_CREATING {
            return Err(limit_exceeded(format!(
                "Stream {} under account {account} cannot have more than {} consumers in CREATING state.",
                stream.name,
                limits::CONSUMERS_CREATING
            )));
        }
        let created_s = (call.now_ms / 1000).cast_signed();
        let consumer = Consumer {
            arn: ConsumerArn { stream: stream.arn.clone(), name: name.clone(), created_s },
            created_ms: call.now_ms,
            active_ms: call.now_ms.saturating_add(millis(call.inner.settings.delays.consumer)),
            gone_ms: None,
            tags,
            policy: None,
            subscriptions: BTreeMap::new(),
        };
        // AWS always answers CREATING here.
        let mut shown = consumer.describe(call.now_ms);
        shown.consumer_status = ConsumerStatus::Creating;
        state.consumers.insert(name.clone(), consumer);
        Ok(RegisterStreamConsumerResponse { consumer: shown })
    })
}

/// The stream and name of the consumer that is given by its ARN, or by its name and the stream's ARN.
fn find(
    call: &Call<'_>,
    stream_arn: Option<&str>,
    name: Option<&str>,
    arn: Option<&str>,
) -> Answer<(Arc<Stream>, String, Option<ConsumerArn>)> {
    let mut checks = Checks::default();
    checks.stream_arn(stream_arn);
    checks.text("consumerName", name, 1, 128, Pattern::Name);
    checks.text("consumerARN", arn, 1, 2048, Pattern::ConsumerArn);
    checks.done()?;
    if let Some(text) = arn {
        let arn: ConsumerArn = text
            .parse()
            .map_err(|_| invalid_argument(format!("ConsumerARN {text} is not valid.")))?;
        let agrees = name.is_none_or(|name| name == arn.name)
            && stream_arn.is_none_or(|stream| stream == arn.stream.to_string());
        if !agrees {
            return Err(invalid_argument(
                "ConsumerARN, ConsumerName and StreamARN do not name the same consumer.",
            ));
        }
        return Ok((call.stream_of_consumer(&arn)?, arn.name.clone(), Some(arn)));
    }
    let (Some(stream_arn), Some(name)) = (stream_arn, name) else {
        return Err(invalid_argument(
            "Either ConsumerARN or both ConsumerName and StreamARN must be specified.",
        ));
    };
    Ok((call.stream(None, Some(stream_arn))?, name.to_owned(), None))
}

/// True if the consumer is the one meant, not a later one of the same name.
fn is_meant(consumer: &Consumer, arn: Option<&ConsumerArn>) -> bool {
    arn.is_none_or(|arn| *arn == consumer.arn)
}

pub(crate) fn describe(
    call: &Call<'_>,
    request: &DescribeStreamConsumerRequest,
) -> Answer<DescribeStreamConsumerResponse> {
    let (stream, name, arn) = find(
        call,
        request.stream_arn.as_deref(),
        request.consumer_name.as_deref(),
        request.consumer_arn.as_deref(),
    )?;
    let state = stream.read(call.now_ms);
    let found = state
        .consumers
        .get(&name)
        .filter(|c| is_meant(c, arn.as_ref()));
    let found = found.ok_or_else(|| consumer_not_found(&name, &stream.namespace.account))?;
    let shown = found.describe(call.now_ms);
    Ok(DescribeStreamConsumerResponse {
        consumer_description: ConsumerDescription {
            consumer_name: shown.consumer_name,
            consumer_arn: shown.consumer_arn,
            consumer_status: shown.consumer_status,
            consumer_creation_timestamp: shown.consumer_creation_timestamp,
            stream_arn: stream.arn.to_string(),
        },
    })
}

pub(crate) fn deregister(
    call: &Call<'_>,
    request: &DeregisterStreamConsumerRequest,
) -> Answer<DeregisterStreamConsumerResponse> {
    let (stream, name, arn) = find(
        call,
        request.stream_arn.as_deref(),
        request.consumer_name.as_deref(),
        request.consumer_arn.as_deref(),
    )?;
    stream.write(call.now_ms, |state| {
        let found = state
            .consumers
            .get_mut(&name)
            .filter(|c| is_meant(c, arn.as_ref()));
        let found = found.ok_or_else(|| consumer_not_found(&name, &stream.namespace.account))?;
        let delay_ms = millis(call.inner.settings.delays.consumer);
        found
            .gone_ms
            .get_or_insert(call.now_ms.saturating_add(delay_ms));
        let gone = consumer_not_found(&name, &stream.namespace.account);
        for subscribed in found.subscriptions.values() {
            subscribed
                .control
                .fault(SubscriptionFault::End(Some(gone.clone())));
        }
        Ok(DeregisterStreamConsumerResponse::default())
    })
}

pub(crate) fn list(
    call: &Call<'_>,
    request: &ListStreamConsumersRequest,
) -> Answer<ListStreamConsumersResponse> {
    let arn = request.stream_arn.as_deref();
    let mut checks = Checks::default();
    checks.required("streamARN", arn.as_ref());
    checks.stream_arn(arn);
    checks.text(
        "nextToken",
        request.next_token.as_deref(),
        1,
        1_048_576,
        Pattern::Any,
    );
    checks.number("maxResults", request.max_results, 1, PAGE_MAX as i32);
    checks.done()?;
    let stream = call.stream(None, arn)?;
    if let Some(created) = request.stream_creation_timestamp
        && created.0 / 1000 != (stream.created_ms / 1000).cast_signed()
    {
        return Err(crate::errors::stream_not_found(
            &stream.name,
            &stream.namespace.account,
        ));
    }
    let after = match &request.next_token {
        None => None,
        Some(text) => {
            let age_ms = millis(call.inner.settings.page_token_age);
            let payload = token::open_page(Kind::Consumers, text, call.now_ms, age_ms)?;
            let (uid, rest) = token::read_page_payload(&payload)?;
            let name = std::str::from_utf8(rest).ok().filter(|_| uid == stream.uid);
            Some(name.ok_or_else(invalid_next_token)?.to_owned())
        }
    };
    let state = stream.read(call.now_ms);
    let size = page_size(request.max_results, PAGE, PAGE_MAX);
    let mut rest = state
        .consumers
        .values()
        .filter(|c| after.as_ref().is_none_or(|a| c.arn.name > *a));
    let page: Vec<_> = rest.by_ref().take(size).collect();
    let last = page.last().filter(|_| rest.next().is_some());
    let next_token = last.map(|last| {
        let payload = token::page_payload(stream.uid, last.arn.name.as_bytes());
        token::seal(Kind::Consumers, call.now_ms, 0, &payload)
    });
    Ok(ListStreamConsumersResponse {
        consumers: Some(page.iter().map(|c| c.describe(call.now_ms)).collect()),
        next_token,
    })
}

fn check_subscribe(request: &SubscribeToShardRequest) -> Answer<()> {
    let mut checks = Checks::default();
    checks.required("consumerARN", request.consumer_arn.as_ref());
    checks.text(
        "consumerARN",
        request.consumer_arn.as_deref(),
        1,
        2048,
        Pattern::ConsumerArn,
    );
    checks.required("shardId", request.shard_id.as_ref());
    checks.shard_id("shardId", request.shard_id.as_deref());
    checks.required("startingPosition", request.starting_position.as_ref());
    if let Some(position) = &request.starting_position {
        checks.required("startingPosition.type", position.kind.as_ref());
        let kind = position.kind.as_ref().map(|k| k.as_str());
        checks.known("startingPosition.type", kind, ShardIteratorType::KNOWN);
        let number = position.sequence_number.as_deref();
        checks.text(
            "startingPosition.sequenceNumber",
            number,
            0,
            129,
            Pattern::SequenceNumber,
        );
    }
    checks.done()
}

/// Subscribes, and takes over an earlier subscription of the consumer to the shard.
pub(crate) fn subscribe(
    call: &Call<'_>,
    request: &SubscribeToShardRequest,
    effects: &Effects,
) -> Answer<Subscription> {
    check_subscribe(request)?;
    let text = request.consumer_arn.as_deref().unwrap_or_default();
    let arn: ConsumerArn = text
        .parse()
        .map_err(|_| invalid_argument(format!("ConsumerARN {text} is not valid.")))?;
    let stream = call.stream_of_consumer(&arn)?;
    let shard_id = request.shard_id.clone().unwrap_or_default();
    let position = request.starting_position.clone().unwrap_or_default();
    let control = Arc::new(Control::default());
    let (shard, offset) = stream.write(call.now_ms, |state| {
        let account = &stream.namespace.account;
        let shard =
            state.shard(&shard_id).cloned().ok_or_else(|| shard_does_not_exist(&shard_id, &stream))?;
        let start = Start {
            kind: position.kind.unwrap_or_default(),
            sequence: position.sequence_number.as_deref(),
            timestamp: position.timestamp,
        };
        let offset = start_offset(call, &stream, state, &shard, &start)?;
        let consumer = state.consumers.get_mut(&arn.name).filter(|c| c.arn == arn);
        let consumer = consumer.ok_or_else(|| consumer_not_found(&arn.name, account))?;
        let status = consumer.status(call.now_ms);
        if status != ConsumerStatus::Active {
            return Err(in_use(format!(
                "Consumer {} under stream {} for account {account} not ACTIVE, instead in state {status}",
                arn.name, stream.name
            )));
        }
        let who = format!("{account}:{}:{shard_id}:{}", stream.name, arn.name);
        let wait = call.inner.settings.resubscribe_after;
        let before = consumer.subscriptions.get(&shard.index);
        if before.is_some_and(|before| call.now.saturating_sub(before.at) < wait) {
            return Err(in_use(format!("Another active subscription exists for this consumer: {who}")));
        }
        if request.dry_run.unwrap_or_default() {
            return Err(dry_run());
        }
        let mine = Subscribed { at: call.now, control: Arc::clone(&control) };
        if let Some(before) = consumer.subscriptions.insert(shard.index, mine) {
            let error = in_use(format!("Another active subscription exists for this consumer: {who}"));
            before.control.fault(SubscriptionFault::End(Some(error)));
        }
        Ok((shard, offset))
    })?;
    let watched = Watched {
        stream: stream.name.clone(),
        region: stream.namespace.region.clone(),
        shard: shard_id,
        consumer: arn.name,
    };
    let planned = effects.subscription.clone();
    let subscription = Subscription::new(
        call.inner,
        stream,
        shard,
        Arc::clone(&control),
        call.format,
        offset,
        planned,
    );
    call.inner
        .faults
        .watch(subscription.waiter, watched, control);
    Ok(subscription)
}
