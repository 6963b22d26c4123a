//! Any `Authorization` header or query is read without a panic.
#![no_main]

use distributary_wire::sigv4::claims;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &str)| {
    let (header, query) = input;
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-date", HeaderValue::from_static("20260131T000000Z"));

    let _ = claims(&headers, Some(query));
    let _ = claims(
        &headers,
        Some(&format!("X-Amz-Algorithm=a&X-Amz-Credential={query}")),
    );

    if let Ok(value) = HeaderValue::from_bytes(header) {
        headers.insert("authorization", value);
        if let Ok(claims) = claims(&headers, None) {
            assert!(!claims.region.is_empty() && !claims.access_key_id.is_empty());
        }
    }
});
