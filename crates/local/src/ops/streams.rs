//! Creating, deleting, describing and listing streams.

use distributary_wire::error::ApiError;
use distributary_wire::limits;
use distributary_wire::types::*;

use super::{Call, page_size};
use crate::check::Checks;
use crate::errors::{
    Answer, in_use, invalid_argument, invalid_next_token, limit_exceeded, shard_not_found,
    validation,
};
use crate::ops::tags::check_tags;
use crate::settings::millis;
use crate::stream::{Phase, State, Stream, shard_index};
use crate::token::{self, Kind};

/// Shards of a new on-demand stream.
const ON_DEMAND_SHARDS: u32 = 4;
/// Shards that `DescribeStream` shows at most, and names that `ListStreams` gives at most.
const PAGE_MAX: usize = 10_000;

pub(crate) fn create(
    call: &Call<'_>,
    request: &CreateStreamRequest,
) -> Answer<CreateStreamResponse> {
    let details = request.stream_mode_details.as_ref();
    let mode = details
        .and_then(|d| d.stream_mode.clone())
        .unwrap_or(StreamMode::Provisioned);
    let mut checks = Checks::default();
    checks.required("streamName", request.stream_name.as_ref());
    checks.stream_name(request.stream_name.as_deref());
    checks.number("shardCount", request.shard_count, 1, i32::MAX);
    checks.known(
        "streamModeDetails.streamMode",
        Some(mode.as_str()),
        StreamMode::KNOWN,
    );
    let (kib_min, kib_max) = limits::MAX_RECORD_SIZE_KIB.into_inner();
    checks.number(
        "maxRecordSizeInKiB",
        request.max_record_size_in_kib,
        kib_min,
        kib_max,
    );
    checks.number(
        "warmThroughputMiBps",
        request.warm_throughput_mibps,
        0,
        i32::MAX,
    );
    let distribution = request.record_distribution_strategy.clone();
    let known = RecordDistributionStrategy::KNOWN;
    checks.known(
        "recordDistributionStrategy",
        distribution.as_ref().map(|d| d.as_str()),
        known,
    );
    checks.done()?;
    let name = request.stream_name.as_deref().unwrap_or_default();
    let tags = request.tags.clone().unwrap_or_default();
    check_tags(&tags)?;
    let on_demand = mode == StreamMode::OnDemand;
    if !on_demand && distribution == Some(RecordDistributionStrategy::Auto) {
        return Err(invalid_argument(
            "RecordDistributionStrategy AUTO is only supported for streams with the on-demand capacity mode.",
        ));
    }
    let shards = match (on_demand, request.shard_count) {
        (true, None) => ON_DEMAND_SHARDS,
        (true, Some(_)) => {
            return Err(validation(
                "ShardCount must not be specified for a stream in on-demand mode.",
            ));
        }
        (false, count) => count.map_or(1, i32::unsigned_abs),
    };
    call.admit(&call.namespace, "")?;
    check_room(call, name, on_demand, shards)?;
    let until_ms = call
        .now_ms
        .saturating_add(millis(call.inner.settings.delays.create));
    let mut state = State::new(shards, Phase::Creating { until_ms }, mode, call.now_ms);
    state.tags = tags;
    state.warm_mibps = request.warm_throughput_mibps;
    state.max_record_kib = request.max_record_size_in_kib.unwrap_or(kib_min);
    state.distribution = distribution.unwrap_or(RecordDistributionStrategy::UserPartitionKey);
    let made = call
        .inner
        .add_stream(&call.namespace, name, call.now_ms, state);
    made.map(|_| CreateStreamResponse::default())
        .map_err(|_| exists(name, &call.namespace.account))
}

fn exists(name: &str, account: &str) -> ApiError {
    in_use(format!(
        "Stream {name} under account {account} already exists."
    ))
}

