//! Listing, splitting and merging shards.

use std::sync::Arc;

use distributary_wire::limits;
use distributary_wire::types::*;

use super::streams::Usage;
use super::{Call, page_size};
use crate::check::{self, Checks, Pattern};
use crate::errors::{
    Answer, in_use, invalid_argument, invalid_next_token, limit_exceeded, shard_not_found,
    validation,
};
use crate::reshard::Change;
use crate::settings::millis;
use crate::stream::{self, State, Stream, retention_ms, shard_index};
use crate::token::{self, Kind};

/// `UpdateShardCount` calls in 24 hours.
const SCALINGS_PER_DAY: usize = 10;
const DAY_MS: u64 = 24 * 3_600_000;

/// A [`ShardFilter`] that has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    /// Also those that have been closed, back to retention.
    All,
    Latest,
    /// Open at that time.
    At(u64),
    /// Open at that time or later.
    From(u64),
}

impl Filter {
    /// Reads a filter; with where to start if it is `AFTER_SHARD_ID`.
    fn read(
        call: &Call<'_>,
        filter: &ShardFilter,
        state: &State,
        stream: &Stream,
    ) -> Answer<(Self, u32)> {
        let kind = filter.kind.clone().unwrap_or_default();
        let time = || {
            let at = filter.timestamp.ok_or_else(|| {
                invalid_argument(format!(
                    "Timestamp must be specified for a shard filter of type {kind}."
                ))
            })?;
            let at_ms = u64::try_from(at.0).unwrap_or(0);
            if at_ms > call.now_ms {
                return Err(future_time(at_ms, call.now_ms));
            }
            Ok(at_ms)
        };
        let horizon_ms = call
            .now_ms
            .saturating_sub(retention_ms(state.retention_hours))
            .max(stream.created_ms);
        match kind {
            ShardFilterType::AfterShardId => {
                let id = filter.shard_id.as_deref().ok_or_else(|| {
                    invalid_argument(
                        "ShardId must be specified for a shard filter of type AFTER_SHARD_ID.",
                    )
                })?;
                let index = shard_index(id).ok_or_else(|| shard_not_found(id, stream))?;
                Ok((Self::All, index.saturating_add(1)))
            }
            ShardFilterType::AtLatest => Ok((Self::Latest, 0)),
            ShardFilterType::AtTrimHorizon => Ok((Self::At(horizon_ms), 0)),
            ShardFilterType::FromTrimHorizon => Ok((Self::All, 0)),
            ShardFilterType::AtTimestamp => Ok((Self::At(time()?.max(horizon_ms)), 0)),
            ShardFilterType::FromTimestamp => Ok((Self::From(time()?), 0)),
            ShardFilterType::Other(_) => Err(invalid_argument(
                "The type of the shard filter must be specified.",
            )),
        }
    }

    fn shows(self, shard: &stream::Shard) -> bool {
        let closed_ms = shard.log.bounds().closed_ms;
        match self {
            Self::All => true,
            Self::Latest => closed_ms.is_none(),
            Self::At(ms) => shard.created_ms <= ms && closed_ms.is_none_or(|closed| closed >= ms),
            Self::From(ms) => closed_ms.is_none_or(|closed| closed >= ms),
        }
    }

    fn to_bytes(self) -> [u8; 9] {
        let (kind, ms) = match self {
            Self::All => (0, 0),
            Self::Latest => (1, 0),
            Self::At(ms) => (2, ms),
            Self::From(ms) => (3, ms),
        };
        let mut out = [kind; 9];
        out[1..].copy_from_slice(&u64::to_be_bytes(ms));
        out
    }

    fn from_bytes([kind, ms @ ..]: [u8; 9]) -> Option<Self> {
        let ms = u64::from_be_bytes(ms);
        match kind {
            0 => Some(Self::All),
            1 => Some(Self::Latest),
            2 => Some(Self::At(ms)),
            3 => Some(Self::From(ms)),
            _ => None,
        }
    }
}

/// What AWS says to a time in the future.
pub(crate) fn future_time(at_ms: u64, now_ms: u64) -> distributary_wire::error::ApiError {
    invalid_argument(format!(
        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: \
         {at_ms}, currentTimestampInMillis: {now_ms}"
    ))
}

fn check_list(request: &ListShardsRequest) -> Answer<()> {
    let filter = request.shard_filter.as_ref();
    let mut checks = Checks::default();
    checks.stream_name(request.stream_name.as_deref());
    checks.stream_arn(request.stream_arn.as_deref());
    checks.text(
        "nextToken",
        request.next_token.as_deref(),
        1,
        1_048_576,
        Pattern::Any,
    );
    checks.shard_id(
        "exclusiveStartShardId",
        request.exclusive_start_shard_id.as_deref(),
    );
    checks.number("maxResults", request.max_results, 1, 10_000);
    if let Some(filter) = filter {
        checks.required("shardFilter.type", filter.kind.as_ref());
        let kind = filter.kind.as_ref().map(|k| k.as_str());
        checks.known("shardFilter.type", kind, ShardFilterType::KNOWN);
        checks.shard_id("shardFilter.shardId", filter.shard_id.as_deref());
    }
    checks.done()?;
    let named = request.stream_name.is_some();
    if request.next_token.is_some() {
        let with = [
            (named, "StreamName"),
            (
                request.exclusive_start_shard_id.is_some(),
                "ExclusiveStartShardId",
            ),
            (
                request.stream_creation_timestamp.is_some(),
                "StreamCreationTimestamp",
            ),
        ];
        if let Some((_, what)) = with.iter().find(|(given, _)| *given) {
            return Err(invalid_argument(format!(
                "NextToken and {what} cannot be provided together."
            )));
        }
    } else if !named && request.stream_arn.is_none() {
        return Err(invalid_argument(
            "Either NextToken, StreamName or StreamARN should be provided.",
        ));
    }
    Ok(())
}

