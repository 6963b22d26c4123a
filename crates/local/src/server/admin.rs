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
//! | `POST subscriptions/end`, `/break`, `/mute`, `/unmute` | applies to the subscriptions that the selection in the body chooses |
//! | `GET stats` | answers the number of dropped records |
//! | `GET health` | answers `ok` |

use std::net::SocketAddr;

use bytes::Bytes;
use distributary_wire::transport::ResponseBody;
use http::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::Server;
use super::body::Body;
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
    // A web page in a browser on this machine may not call these paths. Browsers send `Origin`.
    let is_allowed = server.admin
        && peer.ip().to_canonical().is_loopback()
        && !head.headers.contains_key(ORIGIN);
    let (status, value) = if is_allowed {
        route(server, head, body)
    } else {
        error(
            StatusCode::FORBIDDEN,
            "call from a program on this machine, and start the server with the admin paths",
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
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').collect();
    let faults = server.local.faults();

    match (&head.method, segments.as_slice()) {
        (&Method::GET, ["health"]) => ok(json!({ "status": "ok" })),
        (&Method::GET, ["stats"]) => ok(json!({ "dropped": server.local.dropped() })),
        (&Method::GET, ["faults"]) => ok(json!({ "rules": faults.list() })),
        (&Method::DELETE, ["faults"]) => {
            faults.clear();
            ok(json!({}))
        }
        (&Method::POST, ["faults"]) => add_rule(faults, body),
        (&Method::DELETE, ["faults", id]) => match id.parse() {
            Ok(id) if faults.remove(id) => ok(json!({})),
            Ok(_) | Err(_) => error(StatusCode::NOT_FOUND, format!("no rule has the id {id}")),
        },
        (&Method::GET, ["gates", gate]) => ok(json!({ "held": faults.held(gate) })),
        (&Method::POST, ["gates", gate]) => ok(json!({ "released": faults.release(gate) })),
        (&Method::POST, ["iterators", "expire"]) => {
            faults.expire_iterators();
            ok(json!({}))
        }
        (&Method::POST, ["subscriptions", action]) => subscriptions(faults, action, body),
        (method, _) => error(
            StatusCode::NOT_FOUND,
            format!("{method} {path} does not exist; see docs/LOCAL.md"),
        ),
    }
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

    let count = match action {
        "end" => faults.end_subscriptions(&select, None),
        "break" => faults.break_subscriptions(&select),
        "mute" => faults.mute_subscriptions(&select, true),
        "unmute" => faults.mute_subscriptions(&select, false),
        _ => {
            return error(
                StatusCode::NOT_FOUND,
                format!("{action:?} is unknown; use end, break, mute or unmute"),
            );
        }
    };
    ok(json!({ "subscriptions": count }))
}
