//! Signatures compared with the signatures of AWS's own signer.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4::SigningParams;
use bytes::Bytes;
use distributary_wire::codec::Format;
use distributary_wire::op::Operation;
use distributary_wire::sigv4::{Claims, Credentials, Signer, UnsignedRequest, claims};
use distributary_wire::transport::RequestBody;
use http::Uri;
use proptest::prelude::*;
use ring::digest;

/// The `Authorization` header that AWS's signer computes for the same request.
fn reference(
    request: &http::Request<RequestBody>,
    credentials: &Credentials,
    region: &str,
    now_ms: i64,
) -> String {
    let identity = AwsCredentials::new(
        credentials.access_key_id.clone(),
        credentials.secret_access_key.clone(),
        credentials.session_token.clone(),
        None,
        "test",
    )
    .into();

    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Double;
    let params = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("kinesis")
        .time(UNIX_EPOCH + Duration::from_millis(now_ms as u64))
        .settings(settings)
        .build()
        .unwrap()
        .into();

    let body = request.body().to_bytes();
    // AWS's signer adds the headers for the date and the token.
    let headers = request.headers().iter().filter_map(|(name, value)| {
        let ours = ["content-type", "x-amz-target", "host"].contains(&name.as_str());
        ours.then(|| (name.as_str(), value.to_str().unwrap()))
    });

    let uri = request.uri().to_string();
    let signable = SignableRequest::new("POST", uri, headers, SignableBody::Bytes(&body)).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let (headers, _) = instructions.into_parts();
    headers
        .into_iter()
        .find(|h| h.name() == "authorization")
        .unwrap()
        .value()
        .to_owned()
}

fn text(pattern: &'static [char], len: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(pattern), len)
        .prop_map(|cs| cs.into_iter().collect())
}

const ALPHABET: &[char] = &['A', 'z', '0', '9', '+', '/', '=', 'q'];

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn signatures_are_those_of_aws(
        secret in text(ALPHABET, 1..50),
        token in proptest::option::of(text(ALPHABET, 1..400)),
        shared in proptest::collection::vec(any::<u8>(), 0..300),
        tail in proptest::collection::vec(any::<u8>(), 0..100),
        operation in proptest::sample::select(Operation::ALL),
        format in proptest::sample::select(Format::ALL.to_vec()),
        now_ms in 0i64..4_000_000_000_000,
        hashed: bool,
        endpoint in proptest::sample::select(vec![
            "https://kinesis.eu-central-1.amazonaws.com",
            "https://kinesis.eu-central-1.amazonaws.com:443/",
            "http://127.0.0.1:4567",
            "http://localhost:80/a/path",
            "http://localhost:8080/odd%20path/~x:y@z",
        ]),
    ) {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: secret,
            session_token: token,
        };
        let endpoint: Uri = endpoint.parse().unwrap();
        let mut state = digest::Context::new(&digest::SHA256);
        state.update(&shared);
        let body = RequestBody {
            shared: shared.into(),
            tail: tail.into(),
        };
        let signer = Signer::new();

        // Another day between two equal days: the cached key must not sign the other day.
        for now_ms in [now_ms, now_ms + 86_400_000, now_ms] {
            for region in ["eu-central-1", "us-east-1"] {
                let unsigned = UnsignedRequest {
                    endpoint: &endpoint,
                    operation,
                    format,
                    region,
                    now_ms,
                };
                let request = signer
                    .request(
                        &unsigned,
                        &credentials,
                        body.clone(),
                        hashed.then_some(&state),
                    )
                    .unwrap();
                let ours = request.headers()["authorization"].to_str().unwrap();
                prop_assert_eq!(ours, reference(&request, &credentials, region, now_ms));
                let read = claims(request.headers(), None).unwrap();
                let day = &request.headers()["x-amz-date"].to_str().unwrap()[..8];
                let expected = Claims {
                    access_key_id: "AKIDEXAMPLE".into(),
                    date: day.into(),
                    region: region.into(),
                    service: "kinesis".into(),
                };
                prop_assert_eq!(read, expected);
            }
        }
    }

    #[test]
    fn claims_of_garbage_never_panic(header in "\\PC{0,200}", query in "\\PC{0,200}") {
        let mut headers = http::HeaderMap::new();
        if let Ok(value) = http::HeaderValue::from_str(&header) {
            headers.insert("authorization", value);
        }
        let _ = claims(&headers, Some(&query));
        let _ = claims(&headers, Some(&format!("X-Amz-Algorithm=&{query}")));
    }
}