/// # Errors
/// `ResourceInUseException` if the name is taken, `LimitExceededException` if there is no room for the stream.
fn check_room(call: &Call<'_>, name: &str, on_demand: bool, shards: u32) -> Answer<()> {
    let streams = call.inner.streams_of(&call.namespace, call.now_ms);
    let account = &call.namespace.account;
    if streams.iter().any(|s| s.name == name) {
        return Err(exists(name, account));
    }
    let usage = Usage::of(call);
    let settings = &call.inner.settings;
    if on_demand && usage.on_demand >= settings.on_demand_stream_limit {
        return Err(limit_exceeded(format!(
            "This request would exceed the on-demand stream limit for the account {account} in {}. Limit: {}.",
            call.namespace.region, settings.on_demand_stream_limit
        )));
    }
    if !on_demand {
        usage.check_shards(call, shards)?;
    }
    if settings.enforce_limits && usage.creating >= limits::STREAMS_CREATING {
        return Err(limit_exceeded(format!(
            "Only {} streams may be in CREATING state at the same time for the account {account}.",
            limits::STREAMS_CREATING
        )));
    }
    Ok(())
}

/// What an account uses in a region.
pub(crate) struct Usage {
    pub(crate) provisioned_shards: u32,
    pub(crate) on_demand: u32,
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
            usage.creating += usize::from(matches!(state.phase, Phase::Creating { .. }));
        }
        usage
    }

    /// # Errors
    /// `LimitExceededException` if there is no room for so many more shards.
    pub(crate) fn check_shards(&self, call: &Call<'_>, more: u32) -> Answer<()> {
        let limit = call.inner.settings.shard_limit;
        let total = self.provisioned_shards.saturating_add(more);
        if total <= limit {
            return Ok(());
        }
        let (account, used) = (&call.namespace.account, self.provisioned_shards);
        Err(limit_exceeded(format!(
            "This request would exceed the shard limit for the account {account} in {}. Current shard count for the \
             account: {used}. Limit: {limit}. Number of additional shards that would have resulted from this request: \
             {more}. Refer to the AWS Service Limits page \
             (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) for current limits and how to \
             request higher limits.",
            call.namespace.region
        )))
    }
}

pub(crate) fn delete(
    call: &Call<'_>,
    request: &DeleteStreamRequest,
) -> Answer<DeleteStreamResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks.done()?;
    let stream = call.stream(name, arn)?;
    let until_ms = call
        .now_ms
        .saturating_add(millis(call.inner.settings.delays.delete));
    stream.write(call.now_ms, |state| {
        if !request.enforce_consumer_deletion.unwrap_or_default() && !state.consumers.is_empty() {
            let (name, account) = (&stream.name, &stream.namespace.account);
            return Err(in_use(format!(
                "Stream {name} under account {account} has consumers registered to it."
            )));
        }
        if !matches!(state.phase, Phase::Deleting { .. } | Phase::Gone) {
            state.phase = Phase::Deleting { until_ms };
            state.wake_subscribers();
        }
        Ok(DeleteStreamResponse::default())
    })
}

fn enhanced_monitoring(state: &State) -> Vec<EnhancedMetrics> {
    vec![EnhancedMetrics {
        shard_level_metrics: Some(state.metrics.iter().cloned().collect()),
    }]
}

fn encryption(state: &State) -> (Option<EncryptionType>, Option<String>) {
    let kind = if state.key_id.is_some() {
        EncryptionType::Kms
    } else {
        EncryptionType::None
    };
    (Some(kind), state.key_id.clone())
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
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let after = request.exclusive_start_shard_id.as_deref();
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks.number("limit", request.limit, 1, PAGE_MAX as i32);
    checks.shard_id("exclusiveStartShardId", after);
    checks.done()?;
    let stream = call.stream(name, arn)?;
    let state = stream.read(call.now_ms);
    let from = match after {
        None => 0,
        Some(id) => shard_index(id)
            .ok_or_else(|| shard_not_found(id, &stream))?
            .saturating_add(1),
    };
    let creating = matches!(state.phase, Phase::Creating { .. });
    let size = page_size(request.limit, limits::DESCRIBE_STREAM_SHARDS, PAGE_MAX);
    let mut shards = state
        .shards
        .range(from..)
        .map(|(_, s)| s)
        .filter(|_| !creating);
    let page: Vec<Shard> = shards.by_ref().take(size).map(|s| s.describe()).collect();
    let (encryption_type, key_id) = encryption(&state);
    Ok(DescribeStreamResponse {
        stream_description: StreamDescription {
            stream_name: stream.name.clone(),
            stream_arn: stream.arn.to_string(),
            stream_status: state.status(),
            stream_mode_details: mode_details(&state),
            shards: page,
            has_more_shards: shards.next().is_some(),
            retention_period_hours: state.retention_hours,
            stream_creation_timestamp: Timestamp(stream.created_ms.cast_signed()),
            enhanced_monitoring: enhanced_monitoring(&state),
            encryption_type,
            key_id,
        },
    })
}