pub(crate) fn list(call: &Call<'_>, request: &ListShardsRequest) -> Answer<ListShardsResponse> {
    check_list(request)?;
    let size = page_size(
        request.max_results,
        limits::LIST_SHARDS_MAX,
        limits::LIST_SHARDS_MAX,
    );
    let resumed = match &request.next_token {
        Some(text) => Some(open_page(call, text)?),
        None => None,
    };
    let stream = match resumed {
        Some((uid, _, _)) => {
            let stream = call
                .inner
                .stream_by_uid(uid, call.now_ms)
                .ok_or_else(invalid_next_token)?;
            call.admit(&stream.namespace, &stream.name)?;
            stream
        }
        None => call.stream(
            request.stream_name.as_deref(),
            request.stream_arn.as_deref(),
        )?,
    };
    if let Some(created) = request.stream_creation_timestamp
        && created.0 / 1000 != (stream.created_ms / 1000).cast_signed()
    {
        return Err(crate::errors::stream_not_found(
            &stream.name,
            &stream.namespace.account,
        ));
    }
    let state = stream.read(call.now_ms);
    if !state.serves() {
        let (name, account, status) = (&stream.name, &stream.namespace.account, state.status());
        return Err(in_use(format!(
            "Stream {name} under account {account} not ACTIVE, instead in state {status}"
        )));
    }
    let (filter, start) = match (resumed, &request.shard_filter) {
        (Some((_, filter, start)), _) => (filter, start),
        (None, Some(filter)) => Filter::read(call, filter, &state, &stream)?,
        (None, None) => (Filter::All, 0),
    };
    let start = match request.exclusive_start_shard_id.as_deref() {
        Some(id) => start.max(
            shard_index(id)
                .ok_or_else(|| shard_not_found(id, &stream))?
                .saturating_add(1),
        ),
        None => start,
    };
    let mut rest = state
        .shards
        .range(start..)
        .map(|(_, s)| s)
        .filter(|s| filter.shows(s));
    let page: Vec<_> = rest.by_ref().take(size).collect();
    let last = page.last().filter(|_| rest.next().is_some());
    let next_token = last.map(|last| {
        let rest = [
            &filter.to_bytes()[..],
            &last.index.saturating_add(1).to_be_bytes(),
        ]
        .concat();
        token::seal(
            Kind::Shards,
            call.now_ms,
            0,
            &token::page_payload(stream.uid, &rest),
        )
    });
    Ok(ListShardsResponse {
        shards: Some(page.iter().map(|s| s.describe()).collect()),
        next_token,
    })
}

/// The stream, the filter and where to go on.
fn open_page(call: &Call<'_>, text: &str) -> Answer<(u64, Filter, u32)> {
    let age_ms = millis(call.inner.settings.page_token_age);
    let payload = token::open_page(Kind::Shards, text, call.now_ms, age_ms)?;
    let (uid, rest) = token::read_page_payload(&payload)?;
    let read = || {
        let (filter, start) = rest.split_first_chunk::<9>()?;
        let start = start.first_chunk::<4>()?;
        Some((
            uid,
            Filter::from_bytes(*filter)?,
            u32::from_be_bytes(*start),
        ))
    };
    read().ok_or_else(invalid_next_token)
}

fn open_shard<'a>(state: &'a State, stream: &Stream, id: &str) -> Answer<&'a Arc<stream::Shard>> {
    let shard = state.shard(id).ok_or_else(|| shard_not_found(id, stream))?;
    if shard.log.bounds().closed_ms.is_some() {
        let (name, account) = (&stream.name, &stream.namespace.account);
        return Err(invalid_argument(format!(
            "Shard {id} in stream {name} under account {account} has already been merged or split, and thus is not \
             eligible for merging or splitting."
        )));
    }
    Ok(shard)
}

fn provisioned(state: &State, call: &Call<'_>) -> Answer<()> {
    if state.mode == StreamMode::OnDemand {
        let operation = call.operation;
        return Err(validation(format!(
            "{operation} is not supported for a stream in on-demand capacity mode."
        )));
    }
    Ok(())
}

