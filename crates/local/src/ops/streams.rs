//! `CreateStream`, `DeleteStream`, `ListStreams` and the operations that describe streams.

use distributary_wire::error::ApiError;
use distributary_wire::limits;
use distributary_wire::types::*;

use super::shards::index_after;
use super::{Call, Page, page_size};
use crate::check::{Checks, Pattern};
use crate::errors::{
    Answer, in_use, invalid_argument, invalid_next_token, limit_exceeded, stream_not_found,
    validation,
};
use crate::local::NameTaken;
use crate::ops::tags::check_tags;
use crate::settings::millis;
use crate::stream::{Phase, State, Stream};
use crate::token::{self, Kind};

/// Shards of a new on-demand stream.
const ON_DEMAND_SHARDS: u32 = 4;
/// The largest `Limit` of `DescribeStream` (shards) and of `ListStreams` (names).
const PAGE_MAX: usize = 10_000;

fn check_create(request: &CreateStreamRequest, mode: &StreamMode) -> Answer<()> {
    let strategy = request.record_distribution_strategy.as_ref();
    let mut checks = Checks::of_stream(request);
    checks.required("streamName", request.stream_name.as_ref());
    checks.number("shardCount", request.shard_count, 1..=i32::MAX);
    checks.one_of(
        "streamModeDetails.streamMode",
        Some(mode),
        StreamMode::KNOWN,
    );
    checks.number(
        "maxRecordSizeInKiB",
        request.max_record_size_in_kib,
        limits::MAX_RECORD_SIZE_KIB,
    );
    let throughput = request.warm_throughput_mibps;
    checks.number("warmThroughputMiBps", throughput, 0..=i32::MAX);
    checks.one_of(
        "recordDistributionStrategy",
        strategy,
        RecordDistributionStrategy::KNOWN,
    );
    checks.finish()
}

/// The number of shards of a new stream.
fn initial_shards(request: &CreateStreamRequest, mode: &StreamMode) -> Answer<u32> {
    match (mode, request.shard_count) {
        (StreamMode::OnDemand, None) => Ok(ON_DEMAND_SHARDS),
        (StreamMode::OnDemand, Some(_)) => Err(validation(
            "ShardCount must not be specified for a stream in on-demand mode.",
        )),
        (_, count) => Ok(count.map_or(1, i32::unsigned_abs)),
    }
}

pub(crate) fn create(
    call: &Call<'_>,
    request: &CreateStreamRequest,
) -> Answer<CreateStreamResponse> {
    let details = request.stream_mode_details.as_ref();
    let mode = details
        .and_then(|d| d.stream_mode.clone())
        .unwrap_or(StreamMode::Provisioned);
    check_create(request, &mode)?;
    let tags = request.tags.clone().unwrap_or_default();
    check_tags(&tags)?;
    let distribution = request
        .record_distribution_strategy
        .clone()
        .unwrap_or(RecordDistributionStrategy::UserPartitionKey);
    check_distribution(&mode, &distribution)?;
    let shards = initial_shards(request, &mode)?;

    call.check_rate(&call.namespace, "")?;
    let name = request.stream_name.as_deref().unwrap_or_default();
    check_room(call, name, &mode, shards)?;

    let mut state = State::new(shards, creating(call), mode, call.now_ms);
    state.tags = tags;
    state.warm_mibps = request.warm_throughput_mibps;
    state.distribution = distribution;
    if let Some(kib) = request.max_record_size_in_kib {
        state.max_record_kib = kib;
    }

    match call
        .inner
        .add_stream(&call.namespace, name, call.now_ms, state)
    {
        Ok(_) => Ok(CreateStreamResponse::default()),
        Err(NameTaken) => Err(name_taken(name, &call.namespace.account)),
    }
}

/// The first phase of a stream.
fn creating(call: &Call<'_>) -> Phase {
    let delay_ms = millis(call.inner.settings.delays.create);
    Phase::Creating {
        until_ms: call.now_ms.saturating_add(delay_ms),
    }
}

