//! `ListShards`, `SplitShard`, `MergeShards` and `UpdateShardCount`.

use std::sync::Arc;

use distributary_wire::hashkey::{self, HashRange};
use distributary_wire::limits;
use distributary_wire::types::*;

use super::streams::{Usage, check_creation_time};
use super::{Call, Page, page_size};
use crate::check::{Checks, Pattern};
use crate::errors::{
    Answer, invalid_argument, invalid_next_token, limit_exceeded, shard_not_found,
    stream_not_active, validation,
};
use crate::reshard::Change;
use crate::settings::millis;
use crate::stream::{self, State, Stream, retention_ms, shard_index};
use crate::token::{self, Kind};

/// `UpdateShardCount` calls in 24 hours, if limits are enforced.
const SCALINGS_PER_DAY: usize = 10;
const DAY_MS: u64 = 24 * 3_600_000;

/// A [`ShardFilter`] that has passed the checks. Times are in milliseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filter {
    /// Open shards, and closed shards that retention still keeps.
    All,
    Open,
    /// Shards open at a time.
    OpenAt(u64),
    /// Shards open at a time or later.
    OpenSince(u64),
}

/// A filter and the number of the first shard to list.
type Selection = (Filter, u32);

impl Filter {
    fn read(
        call: &Call<'_>,
        filter: &ShardFilter,
        state: &State,
        stream: &Stream,
    ) -> Answer<Selection> {
        let kind = filter.kind.clone().unwrap_or_default();
        let time_ms = || filter_time_ms(call, filter, &kind);
        let horizon_ms = call
            .now_ms
            .saturating_sub(retention_ms(state.retention_hours))
            .max(stream.created_ms);

        match kind {
            ShardFilterType::AfterShardId => Ok((Self::All, filter_start(filter, stream)?)),
            ShardFilterType::AtLatest => Ok((Self::Open, 0)),
            ShardFilterType::AtTrimHorizon => Ok((Self::OpenAt(horizon_ms), 0)),
            ShardFilterType::FromTrimHorizon => Ok((Self::All, 0)),
            ShardFilterType::AtTimestamp => Ok((Self::OpenAt(time_ms()?.max(horizon_ms)), 0)),
            ShardFilterType::FromTimestamp => Ok((Self::OpenSince(time_ms()?), 0)),
            ShardFilterType::Other(_) => Err(invalid_argument(
                "The type of the shard filter must be specified.",
            )),
        }
    }

    fn shows(self, shard: &stream::Shard) -> bool {
        let closed_ms = shard.log.bounds().closed_ms;
        match self {
            Self::All => true,
            Self::Open => closed_ms.is_none(),
            Self::OpenAt(ms) => {
                shard.created_ms <= ms && closed_ms.is_none_or(|closed| closed >= ms)
            }
            Self::OpenSince(ms) => closed_ms.is_none_or(|closed| closed >= ms),
        }
    }

    /// The filter in a page token.
    fn to_bytes(self) -> [u8; 9] {
        let (kind, ms) = match self {
            Self::All => (0, 0),
            Self::Open => (1, 0),
            Self::OpenAt(ms) => (2, ms),
            Self::OpenSince(ms) => (3, ms),
        };

        let mut out = [kind; 9];
        out[1..].copy_from_slice(&u64::to_be_bytes(ms));
        out
    }

    fn from_bytes([kind, ms @ ..]: [u8; 9]) -> Option<Self> {
        let ms = u64::from_be_bytes(ms);
        match kind {
            0 => Some(Self::All),
            1 => Some(Self::Open),
            2 => Some(Self::OpenAt(ms)),
            3 => Some(Self::OpenSince(ms)),
            _ => None,
        }
    }
}

/// The number of the first shard of an `AFTER_SHARD_ID` filter.
fn filter_start(filter: &ShardFilter, stream: &Stream) -> Answer<u32> {
    let id = filter.shard_id.as_deref().ok_or_else(|| {
        invalid_argument("ShardId must be specified for a shard filter of type AFTER_SHARD_ID.")
    })?;
    index_after(id, stream)
}

/// The time of a filter, in milliseconds since 1970.
fn filter_time_ms(call: &Call<'_>, filter: &ShardFilter, kind: &ShardFilterType) -> Answer<u64> {
    let at = filter.timestamp.ok_or_else(|| {
        invalid_argument(format!(
            "Timestamp must be specified for a shard filter of type {kind}."
        ))
    })?;
    let at_ms = u64::try_from(at.0).unwrap_or(0);
    check_not_in_future(call, at_ms)?;
    Ok(at_ms)
}