pub(crate) fn split(call: &Call<'_>, request: &SplitShardRequest) -> Answer<SplitShardResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks.required("shardToSplit", request.shard_to_split.as_ref());
    checks.shard_id("shardToSplit", request.shard_to_split.as_deref());
    checks.required("newStartingHashKey", request.new_starting_hash_key.as_ref());
    let key = request.new_starting_hash_key.as_deref();
    checks.text("newStartingHashKey", key, 1, 39, Pattern::HashKey);
    checks.done()?;
    let stream = call.stream(name, arn)?;
    let id = request.shard_to_split.as_deref().unwrap_or_default();
    call.change(&stream, |state| {
        provisioned(state, call)?;
        let (shard, range) = {
            let shard = open_shard(state, &stream, id)?;
            (shard.index, shard.range)
        };
        let key = key.unwrap_or_default();
        // A child may not be empty, and AWS wants two keys below the cut.
        let at = check::hash_key(key).filter(|at| *at > range.start.saturating_add(1) && *at < range.end);
        let at = at.ok_or_else(|| {
            invalid_argument(format!(
                "NewStartingHashKey {key} used in SplitShard() on shard {id} in stream {} under account {} is not both \
                 greater than one plus the shard's StartingHashKey {} and less than the shard's EndingHashKey {}.",
                stream.name, stream.namespace.account, range.start, range.end
            ))
        })?;
        state.begin(Change::Split { shard, at }, call.now_ms, call.update_ms());
        Ok(())
    })?;
    Ok(SplitShardResponse::default())
}

pub(crate) fn merge(call: &Call<'_>, request: &MergeShardsRequest) -> Answer<MergeShardsResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks.required("shardToMerge", request.shard_to_merge.as_ref());
    checks.shard_id("shardToMerge", request.shard_to_merge.as_deref());
    checks.required(
        "adjacentShardToMerge",
        request.adjacent_shard_to_merge.as_ref(),
    );
    checks.shard_id(
        "adjacentShardToMerge",
        request.adjacent_shard_to_merge.as_deref(),
    );
    checks.done()?;
    let stream = call.stream(name, arn)?;
    let one = request.shard_to_merge.as_deref().unwrap_or_default();
    let other = request
        .adjacent_shard_to_merge
        .as_deref()
        .unwrap_or_default();
    call.change(&stream, |state| {
        provisioned(state, call)?;
        let change = {
            let a = open_shard(state, &stream, one)?;
            let b = open_shard(state, &stream, other)?;
            if !a.range.is_adjacent(&b.range) {
                return Err(invalid_argument(format!(
                    "Shards {one} and {other} in stream {} under account {} are not an adjacent pair of shards eligible \
                     for merging",
                    stream.name, stream.namespace.account
                )));
            }
            Change::Merge { shard: a.index, adjacent: b.index }
        };
        state.begin(change, call.now_ms, call.update_ms());
        Ok(())
    })?;
    Ok(MergeShardsResponse::default())
}

pub(crate) fn update_count(
    call: &Call<'_>,
    request: &UpdateShardCountRequest,
) -> Answer<UpdateShardCountResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks.required("targetShardCount", request.target_shard_count.as_ref());
    checks.number("targetShardCount", request.target_shard_count, 1, i32::MAX);
    checks.required("scalingType", request.scaling_type.as_ref());
    checks.known(
        "scalingType",
        request.scaling_type.as_ref().map(|s| s.as_str()),
        ScalingType::KNOWN,
    );
    checks.done()?;
    let stream = call.stream(name, arn)?;
    let target = request
        .target_shard_count
        .unwrap_or_default()
        .unsigned_abs();
    let usage = Usage::of(call);
    let current = call.change(&stream, |state| {
        provisioned(state, call)?;
        let current = state.open.len() as u32;
        check_target(current, target)?;
        usage.check_shards(call, target.saturating_sub(current))?;
        state.scalings_ms.retain(|at| at.saturating_add(DAY_MS) > call.now_ms);
        if call.inner.settings.enforce_limits {
            if state.scalings_ms.len() >= SCALINGS_PER_DAY {
                return Err(limit_exceeded(format!(
                    "UpdateShardCount cannot be called more than {SCALINGS_PER_DAY} times in a 24 hour period."
                )));
            }
            state.scalings_ms.push(call.now_ms);
        }
        state.begin(Change::Count(target), call.now_ms, call.update_ms());
        Ok(current)
    })?;
    Ok(UpdateShardCountResponse {
        stream_name: Some(stream.name.clone()),
        current_shard_count: Some(current.cast_signed()),
        target_shard_count: Some(target.cast_signed()),
        stream_arn: Some(stream.arn.to_string()),
    })
}

/// # Errors
/// `InvalidArgumentException`.
fn check_target(current: u32, target: u32) -> Answer<()> {
    let counts = format!("Current open shard count: {current} Target shard count: {target}");
    if target > current.saturating_mul(2) {
        return Err(invalid_argument(format!(
            "UpdateShardCount cannot scale up over double your current open shard count. {counts}"
        )));
    }
    if target < current.div_ceil(2) {
        return Err(invalid_argument(format!(
            "UpdateShardCount cannot scale down below half your current open shard count. {counts}"
        )));
    }
    Ok(())
}
