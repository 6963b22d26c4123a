//! Tells requests of web pages from those of programs.
//!
//! A page in a browser on this machine can send requests to servers of this machine: with an
//! `Origin`, or with `Sec-Fetch-Site`; or, by a name of the page's own that leads to 127.0.0.1 (DNS
//! rebinding), with that name as `Host`.

use std::net::IpAddr;

use http::header::{HOST, HeaderValue, ORIGIN};
use http::request::Parts;

/// Names of this machine, besides addresses and names that end in `.localhost`.
const NAMES: [&str; 2] = ["localhost", "host.docker.internal"];

/// True if a browser sent the request for a page. An address that the user typed is no page's.
pub fn is_of_page(head: &Parts) -> bool {
    let site = head.headers.get("sec-fetch-site");
    let is_for_page = site.is_some_and(|site| site != "none");
    is_for_page || head.headers.contains_key(ORIGIN)
}

/// True if the request names its server by an address or as this machine, or not at all.
pub fn names_this_machine(head: &Parts) -> bool {
    let of_header = head.headers.get(HOST).map(HeaderValue::to_str);
    let authority = match (head.uri.authority(), of_header) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(Ok(host))) => host,
        (None, Some(Err(_))) => return false,
        (None, None) => return true,
    };

    let host = host_of(authority);
    let is_name = NAMES.iter().any(|name| host.eq_ignore_ascii_case(name));
    is_name || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok()
}

/// The host without port and brackets.
fn host_of(authority: &str) -> &str {
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split(']').next().unwrap_or_default();
    }
    authority.split(':').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn names_of_other_machines_are_refused() {
        for host in [
            "127.0.0.1:4567",
            "[::1]:4567",
            "10.0.0.7",
            "localhost",
            "kinesis.localhost:80",
        ] {
            assert!(names_this_machine(&head(&[("host", host)])), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:4567",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
        ] {
            assert!(!names_this_machine(&head(&[("host", host)])), "{host}");
        }
        assert!(names_this_machine(&head(&[])));
    }

    #[test]
    fn browsers_say_that_a_page_asks() {
        assert!(is_of_page(&head(&[("origin", "null")])));
        for site in ["same-origin", "same-site", "cross-site"] {
            assert!(is_of_page(&head(&[("sec-fetch-site", site)])), "{site}");
        }
        assert!(!is_of_page(&head(&[("sec-fetch-site", "none")])));
        assert!(!is_of_page(&head(&[])));
    }
}