/// # Errors
/// `InvalidArgumentException`, with AWS's message.
pub(crate) fn check_not_in_future(call: &Call<'_>, at_ms: u64) -> Answer<()> {
    let now_ms = call.now_ms;
    if at_ms <= now_ms {
        return Ok(());
    }
    Err(invalid_argument(format!(
        "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. \
         timestampInMillis: {at_ms}, currentTimestampInMillis: {now_ms}"
    )))
}

/// The number after that of a shard.
///
/// # Errors
/// `ResourceNotFoundException` if the id has no shard id's form. The shard need not exist.
pub(crate) fn index_after(id: &str, stream: &Stream) -> Answer<u32> {
    let index = shard_index(id).ok_or_else(|| shard_not_found(id, stream))?;
    Ok(index.saturating_add(1))
}

fn check_list(request: &ListShardsRequest) -> Answer<()> {
    let mut checks = Checks::of_stream(request);
    let token = request.next_token.as_deref();
    checks.text("nextToken", token, 1..=1_048_576, Pattern::Any);
    checks.shard_id(
        "exclusiveStartShardId",
        request.exclusive_start_shard_id.as_deref(),
    );
    checks.number("maxResults", request.max_results, 1..=10_000);
    if let Some(filter) = &request.shard_filter {
        check_filter(&mut checks, filter);
    }
    checks.finish()?;

    check_list_members(request)
}

fn check_filter(checks: &mut Checks, filter: &ShardFilter) {
    let kind = filter.kind.as_ref();
    checks.required("shardFilter.type", kind);
    checks.one_of("shardFilter.type", kind, ShardFilterType::KNOWN);
    checks.shard_id("shardFilter.shardId", filter.shard_id.as_deref());
}

/// Checks that members of `ListShards` which exclude each other are not given together.
fn check_list_members(request: &ListShardsRequest) -> Answer<()> {
    let has_name = request.stream_name.is_some();
    if request.next_token.is_none() {
        if has_name || request.stream_arn.is_some() {
            return Ok(());
        }
        return Err(invalid_argument(
            "Either NextToken, StreamName or StreamARN should be provided.",
        ));
    }

    let member = if has_name {
        "StreamName"
    } else if request.exclusive_start_shard_id.is_some() {
        "ExclusiveStartShardId"
    } else if request.stream_creation_timestamp.is_some() {
        "StreamCreationTimestamp"
    } else {
        return Ok(());
    };
    Err(invalid_argument(format!(
        "NextToken and {member} cannot be provided together."
    )))
}

/// The content of a page token.
struct ListToken {
    uid: u64,
    selection: Selection,
}

impl ListToken {
    fn open(call: &Call<'_>, text: &str) -> Answer<Self> {
        let age_ms = millis(call.inner.settings.page_token_age);
        let payload = token::open_page(Kind::Shards, text, call.now_ms, age_ms)?;
        let (uid, rest) = token::read_page_payload(&payload)?;

        let selection = || {
            let (filter, start) = rest.split_first_chunk::<9>()?;
            let start = start.first_chunk::<4>()?;
            Some((Filter::from_bytes(*filter)?, u32::from_be_bytes(*start)))
        };
        Ok(Self {
            uid,
            selection: selection().ok_or_else(invalid_next_token)?,
        })
    }

    fn seal(&self, call: &Call<'_>) -> String {
        let (filter, start) = self.selection;
        let place = [&filter.to_bytes()[..], &start.to_be_bytes()].concat();
        let payload = token::page_payload(self.uid, &place);
        token::seal(Kind::Shards, call.now_ms, 0, &payload)
    }
}

/// The stream of a `ListShards`, from the token or else from the name or ARN.
fn listed_stream(
    call: &Call<'_>,
    request: &ListShardsRequest,
    token: Option<&ListToken>,
) -> Answer<Arc<Stream>> {
    let Some(token) = token else {
        return call.stream_of(request);
    };
    let stream = call
        .inner
        .stream_by_uid(token.uid, call.now_ms)
        .ok_or_else(invalid_next_token)?;
    call.check_rate(&stream.namespace, &stream.name)?;
    Ok(stream)
}

