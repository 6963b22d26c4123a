//! Tags and resource policies: kept and shown, never acted on.

use std::collections::BTreeMap;

use distributary_wire::arn::ConsumerArn;
use distributary_wire::limits;
use distributary_wire::types::*;

use super::Call;
use crate::check::{Checks, Pattern};
use crate::errors::{Answer, consumer_not_found, invalid_argument, limit_exceeded, not_found};
use crate::stream::State;

/// Tags of one request.
const REQUEST_TAGS: usize = 200;
/// Bytes of a policy.
const POLICY_BYTES: usize = 20 * 1024;

/// # Errors
/// `ValidationException` and `InvalidArgumentException`.
pub(crate) fn check_tags(tags: &BTreeMap<String, String>) -> Answer<()> {
    let mut checks = Checks::default();
    for (key, value) in tags {
        checks.text("tags", Some(key), 1, 128, Pattern::Any);
        checks.text("tags", Some(value), 0, 256, Pattern::Any);
    }
    checks.done()?;
    let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@%".contains(c);
    match tags
        .iter()
        .find(|(k, v)| !k.chars().all(allowed) || !v.chars().all(allowed))
    {
        Some(_) => Err(invalid_argument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, \
            digits, white space, _ . / = + - % @.",
        )),
        None => Ok(()),
    }
}

/// Adds tags, if there is room for them.
fn add(
    have: &mut BTreeMap<String, String>,
    more: &BTreeMap<String, String>,
    resource: &str,
) -> Answer<()> {
    let total = have.len() + more.keys().filter(|key| !have.contains_key(*key)).count();
    if total > limits::TAGS {
        return Err(limit_exceeded(format!(
            "Failed to add tags to {resource} because a given resource cannot have more than {} tags associated with it.",
            limits::TAGS
        )));
    }
    have.extend(more.iter().map(|(k, v)| (k.clone(), v.clone())));
    Ok(())
}

fn listed(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter()
        .map(|(key, value)| Tag {
            key: key.clone(),
            value: Some(value.clone()),
        })
        .collect()
}

fn shown(keys: &[String]) -> String {
    format!("[{}]", keys.join(", "))
}

pub(crate) fn add_to_stream(
    call: &Call<'_>,
    request: &AddTagsToStreamRequest,
) -> Answer<AddTagsToStreamResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks.required("tags", request.tags.as_ref());
    checks.count(
        "tags",
        "{}",
        request.tags.as_ref().map(BTreeMap::len),
        1,
        REQUEST_TAGS,
    );
    checks.done()?;
    let none = BTreeMap::new();
    let tags = request.tags.as_ref().unwrap_or(&none);
    check_tags(tags)?;
    let stream = call.stream(name, arn)?;
    stream.write(call.now_ms, |state| {
        add(&mut state.tags, tags, &format!("stream {}", stream.name))
    })?;
    Ok(AddTagsToStreamResponse::default())
}

pub(crate) fn remove_from_stream(
    call: &Call<'_>,
    request: &RemoveTagsFromStreamRequest,
) -> Answer<RemoveTagsFromStreamResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    check_keys(&mut checks, request.tag_keys.as_ref());
    checks.done()?;
    let stream = call.stream(name, arn)?;
    stream.write(call.now_ms, |state| {
        for key in request.tag_keys.iter().flatten() {
            state.tags.remove(key);
        }
    });
    Ok(RemoveTagsFromStreamResponse::default())
}

fn check_keys(checks: &mut Checks, keys: Option<&Vec<String>>) {
    checks.required("tagKeys", keys);
    let text = keys.map(|keys| shown(keys)).unwrap_or_default();
    checks.count("tagKeys", &text, keys.map(Vec::len), 1, 50);
    for key in keys.into_iter().flatten() {
        checks.text("tagKeys", Some(key), 1, 128, Pattern::Any);
    }
}

pub(crate) fn list_of_stream(
    call: &Call<'_>,
    request: &ListTagsForStreamRequest,
) -> Answer<ListTagsForStreamResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let after = request.exclusive_start_tag_key.as_deref();
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks.text("exclusiveStartTagKey", after, 1, 128, Pattern::Any);
    checks.number("limit", request.limit, 1, 50);
    checks.done()?;
    let stream = call.stream(name, arn)?;
    let state = stream.read(call.now_ms);
    let size = super::page_size(request.limit, limits::TAGS, limits::TAGS);
    let mut rest = listed(&state.tags);
    rest.retain(|tag| after.is_none_or(|after| tag.key.as_str() > after));
    let more = rest.len() > size;
    rest.truncate(size);
    Ok(ListTagsForStreamResponse {
        tags: rest,
        has_more_tags: more,
    })
}

/// What can have tags and a policy.
struct Tagged<'a> {
    tags: &'a mut BTreeMap<String, String>,
    policy: &'a mut Option<String>,
}