#[test]
fn the_request_is_whole() {
    let endpoint: Uri = "http://127.0.0.1:4567".parse().unwrap();
    let credentials = Credentials {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
        session_token: Some("token".into()),
    };
    let unsigned = UnsignedRequest {
        endpoint: &endpoint,
        operation: Operation::ListStreams,
        format: Format::Cbor,
        region: "eu-central-1",
        now_ms: 1_440_938_160_000,
    };
    let body = RequestBody::whole(Bytes::from_static(b"\xa0"));
    let request = Signer::new()
        .request(&unsigned, &credentials, body, None)
        .unwrap();

    let header = |name: &str| request.headers()[name].to_str().unwrap();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri(), "http://127.0.0.1:4567/");
    assert_eq!(header("host"), "127.0.0.1:4567");
    assert_eq!(header("content-type"), "application/x-amz-cbor-1.1");
    assert_eq!(header("x-amz-target"), "Kinesis_20131202.ListStreams");
    assert_eq!(header("x-amz-date"), "20150830T123600Z");
    assert_eq!(header("x-amz-security-token"), "token");

    let shown = format!("{credentials:?} {:?}", request.headers());
    assert!(
        !shown.contains("wJalr") && !shown.contains("\"token\"") && !shown.contains("Signature="),
        "{shown}"
    );
}

#[test]
fn a_request_that_cannot_be_signed_is_an_error() {
    let credentials = Credentials {
        access_key_id: "A\n".into(),
        secret_access_key: "s".into(),
        session_token: None,
    };
    let sign = |endpoint: &str, now_ms| {
        let endpoint: Uri = endpoint.parse().unwrap();
        let unsigned = UnsignedRequest {
            endpoint: &endpoint,
            operation: Operation::ListStreams,
            format: Format::Json,
            region: "r",
            now_ms,
        };
        Signer::new()
            .request(&unsigned, &credentials, RequestBody::default(), None)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        sign("/path", 0),
        "the endpoint /path has no host; give it as https://host[:port]"
    );
    assert!(sign("http://h", 0).starts_with("the access key has characters"));
    assert!(sign("http://h", i64::MAX).ends_with("check the clock"));
}

#[test]
fn claims_of_a_presigned_url() {
    let query = "Action=x&X-Amz-Algorithm=AWS4-HMAC-SHA256\
                 &X-Amz-Credential=AKID%2F20260131%2Feu-west-1%2Fkinesis%2Faws4_request\
                 &X-Amz-Date=20260131T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00";
    let read = claims(&http::HeaderMap::new(), Some(query)).unwrap();
    assert_eq!(
        (read.region.as_str(), read.access_key_id.as_str()),
        ("eu-west-1", "AKID")
    );

    let error = claims(
        &http::HeaderMap::new(),
        Some("X-Amz-Algorithm=AWS4-HMAC-SHA256"),
    )
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with("AWS query-string parameters must include 'X-Amz-Credential'. "),
        "{error}"
    );
}

#[test]
fn missing_parts_of_a_header_are_named() {
    let error = |value: &str| {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", value.parse().unwrap());
        headers.insert("x-amz-date", "20260131T000000Z".parse().unwrap());
        claims(&headers, None).unwrap_err().to_string()
    };
    assert_eq!(
        claims(&http::HeaderMap::new(), None)
            .unwrap_err()
            .to_string(),
        "Missing Authentication Token"
    );
    assert_eq!(
        error("AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b"),
        "Authorization header requires 'Signature' parameter. \
         Authorization=AWS4-HMAC-SHA256 Credential=a, SignedHeaders=b"
    );
    assert!(
        error("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=b, Signature=c")
            .starts_with("Credential must have")
    );
}
