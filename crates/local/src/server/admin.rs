//! The paths under `/_distributary/`: faults over HTTP, for callers on this machine only.
//!
//! | call | effect |
//! | --- | --- |
//! | `GET faults` | lists the rules and how many calls each applied to |
//! | `POST faults` | adds the rule in the body; answers the rule's id |
//! | `DELETE faults` | removes all rules, releases all gates |
//! | `DELETE faults/{id}` | removes a rule |
//! | `POST gates/{gate}` | releases the calls held at a gate; answers their number |
//! | `GET gates/{gate}` | answers the number of calls held at a gate |
//! | `POST iterators/expire` | expires all shard iterators made so far |
//! | `POST subscriptions/{action}` | `end`, `break`, `mute`, `unmute` selected subscriptions |
//! | `GET stats` | answers the number of dropped records |
//! | `GET health` | answers `ok` |

use std::net::SocketAddr;

use bytes::Bytes;
use distributary_wire::transport::ResponseBody;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::body::Body;
use super::{Server, pages};
use crate::faults::{Faults, Rule, Select};

/// Prefix of the paths.
pub(super) const PREFIX: &str = "/_distributary/";

type Reply = (StatusCode, Value);

fn ok(value: Value) -> Reply {
    (StatusCode::OK, value)
}

fn error(status: StatusCode, message: impl Into<String>) -> Reply {
    (status, json!({ "error": message.into() }))
}

fn bad_request(cause: impl std::error::Error) -> Reply {
    error(StatusCode::BAD_REQUEST, cause.to_string())
}

pub(super) fn answer(
    server: &Server,
    head: &Parts,
    body: &Bytes,
    peer: SocketAddr,
) -> Response<Body> {
    // A web page in a browser on this machine may not call these paths.
    let is_allowed = server.admin
        && peer.ip().to_canonical().is_loopback()
        && !pages::is_of_page(head)
        && pages::names_this_machine(head);
    let (status, value) = if is_allowed {
        route(server, head, body)
    } else {
        error(
            StatusCode::FORBIDDEN,
            "call from a program on this machine, by the name localhost or an address, and start the \
             server with the admin paths",
        )
    };

    let text = format!("{value}\n");
    let mut response = Response::new(Body::whole(ResponseBody::Full(text.into())));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn route(server: &Server, head: &Parts, body: &Bytes) -> Reply {
    let method = &head.method;
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let (resource, name) = match path.split_once('/') {
        Some((resource, name)) => (resource, Some(name)),
        None => (path, None),
    };
    let local = &server.local;
    let faults = local.faults();

    let reply = match (resource, name) {
        ("health", None) => get_only(method, || json!({ "status": "ok" })),
        ("stats", None) => get_only(method, || json!({ "dropped": local.dropped() })),
        ("faults", id) => rules(faults, method, id, body),
        ("gates", Some(gate)) => gates(faults, method, gate),
        ("iterators", Some("expire")) if *method == Method::POST => {
            faults.expire_iterators();
            Some(ok(json!({})))
        }
        ("subscriptions", Some(action)) if *method == Method::POST => {
            Some(subscriptions(faults, action, body))
        }
        _ => None,
    };
    reply.unwrap_or_else(|| not_found(method, path))
}

fn not_found(method: &Method, path: &str) -> Reply {
    error(
        StatusCode::NOT_FOUND,
        format!("{method} {path} does not exist; see docs/LOCAL.md"),
    )
}

fn get_only(method: &Method, value: impl FnOnce() -> Value) -> Option<Reply> {
    (*method == Method::GET).then(|| ok(value()))
}

/// The paths `faults` and `faults/{id}`; `None` for a method that does not exist.
fn rules(faults: &Faults, method: &Method, id: Option<&str>, body: &Bytes) -> Option<Reply> {
    match (method, id) {
        (&Method::GET, None) => Some(ok(json!({ "rules": faults.list() }))),
        (&Method::POST, None) => Some(add_rule(faults, body)),
        (&Method::DELETE, None) => {
            faults.clear();
            Some(ok(json!({})))
        }
        (&Method::DELETE, Some(id)) => Some(remove_rule(faults, id)),
        _ => None,
    }
}

/// The path `gates/{gate}`; `None` for a method that does not exist.
fn gates(faults: &Faults, method: &Method, gate: &str) -> Option<Reply> {
    match *method {
        Method::GET => Some(ok(json!({ "held": faults.held(gate) }))),
        Method::POST => Some(ok(json!({ "released": faults.release(gate) }))),
        _ => None,
    }
}

fn remove_rule(faults: &Faults, id: &str) -> Reply {
    let is_removed = id.parse().is_ok_and(|id| faults.remove(id));
    if is_removed {
        return ok(json!({}));
    }
    error(StatusCode::NOT_FOUND, format!("no rule has the id {id}"))
}

fn add_rule(faults: &Faults, body: &Bytes) -> Reply {
    let rule = match serde_json::from_slice::<Rule>(body) {
        Ok(rule) => rule,
        Err(error) => return bad_request(error),
    };
    match faults.add(rule) {
        Ok(id) => ok(json!({ "id": id })),
        Err(error) => bad_request(error),
    }
}

fn subscriptions(faults: &Faults, action: &str, body: &Bytes) -> Reply {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    let select: Select = match serde_json::from_slice(body) {
        Ok(select) => select,
        Err(error) => return bad_request(error),
    };

    match apply(faults, action, &select) {
        Some(count) => ok(json!({ "subscriptions": count })),
        None => error(
            StatusCode::NOT_FOUND,
            format!("{action:?} is unknown; use end, break, mute or unmute"),
        ),
    }
}

/// The number of selected subscriptions; `None` for an unknown action.
fn apply(faults: &Faults, action: &str, select: &Select) -> Option<usize> {
    match action {
        "end" => Some(faults.end_subscriptions(select, None)),
        "break" => Some(faults.break_subscriptions(select)),
        "mute" => Some(faults.mute_subscriptions(select, true)),
        "unmute" => Some(faults.mute_subscriptions(select, false)),
        _ => None,
    }
}