/// The filter and the first shard of a `ListShards`.
fn list_selection(
    call: &Call<'_>,
    request: &ListShardsRequest,
    token: Option<&ListToken>,
    state: &State,
    stream: &Stream,
) -> Answer<Selection> {
    if let Some(token) = token {
        return Ok(token.selection);
    }

    let (filter, start) = match &request.shard_filter {
        Some(filter) => Filter::read(call, filter, state, stream)?,
        None => (Filter::All, 0),
    };
    match request.exclusive_start_shard_id.as_deref() {
        Some(id) => Ok((filter, start.max(index_after(id, stream)?))),
        None => Ok((filter, start)),
    }
}

pub(crate) fn list(call: &Call<'_>, request: &ListShardsRequest) -> Answer<ListShardsResponse> {
    check_list(request)?;
    let token = match &request.next_token {
        Some(text) => Some(ListToken::open(call, text)?),
        None => None,
    };
    let stream = listed_stream(call, request, token.as_ref())?;
    check_creation_time(&stream, request.stream_creation_timestamp)?;

    let state = stream.read(call.now_ms);
    if !state.serves() {
        return Err(stream_not_active(&stream, &state.status()));
    }
    let (filter, start) = list_selection(call, request, token.as_ref(), &state, &stream)?;

    let shards = state
        .shards
        .range(start..)
        .map(|(_, shard)| shard)
        .filter(|shard| filter.shows(shard));
    let max = limits::LIST_SHARDS_MAX;
    let page = Page::take(shards, page_size(request.max_results, max, max));
    let next_token = page.last_before_more().map(|last| {
        let token = ListToken {
            uid: stream.uid,
            selection: (filter, last.index.saturating_add(1)),
        };
        token.seal(call)
    });

    Ok(ListShardsResponse {
        shards: Some(page.items.iter().map(|s| s.describe()).collect()),
        next_token,
    })
}

/// A shard that can be split or merged.
fn open_shard<'a>(state: &'a State, stream: &Stream, id: &str) -> Answer<&'a Arc<stream::Shard>> {
    let shard = state.shard(id).ok_or_else(|| shard_not_found(id, stream))?;
    if shard.log.bounds().closed_ms.is_some() {
        return Err(invalid_argument(format!(
            "Shard {id} in stream {stream} has already been merged or \
             split, and thus is not eligible for merging or splitting."
        )));
    }
    Ok(shard)
}

fn check_provisioned(call: &Call<'_>, state: &State) -> Answer<()> {
    if state.mode == StreamMode::OnDemand {
        let operation = call.operation;
        return Err(validation(format!(
            "{operation} is not supported for a stream in on-demand capacity mode."
        )));
    }
    Ok(())
}

fn check_split(request: &SplitShardRequest) -> Answer<()> {
    let shard = request.shard_to_split.as_deref();
    let hash_key = request.new_starting_hash_key.as_deref();
    let mut checks = Checks::of_stream(request);
    checks.required("shardToSplit", shard.as_ref());
    checks.shard_id("shardToSplit", shard);
    checks.required("newStartingHashKey", hash_key.as_ref());
    checks.text("newStartingHashKey", hash_key, 1..=39, Pattern::HashKey);
    checks.finish()
}

pub(crate) fn split(call: &Call<'_>, request: &SplitShardRequest) -> Answer<SplitShardResponse> {
    check_split(request)?;
    let stream = call.stream_of(request)?;
    let id = request.shard_to_split.as_deref().unwrap_or_default();
    let key = request.new_starting_hash_key.as_deref().unwrap_or_default();

    call.change_active(&stream, |state| {
        check_provisioned(call, state)?;
        let shard = open_shard(state, &stream, id)?;
        let change = Change::Split {
            shard: shard.index,
            at: split_point(&stream, id, shard.range, key)?,
        };

        call.start_change(state, change);
        Ok(SplitShardResponse::default())
    })
}

/// The first hash key of the second child.
///
/// # Errors
/// `InvalidArgumentException` unless a child's range has keys. AWS asks for two keys below the
/// split.
fn split_point(stream: &Stream, id: &str, range: HashRange, key: &str) -> Answer<u128> {
    let HashRange { start, end } = range;
    hashkey::parse(key)
        .filter(|at| *at > start.saturating_add(1) && *at < end)
        .ok_or_else(|| {
            invalid_argument(format!(
                "NewStartingHashKey {key} used in SplitShard() on shard {id} in stream {stream} \
                  is not both greater than one plus the shard's \
                 StartingHashKey {start} and less than the shard's EndingHashKey {end}."
            ))
        })
}