/// # Errors
/// `InvalidArgumentException` for `AUTO` on a provisioned stream.
pub(crate) fn check_distribution(
    mode: &StreamMode,
    distribution: &RecordDistributionStrategy,
) -> Answer<()> {
    if *mode != StreamMode::OnDemand && *distribution == RecordDistributionStrategy::Auto {
        return Err(invalid_argument(
            "RecordDistributionStrategy AUTO is only supported for streams with the on-demand \
             capacity mode.",
        ));
    }
    Ok(())
}

fn name_taken(name: &str, account: &str) -> ApiError {
    in_use(format!(
        "Stream {name} under account {account} already exists."
    ))
}

/// # Errors
/// `ResourceInUseException` for a name in use; `LimitExceededException` at a limit of the account.
fn check_room(call: &Call<'_>, name: &str, mode: &StreamMode, shards: u32) -> Answer<()> {
    let (namespace, now_ms) = (&call.namespace, call.now_ms);
    if call.inner.stream(namespace, name, now_ms).is_ok() {
        return Err(name_taken(name, &namespace.account));
    }

    let usage = Usage::of(call);
    if *mode == StreamMode::OnDemand {
        usage.check_on_demand(call)?;
    } else {
        usage.check_shards(call, shards)?;
    }

    usage.check_creating(call)
}

/// Streams and shards of an account in a region, as far as they count against limits.
pub(crate) struct Usage {
    pub(crate) provisioned_shards: u32,
    /// On-demand streams.
    pub(crate) on_demand: u32,
    /// Streams in the state CREATING.
    pub(crate) creating: usize,
}

impl Usage {
    pub(crate) fn of(call: &Call<'_>) -> Self {
        let mut usage = Self {
            provisioned_shards: 0,
            on_demand: 0,
            creating: 0,
        };

        for stream in call.inner.streams_of(&call.namespace, call.now_ms) {
            let state = stream.read(call.now_ms);
            if state.mode == StreamMode::OnDemand {
                usage.on_demand += 1;
            } else {
                usage.provisioned_shards += state.open.len() as u32;
            }
            usage.creating += usize::from(state.is_creating());
        }
        usage
    }

    /// # Errors
    /// `LimitExceededException` if one more on-demand stream is over the limit.
    fn check_on_demand(&self, call: &Call<'_>) -> Answer<()> {
        let limit = call.inner.settings.on_demand_stream_limit;
        if self.on_demand < limit {
            return Ok(());
        }

        let (account, region) = (&call.namespace.account, &call.namespace.region);
        Err(limit_exceeded(format!(
            "This request would exceed the on-demand stream limit for the account {account} in \
             {region}. Limit: {limit}."
        )))
    }

    /// # Errors
    /// `LimitExceededException` if limits are enforced and too many streams are CREATING.
    fn check_creating(&self, call: &Call<'_>) -> Answer<()> {
        let limit = limits::STREAMS_CREATING;
        if !call.inner.settings.enforce_limits || self.creating < limit {
            return Ok(());
        }

        let account = &call.namespace.account;
        Err(limit_exceeded(format!(
            "Only {limit} streams may be in CREATING state at the same time for the account \
             {account}."
        )))
    }

    /// # Errors
    /// `LimitExceededException` if `more` provisioned shards are over the limit.
    pub(crate) fn check_shards(&self, call: &Call<'_>, more: u32) -> Answer<()> {
        let limit = call.inner.settings.shard_limit;
        let used = self.provisioned_shards;
        if used.saturating_add(more) <= limit {
            return Ok(());
        }

        let (account, region) = (&call.namespace.account, &call.namespace.region);
        Err(limit_exceeded(format!(
            "This request would exceed the shard limit for the account {account} in {region}. \
             Current shard count for the account: {used}. Limit: {limit}. Number of additional \
             shards that would have resulted from this request: {more}. Refer to the AWS Service \
             Limits page (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) \
             for current limits and how to request higher limits."
        )))
    }
}

