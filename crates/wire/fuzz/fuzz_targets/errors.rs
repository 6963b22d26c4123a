//! Any body with any status is an error that can be shown; an error that this crate writes is read
//! back the same.
#![no_main]

use distributary_wire::codec::Format;
use distributary_wire::error::ApiError;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &str, &str, &[u8])| {
    let (status, content_type, error_type, body) = input;
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", content_type),
        ("x-amzn-errortype", error_type),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }

    let error = ApiError::decode(status, &headers, body);
    let _ = error.to_string();

    for format in Format::ALL {
        let again = ApiError::decode_body(
            status,
            Some(format.content_type()),
            &error.encode(format),
            None,
        );
        assert_eq!(again.message, error.message);
    }
});