fn check_merge(request: &MergeShardsRequest) -> Answer<()> {
    let first = request.shard_to_merge.as_deref();
    let second = request.adjacent_shard_to_merge.as_deref();
    let mut checks = Checks::of_stream(request);
    checks.required("shardToMerge", first.as_ref());
    checks.shard_id("shardToMerge", first);
    checks.required("adjacentShardToMerge", second.as_ref());
    checks.shard_id("adjacentShardToMerge", second);
    checks.finish()
}

pub(crate) fn merge(call: &Call<'_>, request: &MergeShardsRequest) -> Answer<MergeShardsResponse> {
    check_merge(request)?;
    let stream = call.stream_of(request)?;
    let first = request.shard_to_merge.as_deref().unwrap_or_default();
    let second = request
        .adjacent_shard_to_merge
        .as_deref()
        .unwrap_or_default();

    call.change_active(&stream, |state| {
        check_provisioned(call, state)?;
        let change = merge_change(state, &stream, first, second)?;
        call.start_change(state, change);
        Ok(MergeShardsResponse::default())
    })
}

/// # Errors
/// `InvalidArgumentException` unless the shards are open and their hash ranges adjacent.
fn merge_change(state: &State, stream: &Stream, first: &str, second: &str) -> Answer<Change> {
    let shard = open_shard(state, stream, first)?;
    let adjacent = open_shard(state, stream, second)?;
    if !shard.range.is_adjacent(&adjacent.range) {
        return Err(invalid_argument(format!(
            "Shards {first} and {second} in stream {stream} are not an \
             adjacent pair of shards eligible for merging"
        )));
    }
    Ok(Change::Merge {
        shard: shard.index,
        adjacent: adjacent.index,
    })
}

fn check_update_count(request: &UpdateShardCountRequest) -> Answer<()> {
    let target = request.target_shard_count;
    let scaling = request.scaling_type.as_ref();
    let mut checks = Checks::of_stream(request);
    checks.required("targetShardCount", target.as_ref());
    checks.number("targetShardCount", target, 1..=i32::MAX);
    checks.required("scalingType", scaling);
    checks.one_of("scalingType", scaling, ScalingType::KNOWN);
    checks.finish()
}

pub(crate) fn update_count(
    call: &Call<'_>,
    request: &UpdateShardCountRequest,
) -> Answer<UpdateShardCountResponse> {
    check_update_count(request)?;
    let stream = call.stream_of(request)?;
    let target = request.target_shard_count.unwrap_or_default();
    let target = target.unsigned_abs();
    let usage = Usage::of(call);
    let current = call.change_active(&stream, |state| scale(call, state, &usage, target))?;

    Ok(UpdateShardCountResponse {
        stream_name: Some(stream.name.clone()),
        current_shard_count: Some(current.cast_signed()),
        target_shard_count: Some(target.cast_signed()),
        stream_arn: Some(stream.arn.to_string()),
    })
}

/// Starts the change to `target` shards. Returns the current number of open shards.
fn scale(call: &Call<'_>, state: &mut State, usage: &Usage, target: u32) -> Answer<u32> {
    check_provisioned(call, state)?;
    let current = state.open.len() as u32;
    check_target(current, target)?;
    usage.check_shards(call, target.saturating_sub(current))?;
    count_scaling(call, state)?;

    call.start_change(state, Change::Count(target));
    Ok(current)
}

/// # Errors
/// `InvalidArgumentException` unless the target is between half and double the current count.
fn check_target(current: u32, target: u32) -> Answer<()> {
    let problem = if target > current.saturating_mul(2) {
        "up over double"
    } else if target < current.div_ceil(2) {
        "down below half"
    } else {
        return Ok(());
    };

    Err(invalid_argument(format!(
        "UpdateShardCount cannot scale {problem} your current open shard count. Current open shard \
         count: {current} Target shard count: {target}"
    )))
}

/// Counts an `UpdateShardCount` against the limit of a day, if limits are enforced.
///
/// # Errors
/// `LimitExceededException`.
fn count_scaling(call: &Call<'_>, state: &mut State) -> Answer<()> {
    let now_ms = call.now_ms;
    state
        .scalings_ms
        .retain(|at| at.saturating_add(DAY_MS) > now_ms);
    if !call.inner.settings.enforce_limits {
        return Ok(());
    }

    if state.scalings_ms.len() >= SCALINGS_PER_DAY {
        return Err(limit_exceeded(format!(
            "UpdateShardCount cannot be called more than {SCALINGS_PER_DAY} times in a 24 hour \
             period."
        )));
    }
    state.scalings_ms.push(now_ms);
    Ok(())
}
