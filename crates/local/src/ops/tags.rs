//! Tags and resource policies, which are stored and shown but have no effect.

use std::collections::BTreeMap;

use distributary_wire::arn::ConsumerArn;
use distributary_wire::error::ApiError;
use distributary_wire::limits;
use distributary_wire::types::*;

use super::Call;
use crate::check::{Checks, Pattern};
use crate::errors::{Answer, invalid_argument, limit_exceeded, not_found};

/// Tags in one request.
const REQUEST_TAGS: usize = 200;
/// Bytes of the longest policy.
const POLICY_BYTES: usize = 20 * 1024;

/// # Errors
/// `ValidationException` for a length, `InvalidArgumentException` for a character.
pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Answer<()> {
    let mut checks = Checks::default();
    for (key, value) in tags {
        checks.text("tags", Some(key), 1..=128, Pattern::Any);
        checks.text("tags", Some(value), 0..=256, Pattern::Any);
    }
    checks.finish()?;

    check_characters(tags)
}

fn check_characters(tags: &BTreeMap<String, String>) -> Answer<()> {
    let is_allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@%".contains(c);
    let mut texts = tags.iter().flat_map(|(key, value)| [key, value]);
    if texts.all(|text| text.chars().all(is_allowed)) {
        return Ok(());
    }
    Err(invalid_argument(
        "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white \
         space, _ . / = + - % @.",
    ))
}

/// Adds tags to the tags of a resource. `resource` names the resource for the message.
///
/// # Errors
/// `LimitExceededException`.
fn add(
    tags: &mut BTreeMap<String, String>,
    added: &BTreeMap<String, String>,
    resource: &str,
) -> Answer<()> {
    let new_keys = added.keys().filter(|key| !tags.contains_key(*key));
    let limit = limits::TAGS;
    if tags.len() + new_keys.count() > limit {
        return Err(limit_exceeded(format!(
            "Failed to add tags to {resource} because a given resource cannot have more than \
             {limit} tags associated with it."
        )));
    }

    tags.extend(added.iter().map(|(k, v)| (k.clone(), v.clone())));
    Ok(())
}

/// Tags as the protocol shows them.
fn to_wire(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag {
            key: key.clone(),
            value: Some(value.clone()),
        })
        .collect()
}

fn check_added(checks: &mut Checks, tags: Option<&BTreeMap<String, String>>) {
    checks.required("tags", tags);
    checks.count("tags", "{}", tags.map(BTreeMap::len), 1..=REQUEST_TAGS);
}

pub(crate) fn add_to_stream(
    call: &Call<'_>,
    request: &AddTagsToStreamRequest,
) -> Answer<AddTagsToStreamResponse> {
    let mut checks = Checks::of_stream(request);
    check_added(&mut checks, request.tags.as_ref());
    checks.finish()?;
    let tags = request.tags.clone().unwrap_or_default();
    check_tags(&tags)?;

    let stream = call.stream_of(request)?;
    stream.write(call.now_ms, |state| {
        add(&mut state.tags, &tags, &format!("stream {}", stream.name))
    })?;
    Ok(AddTagsToStreamResponse::default())
}

pub(crate) fn remove_from_stream(
    call: &Call<'_>,
    request: &RemoveTagsFromStreamRequest,
) -> Answer<RemoveTagsFromStreamResponse> {
    let mut checks = Checks::of_stream(request);
    check_keys(&mut checks, request.tag_keys.as_ref());
    checks.finish()?;

    let stream = call.stream_of(request)?;
    stream.write(call.now_ms, |state| {
        for key in request.tag_keys.iter().flatten() {
            state.tags.remove(key);
        }
    });
    Ok(RemoveTagsFromStreamResponse::default())
}

fn check_keys(checks: &mut Checks, keys: Option<&Vec<String>>) {
    checks.required("tagKeys", keys);
    let shown = keys.map(|keys| format!("[{}]", keys.join(", ")));
    checks.count(
        "tagKeys",
        &shown.unwrap_or_default(),
        keys.map(Vec::len),
        1..=50,
    );
    for key in keys.into_iter().flatten() {
        checks.text("tagKeys", Some(key), 1..=128, Pattern::Any);
    }
}

pub(crate) fn list_of_stream(
    call: &Call<'_>,
    request: &ListTagsForStreamRequest,
) -> Answer<ListTagsForStreamResponse> {
    let after = request.exclusive_start_tag_key.as_deref();
    let mut checks = Checks::of_stream(request);
    checks.text("exclusiveStartTagKey", after, 1..=128, Pattern::Any);
    checks.number("limit", request.limit, 1..=50);
    checks.finish()?;

    let stream = call.stream_of(request)?;
    let state = stream.read(call.now_ms);
    let size = super::page_size(request.limit, limits::TAGS, limits::TAGS);
    let mut tags = to_wire(&state.tags);
    tags.retain(|tag| after.is_none_or(|after| tag.key.as_str() > after));
    let has_more_tags = tags.len() > size;
    tags.truncate(size);

    Ok(ListTagsForStreamResponse {
        tags,
        has_more_tags,
    })
}