/// Uses the stream or consumer of an ARN.
fn resource<R>(
    call: &Call<'_>,
    arn: Option<&String>,
    more: impl FnOnce(&mut Checks),
    use_it: impl FnOnce(Tagged<'_>) -> Answer<R>,
) -> Answer<R> {
    let mut checks = Checks::default();
    checks.required("resourceARN", arn);
    checks.text(
        "resourceARN",
        arn.map(String::as_str),
        1,
        2048,
        Pattern::ResourceArn,
    );
    more(&mut checks);
    checks.done()?;
    let arn = arn.map(String::as_str).unwrap_or_default();
    let Ok(consumer) = arn.parse::<ConsumerArn>() else {
        let stream = call.stream(None, Some(arn))?;
        return stream.write(call.now_ms, |state| {
            use_it(Tagged {
                tags: &mut state.tags,
                policy: &mut state.policy,
            })
        });
    };
    let stream = call.stream_of_consumer(&consumer)?;
    stream.write(call.now_ms, |state: &mut State| {
        let found = state
            .consumers
            .get_mut(&consumer.name)
            .filter(|c| c.arn == consumer);
        let found =
            found.ok_or_else(|| consumer_not_found(&consumer.name, &consumer.stream.account))?;
        use_it(Tagged {
            tags: &mut found.tags,
            policy: &mut found.policy,
        })
    })
}

pub(crate) fn tag_resource(
    call: &Call<'_>,
    request: &TagResourceRequest,
) -> Answer<TagResourceResponse> {
    let arn = request.resource_arn.as_ref();
    let tags = request.tags.as_ref();
    let more = |checks: &mut Checks| {
        checks.required("tags", tags);
        checks.count("tags", "{}", tags.map(BTreeMap::len), 1, REQUEST_TAGS);
    };
    resource(call, arn, more, |tagged| {
        let none = BTreeMap::new();
        let tags = tags.unwrap_or(&none);
        check_tags(tags)?;
        add(
            tagged.tags,
            tags,
            arn.map(String::as_str).unwrap_or_default(),
        )?;
        Ok(TagResourceResponse::default())
    })
}

pub(crate) fn untag_resource(
    call: &Call<'_>,
    request: &UntagResourceRequest,
) -> Answer<UntagResourceResponse> {
    let keys = request.tag_keys.as_ref();
    resource(
        call,
        request.resource_arn.as_ref(),
        |checks| check_keys(checks, keys),
        |tagged| {
            for key in keys.into_iter().flatten() {
                tagged.tags.remove(key);
            }
            Ok(UntagResourceResponse::default())
        },
    )
}

pub(crate) fn list_of_resource(
    call: &Call<'_>,
    request: &ListTagsForResourceRequest,
) -> Answer<ListTagsForResourceResponse> {
    resource(
        call,
        request.resource_arn.as_ref(),
        |_| (),
        |tagged| {
            Ok(ListTagsForResourceResponse {
                tags: Some(listed(tagged.tags)),
            })
        },
    )
}

pub(crate) fn put_policy(
    call: &Call<'_>,
    request: &PutResourcePolicyRequest,
) -> Answer<PutResourcePolicyResponse> {
    let policy = request.policy.as_ref();
    let more = |checks: &mut Checks| checks.required("policy", policy);
    resource(call, request.resource_arn.as_ref(), more, |tagged| {
        let policy = policy.cloned().unwrap_or_default();
        let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&policy);
        if object.is_err() || policy.len() > POLICY_BYTES {
            return Err(invalid_argument("Policy is not a valid policy document."));
        }
        *tagged.policy = Some(policy);
        Ok(PutResourcePolicyResponse::default())
    })
}

pub(crate) fn get_policy(
    call: &Call<'_>,
    request: &GetResourcePolicyRequest,
) -> Answer<GetResourcePolicyResponse> {
    let arn = request.resource_arn.as_ref();
    resource(
        call,
        arn,
        |_| (),
        |tagged| match tagged.policy {
            Some(policy) => Ok(GetResourcePolicyResponse {
                policy: policy.clone(),
            }),
            None => Err(no_policy(arn)),
        },
    )
}

pub(crate) fn delete_policy(
    call: &Call<'_>,
    request: &DeleteResourcePolicyRequest,
) -> Answer<DeleteResourcePolicyResponse> {
    let arn = request.resource_arn.as_ref();
    resource(
        call,
        arn,
        |_| (),
        |tagged| match tagged.policy.take() {
            Some(_) => Ok(DeleteResourcePolicyResponse::default()),
            None => Err(no_policy(arn)),
        },
    )
}

fn no_policy(arn: Option<&String>) -> distributary_wire::error::ApiError {
    not_found(format!(
        "No resource policy found for {}.",
        arn.map(String::as_str).unwrap_or_default()
    ))
}