pub(crate) fn describe_summary(
    call: &Call<'_>,
    request: &DescribeStreamSummaryRequest,
) -> Answer<DescribeStreamSummaryResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks.done()?;
    let stream = call.stream(name, arn)?;
    let state = stream.read(call.now_ms);
    let creating = matches!(state.phase, Phase::Creating { .. });
    let (encryption_type, key_id) = encryption(&state);
    let on_demand = state.mode == StreamMode::OnDemand;
    Ok(DescribeStreamSummaryResponse {
        stream_description_summary: StreamDescriptionSummary {
            stream_name: stream.name.clone(),
            stream_arn: stream.arn.to_string(),
            // Not yet given out by AWS.
            stream_id: None,
            stream_status: state.status(),
            stream_mode_details: mode_details(&state),
            retention_period_hours: state.retention_hours,
            stream_creation_timestamp: Timestamp(stream.created_ms.cast_signed()),
            enhanced_monitoring: enhanced_monitoring(&state),
            encryption_type,
            key_id,
            open_shard_count: if creating { 0 } else { state.open.len() as i32 },
            consumer_count: Some(state.consumers.len() as i32),
            warm_throughput: state.warm_mibps.map(|mibps| WarmThroughputObject {
                target_mibps: Some(mibps),
                current_mibps: Some(mibps),
            }),
            max_record_size_in_kib: Some(state.max_record_kib),
            channel_count: None,
            record_distribution_strategy: on_demand.then(|| state.distribution.clone()),
        },
    })
}

pub(crate) fn list(call: &Call<'_>, request: &ListStreamsRequest) -> Answer<ListStreamsResponse> {
    let after = request.exclusive_start_stream_name.as_deref();
    let mut checks = Checks::default();
    checks.number("limit", request.limit, 1, PAGE_MAX as i32);
    checks.text(
        "exclusiveStartStreamName",
        after,
        1,
        128,
        crate::check::Pattern::Name,
    );
    checks.done()?;
    call.admit(&call.namespace, "")?;
    let after = match (&request.next_token, after) {
        (Some(_), Some(_)) => {
            return Err(invalid_argument(
                "NextToken and ExclusiveStartStreamName cannot be provided together.",
            ));
        }
        (Some(text), None) => {
            let age_ms = millis(call.inner.settings.page_token_age);
            let payload = token::open_page(Kind::Streams, text, call.now_ms, age_ms)?;
            Some(String::from_utf8(payload).map_err(|_| invalid_next_token())?)
        }
        (None, after) => after.map(str::to_owned),
    };
    let size = page_size(request.limit, limits::LIST_STREAMS, PAGE_MAX);
    let streams = call.inner.streams_of(&call.namespace, call.now_ms);
    let mut rest = streams
        .iter()
        .filter(|s| after.as_ref().is_none_or(|after| s.name > *after));
    let page: Vec<_> = rest.by_ref().take(size).collect();
    let more = rest.next().is_some();
    let last = page.last().filter(|_| more);
    Ok(ListStreamsResponse {
        stream_names: page.iter().map(|s| s.name.clone()).collect(),
        has_more_streams: more,
        next_token: last.map(|s| token::seal(Kind::Streams, call.now_ms, 0, s.name.as_bytes())),
        stream_summaries: Some(page.iter().map(|s| summary(s, call.now_ms)).collect()),
    })
}

fn summary(stream: &Stream, now_ms: u64) -> StreamSummary {
    let state = stream.read(now_ms);
    StreamSummary {
        stream_name: stream.name.clone(),
        stream_arn: stream.arn.to_string(),
        stream_status: state.status(),
        stream_mode_details: mode_details(&state),
        stream_creation_timestamp: Some(Timestamp(stream.created_ms.cast_signed())),
    }
}