/// # Errors
/// `ResourceNotFoundException` if a request asks for a stream that was created at another second.
pub(crate) fn check_creation_time(stream: &Stream, requested: Option<Timestamp>) -> Answer<()> {
    let created_s = (stream.created_ms / 1000).cast_signed();
    match requested {
        Some(requested) if requested.0 / 1000 != created_s => {
            Err(stream_not_found(&stream.name, &stream.namespace.account))
        }
        Some(_) | None => Ok(()),
    }
}

pub(crate) fn delete(
    call: &Call<'_>,
    request: &DeleteStreamRequest,
) -> Answer<DeleteStreamResponse> {
    Checks::of_stream(request).finish()?;
    let stream = call.stream_of(request)?;
    let delay_ms = millis(call.inner.settings.delays.delete);
    let until_ms = call.now_ms.saturating_add(delay_ms);

    stream.write(call.now_ms, |state| {
        let deletes_consumers = request.enforce_consumer_deletion.unwrap_or_default();
        if !deletes_consumers && !state.consumers.is_empty() {
            return Err(in_use(format!(
                "Stream {stream} has consumers registered to it."
            )));
        }

        state.start_deleting(until_ms);
        Ok(DeleteStreamResponse::default())
    })
}

fn enhanced_monitoring(state: &State) -> Vec<EnhancedMetrics> {
    vec![EnhancedMetrics {
        shard_level_metrics: Some(state.metrics.iter().cloned().collect()),
    }]
}

fn encryption_type(state: &State) -> Option<EncryptionType> {
    Some(match state.key_id {
        Some(_) => EncryptionType::Kms,
        None => EncryptionType::None,
    })
}

fn mode_details(state: &State) -> Option<StreamModeDetails> {
    Some(StreamModeDetails {
        stream_mode: Some(state.mode.clone()),
    })
}

pub(crate) fn describe(
    call: &Call<'_>,
    request: &DescribeStreamRequest,
) -> Answer<DescribeStreamResponse> {
    let after = request.exclusive_start_shard_id.as_deref();
    let mut checks = Checks::of_stream(request);
    checks.number("limit", request.limit, 1..=PAGE_MAX as i32);
    checks.shard_id("exclusiveStartShardId", after);
    checks.finish()?;

    let stream = call.stream_of(request)?;
    let state = stream.read(call.now_ms);
    let from = match after {
        Some(id) => index_after(id, &stream)?,
        None => 0,
    };
    let size = page_size(request.limit, limits::DESCRIBE_STREAM_SHARDS, PAGE_MAX);
    let is_creating = state.is_creating();
    let shards = state
        .shards
        .range(from..)
        .map(|(_, shard)| shard.describe())
        .filter(|_| !is_creating);
    let page = Page::take(shards, size);

    Ok(DescribeStreamResponse {
        stream_description: description(&stream, &state, page),
    })
}

fn description(stream: &Stream, state: &State, shards: Page<Shard>) -> StreamDescription {
    StreamDescription {
        stream_name: stream.name.clone(),
        stream_arn: stream.arn.to_string(),
        stream_status: state.status(),
        stream_mode_details: mode_details(state),
        shards: shards.items,
        has_more_shards: shards.has_more,
        retention_period_hours: state.retention_hours,
        stream_creation_timestamp: created_at(stream),
        enhanced_monitoring: enhanced_monitoring(state),
        encryption_type: encryption_type(state),
        key_id: state.key_id.clone(),
    }
}

fn created_at(stream: &Stream) -> Timestamp {
    Timestamp(stream.created_ms.cast_signed())
}

pub(crate) fn describe_summary(
    call: &Call<'_>,
    request: &DescribeStreamSummaryRequest,
) -> Answer<DescribeStreamSummaryResponse> {
    Checks::of_stream(request).finish()?;
    let stream = call.stream_of(request)?;
    let state = stream.read(call.now_ms);

    Ok(DescribeStreamSummaryResponse {
        stream_description_summary: description_summary(&stream, &state),
    })
}