/// The tags and the policy of a stream or a consumer.
struct Resource<'a> {
    tags: &'a mut BTreeMap<String, String>,
    policy: &'a mut Option<String>,
}

/// Calls `operation` with the stream or consumer of an ARN. `check_more` adds checks of further
/// members of the request.
fn with_resource<R>(
    call: &Call<'_>,
    arn: Option<&String>,
    check_more: impl FnOnce(&mut Checks),
    operation: impl FnOnce(Resource<'_>) -> Answer<R>,
) -> Answer<R> {
    let text = arn.map(String::as_str);
    let mut checks = Checks::default();
    checks.required("resourceARN", arn);
    checks.text("resourceARN", text, 1..=2048, Pattern::ResourceArn);
    check_more(&mut checks);
    checks.finish()?;

    let Ok(consumer_arn) = text.unwrap_or_default().parse::<ConsumerArn>() else {
        let stream = call.stream(None, text)?;
        return stream.write(call.now_ms, |state| {
            operation(Resource {
                tags: &mut state.tags,
                policy: &mut state.policy,
            })
        });
    };

    let stream = call.stream_of_consumer(&consumer_arn)?;
    stream.write(call.now_ms, |state| {
        let consumer = state.consumer_mut(&consumer_arn)?;
        operation(Resource {
            tags: &mut consumer.tags,
            policy: &mut consumer.policy,
        })
    })
}

pub(crate) fn tag_resource(
    call: &Call<'_>,
    request: &TagResourceRequest,
) -> Answer<TagResourceResponse> {
    let arn = request.resource_arn.as_ref();
    let tags = request.tags.as_ref();
    let check_more = |checks: &mut Checks| check_added(checks, tags);

    with_resource(call, arn, check_more, |resource| {
        let tags = tags.cloned().unwrap_or_default();
        check_tags(&tags)?;
        let name = arn.map(String::as_str).unwrap_or_default();
        add(resource.tags, &tags, name)?;
        Ok(TagResourceResponse::default())
    })
}

pub(crate) fn untag_resource(
    call: &Call<'_>,
    request: &UntagResourceRequest,
) -> Answer<UntagResourceResponse> {
    let keys = request.tag_keys.as_ref();
    let check_more = |checks: &mut Checks| check_keys(checks, keys);

    with_resource(
        call,
        request.resource_arn.as_ref(),
        check_more,
        |resource| {
            for key in keys.into_iter().flatten() {
                resource.tags.remove(key);
            }
            Ok(UntagResourceResponse::default())
        },
    )
}

pub(crate) fn list_of_resource(
    call: &Call<'_>,
    request: &ListTagsForResourceRequest,
) -> Answer<ListTagsForResourceResponse> {
    let arn = request.resource_arn.as_ref();
    with_resource(
        call,
        arn,
        |_| (),
        |resource| {
            let tags = Some(to_wire(resource.tags));
            Ok(ListTagsForResourceResponse { tags })
        },
    )
}

pub(crate) fn put_policy(
    call: &Call<'_>,
    request: &PutResourcePolicyRequest,
) -> Answer<PutResourcePolicyResponse> {
    let policy = request.policy.as_ref();
    let check_more = |checks: &mut Checks| checks.required("policy", policy);

    with_resource(
        call,
        request.resource_arn.as_ref(),
        check_more,
        |resource| {
            let policy = policy.cloned().unwrap_or_default();
            let object =
                serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&policy);
            if object.is_err() || policy.len() > POLICY_BYTES {
                return Err(invalid_argument("Policy is not a valid policy document."));
            }

            *resource.policy = Some(policy);
            Ok(PutResourcePolicyResponse::default())
        },
    )
}

pub(crate) fn get_policy(
    call: &Call<'_>,
    request: &GetResourcePolicyRequest,
) -> Answer<GetResourcePolicyResponse> {
    let arn = request.resource_arn.as_ref();
    with_resource(
        call,
        arn,
        |_| (),
        |resource| {
            let policy = resource.policy.clone();
            let policy = policy.ok_or_else(|| policy_not_found(arn))?;
            Ok(GetResourcePolicyResponse { policy })
        },
    )
}

pub(crate) fn delete_policy(
    call: &Call<'_>,
    request: &DeleteResourcePolicyRequest,
) -> Answer<DeleteResourcePolicyResponse> {
    let arn = request.resource_arn.as_ref();
    with_resource(
        call,
        arn,
        |_| (),
        |resource| {
            let policy = resource.policy.take();
            policy.ok_or_else(|| policy_not_found(arn))?;
            Ok(DeleteResourcePolicyResponse::default())
        },
    )
}

fn policy_not_found(arn: Option<&String>) -> ApiError {
    not_found(format!(
        "No resource policy found for {}.",
        arn.map(String::as_str).unwrap_or_default()
    ))
}
