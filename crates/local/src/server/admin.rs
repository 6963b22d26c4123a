//! The paths under `/_distributary/`: misbehaviour over HTTP, for callers on this machine only.
//!
//! | call | does |
//! | --- | --- |
//! | `GET faults` | lists the rules and what became of them |
//! | `POST faults` | adds the rule in the body; answers its id |
//! | `DELETE faults` | removes all rules, opens all gates |
//! | `DELETE faults/{id}` | removes a rule |
//! | `POST gates/{gate}` | releases the calls held at a gate; answers how many |
//! | `GET gates/{gate}` | how many calls are held there |
//! | `POST iterators/expire` | expires all shard iterators given out so far |
//! | `POST subscriptions/end`, `/break`, `/mute`, `/unmute` | to those that the selection in the body chooses |
//! | `GET stats` | what retention has dropped |
//! | `GET health` | that it runs |

use std::net::SocketAddr;

use bytes::Bytes;
use distributary_wire::transport::ResponseBody;
use http::header::{CONTENT_TYPE, HeaderValue, ORIGIN};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::Server;
use super::body::Body;
use crate::faults::{Rule, Select};

/// Where the paths begin.
pub(super) const PREFIX: &str = "/_distributary/";

type Told = (StatusCode, Value);

fn wrong(status: StatusCode, message: impl Into<String>) -> Told {
    (status, json!({ "error": message.into() }))
}

pub(super) fn answer(
    server: &Server,
    head: &Parts,
    body: &Bytes,
    peer: SocketAddr,
) -> Response<Body> {
    // A page in a browser on this machine could call it too; browsers say so.
    let allowed = server.admin
        && peer.ip().to_canonical().is_loopback()
        && !head.headers.contains_key(ORIGIN);
    let (status, value) = if allowed {
        route(server, head, body)
    } else {
        wrong(
            StatusCode::FORBIDDEN,
            "only for programs on this machine, and only if it is turned on",
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

fn route(server: &Server, head: &Parts, body: &Bytes) -> Told {
    let path = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let parts: Vec<&str> = path.split('/').collect();
    let faults = server.local.faults();
    let ok = |value: Value| (StatusCode::OK, value);
    match (&head.method, parts.as_slice()) {
        (&Method::GET, ["health"]) => ok(json!({ "status": "ok" })),
        (&Method::GET, ["stats"]) => ok(json!({ "dropped": server.local.dropped() })),
        (&Method::GET, ["faults"]) => ok(json!({ "rules": faults.list() })),
        (&Method::DELETE, ["faults"]) => {
            faults.clear();
            ok(json!({}))
        }
        (&Method::POST, ["faults"]) => match serde_json::from_slice::<Rule>(body) {
            Ok(rule) => match faults.add(rule) {
                Ok(id) => ok(json!({ "id": id })),
                Err(error) => wrong(StatusCode::BAD_REQUEST, error.to_string()),
            },
            Err(error) => wrong(StatusCode::BAD_REQUEST, error.to_string()),
        },
        (&Method::DELETE, ["faults", id]) => match id.parse() {
            Ok(id) if faults.remove(id) => ok(json!({})),
            Ok(_) | Err(_) => wrong(StatusCode::NOT_FOUND, format!("there is no rule {id}")),
        },
        (&Method::GET, ["gates", gate]) => ok(json!({ "held": faults.held(gate) })),
        (&Method::POST, ["gates", gate]) => ok(json!({ "released": faults.release(gate) })),
        (&Method::POST, ["iterators", "expire"]) => {
            faults.expire_iterators();
            ok(json!({}))
        }
        (&Method::POST, ["subscriptions", what]) => subscriptions(server, what, body),
        _ => wrong(
            StatusCode::NOT_FOUND,
            format!("{} {path} is nothing; see docs/LOCAL.md", head.method),
        ),
    }
}

fn subscriptions(server: &Server, what: &str, body: &Bytes) -> Told {
    let faults = server.local.faults();
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    let select: Select = match serde_json::from_slice(body) {
        Ok(select) => select,
        Err(error) => return wrong(StatusCode::BAD_REQUEST, error.to_string()),
    };
    let count = match what {
        "end" => faults.end_subscriptions(&select, None),
        "break" => faults.break_subscriptions(&select),
        "mute" => faults.mute_subscriptions(&select, true),
        "unmute" => faults.mute_subscriptions(&select, false),
        _ => {
            return wrong(
                StatusCode::NOT_FOUND,
                format!("{what} is none of end, break, mute and unmute"),
            );
        }
    };
    (StatusCode::OK, json!({ "subscriptions": count }))
}