fn description_summary(stream: &Stream, state: &State) -> StreamDescriptionSummary {
    let is_on_demand = state.mode == StreamMode::OnDemand;
    let open_shards = if state.is_creating() {
        0
    } else {
        state.open.len()
    };

    StreamDescriptionSummary {
        stream_name: stream.name.clone(),
        stream_arn: stream.arn.to_string(),
        // AWS's API has the member, but AWS does not set the value yet.
        stream_id: None,
        stream_status: state.status(),
        stream_mode_details: mode_details(state),
        retention_period_hours: state.retention_hours,
        stream_creation_timestamp: created_at(stream),
        enhanced_monitoring: enhanced_monitoring(state),
        encryption_type: encryption_type(state),
        key_id: state.key_id.clone(),
        open_shard_count: open_shards as i32,
        consumer_count: Some(state.consumers.len() as i32),
        warm_throughput: state.warm_mibps.map(warm_throughput),
        max_record_size_in_kib: Some(state.max_record_kib),
        channel_count: None,
        record_distribution_strategy: is_on_demand.then(|| state.distribution.clone()),
    }
}

fn warm_throughput(mibps: i32) -> WarmThroughputObject {
    WarmThroughputObject {
        target_mibps: Some(mibps),
        current_mibps: Some(mibps),
    }
}

/// The name after which a page of `ListStreams` starts.
fn list_start(call: &Call<'_>, request: &ListStreamsRequest) -> Answer<Option<String>> {
    match (&request.next_token, &request.exclusive_start_stream_name) {
        (Some(_), Some(_)) => Err(invalid_argument(
            "NextToken and ExclusiveStartStreamName cannot be provided together.",
        )),
        (Some(text), None) => {
            let age_ms = millis(call.inner.settings.page_token_age);
            let payload = token::open_page(Kind::Streams, text, call.now_ms, age_ms)?;
            let name = String::from_utf8(payload).map_err(|_| invalid_next_token())?;
            Ok(Some(name))
        }
        (None, after) => Ok(after.clone()),
    }
}

fn check_list(request: &ListStreamsRequest) -> Answer<()> {
    let after = request.exclusive_start_stream_name.as_deref();
    let mut checks = Checks::default();
    checks.number("limit", request.limit, 1..=PAGE_MAX as i32);
    checks.text("exclusiveStartStreamName", after, 1..=128, Pattern::Name);
    checks.finish()
}

pub(crate) fn list(call: &Call<'_>, request: &ListStreamsRequest) -> Answer<ListStreamsResponse> {
    check_list(request)?;
    call.check_rate(&call.namespace, "")?;
    let after = list_start(call, request)?;
    let size = page_size(request.limit, limits::LIST_STREAMS, PAGE_MAX);
    let streams = call.inner.streams_of(&call.namespace, call.now_ms);
    let rest = streams
        .iter()
        .filter(|s| after.as_ref().is_none_or(|after| s.name > *after));
    let page = Page::take(rest, size);

    let next_token = page.last_before_more().map(|last| {
        let payload = last.name.as_bytes();
        token::seal(Kind::Streams, call.now_ms, 0, payload)
    });
    let names = page.items.iter().map(|s| s.name.clone());
    let summaries = page.items.iter().map(|s| summary(s, call.now_ms));
    Ok(ListStreamsResponse {
        stream_names: names.collect(),
        has_more_streams: page.has_more,
        next_token,
        stream_summaries: Some(summaries.collect()),
    })
}

fn summary(stream: &Stream, now_ms: u64) -> StreamSummary {
    let state = stream.read(now_ms);
    StreamSummary {
        stream_name: stream.name.clone(),
        stream_arn: stream.arn.to_string(),
        stream_status: state.status(),
        stream_mode_details: mode_details(&state),
        stream_creation_timestamp: Some(created_at(stream)),
    }
}
