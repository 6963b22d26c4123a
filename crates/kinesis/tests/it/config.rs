//! The effect of the environment, AWS profiles and options. Environment variables belong to a whole
//! process, so each case runs this test program again, as `child`, with an environment of its own.

use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::Uri;
use async_trait::async_trait;
use bytes::Bytes;
use distributary_core::clock::Clock;
use distributary_kinesis::config::{ConnectError, ConnectOptions, Connector};
use distributary_kinesis::names::StreamRef;
use distributary_wire::codec::{Format, encode_answer};
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::transport::{Request, Response, ResponseBody, Transport, TransportError};
use distributary_wire::types::StreamStatus;

use crate::client::summary;

/// Answers as STS and Kinesis, and keeps the requests. A request with the key `REVOKED` is refused,
/// and another tool then writes a new key into the profile.
#[derive(Default)]
struct Aws(Mutex<Vec<(Uri, String, String)>>);

fn refusal() -> Response {
    let file = std::env::var("AWS_CONFIG_FILE").unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("REVOKED", "RENEWED")).unwrap();
    let error = ApiError::new(ErrorCode::ExpiredToken, "revoked");
    ::http::Response::builder()
        .status(error.status)
        .header("content-type", Format::Cbor.content_type())
        .body(ResponseBody::Full(error.encode(Format::Cbor)))
        .unwrap()
}

const ASSUMED: &str = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
    <AssumedRoleUser><AssumedRoleId>A:d</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/w/d</Arn></AssumedRoleUser>\
    <Credentials><AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>\
    <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>";

#[async_trait]
impl Transport for Aws {
    async fn call(&self, request: Request, _: Duration) -> Result<Response, TransportError> {
        let header = request
            .headers()
            .get("authorization")
            .map_or("", |v| v.to_str().unwrap_or_default())
            .to_owned();
        let body = String::from_utf8_lossy(&request.body().to_bytes()).into_owned();
        let uri = request.uri().clone();
        let sts = uri.host().is_some_and(|host| host.starts_with("sts."));
        let is_revoked = header.contains("REVOKED");
        self.0.lock().unwrap().push((uri, header, body));
        if is_revoked {
            return Ok(refusal());
        }
        let (kind, body) = if sts {
            ("text/xml", Bytes::from_static(ASSUMED.as_bytes()))
        } else {
            let answer = encode_answer(Format::Cbor, &summary(StreamStatus::Active));
            (Format::Cbor.content_type(), answer)
        };
        Ok(::http::Response::builder()
            .header("content-type", kind)
            .body(ResponseBody::Full(body))
            .unwrap())
    }
}

/// Connects as the variables say, and prints the endpoints and credentials of the requests.
#[tokio::test]
async fn child() {
    let Ok(stream) = std::env::var("CHILD_STREAM") else {
        return;
    };
    let option = |name: &str| std::env::var(name).ok();
    let options = ConnectOptions {
        region: option("CHILD_REGION"),
        profile: option("CHILD_PROFILE"),
        endpoint_url: option("CHILD_ENDPOINT"),
        role_arn: option("CHILD_ROLE"),
        external_id: option("CHILD_EXTERNAL_ID"),
        no_credentials: option("CHILD_LOCAL").is_some(),
    };
    let aws = Arc::new(Aws::default());
    let connector = Connector::over(Clock::real(), aws.clone());
    let stream: StreamRef = stream.parse().unwrap();
    let client = match connector.connect(&stream, &options).await {
        Ok(client) => client,
        Err(error) => return println!("ERROR {error}"),
    };
    if let Err(trouble) = client.describe(&stream).await {
        println!("TROUBLE {trouble}");
    }
    for (uri, authorization, body) in aws.0.lock().unwrap().iter() {
        let scope = authorization
            .split("Credential=")
            .nth(1)
            .unwrap_or("")
            .split(',')
            .next()
            .unwrap_or("");
        println!(
            "CALL {uri} {scope} {}",
            if uri.host().unwrap().starts_with("sts.") {
                body
            } else {
                ""
            }
        );
    }
    // The same again is the same client.
    let again = connector.connect(&stream, &options).await.unwrap();
    println!("SAME {}", again.same_server(&client));
}

/// Runs `child` with no variables of AWS in the environment but `env`.
fn run(env: &[(&str, &str)]) -> Vec<String> {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    let text = "[profile local]\nendpoint_url = http://127.0.0.1:4567\nregion = eu-west-3\n\
        aws_access_key_id = OF-PROFILE\naws_secret_access_key = s\n\
        [profile revoked]\naws_access_key_id = REVOKED\naws_secret_access_key = s\n\
        [profile service]\nregion = eu-west-3\nservices = here\naws_access_key_id = OF-PROFILE\n\
        aws_secret_access_key = s\n[services here]\nkinesis =\n  endpoint_url = http://127.0.0.1:9999\n";
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "config::child", "--nocapture"])
        .env_clear();
    command
        .env("HOME", home.path())
        .env("AWS_CONFIG_FILE", &config)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_SHARED_CREDENTIALS_FILE", home.path().join("none"));
    command
        .env("CHILD_STREAM", "orders")
        .envs(env.iter().copied());
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let ours = ["CALL", "ERROR", "TROUBLE", "SAME"];
    text.lines()
        .filter(|l| ours.iter().any(|o| l.starts_with(o)))
        .map(|l| l.trim_end().to_owned())
        .collect()
}

const KEY: [(&str, &str); 2] = [
    ("AWS_ACCESS_KEY_ID", "OF-ENV"),
    ("AWS_SECRET_ACCESS_KEY", "s"),
];

fn with_key<'a>(more: &[(&'a str, &'a str)]) -> Vec<String> {
    run(&[&KEY[..], more].concat())
}

fn day() -> String {
    distributary_wire::sigv4::amz_date(Clock::real().wall().0).unwrap()[..8].to_owned()
}

#[test]
fn endpoints_and_regions() {
    let arn = "arn:aws:kinesis:eu-north-1:1:stream/orders";
    for (env, uri, region) in [
        (
            &[("AWS_REGION", "eu-central-1")][..],
            "https://kinesis.eu-central-1.amazonaws.com/",
            "eu-central-1",
        ),
        (
            &[("AWS_DEFAULT_REGION", "cn-north-1")],
            "https://kinesis.cn-north-1.amazonaws.com.cn/",
            "cn-north-1",
        ),
        (
            &[
                ("AWS_REGION", "us-east-1"),
                ("CHILD_REGION", "us-east-2"),
                ("AWS_USE_FIPS_ENDPOINT", "true"),
            ],
            "https://kinesis-fips.us-east-2.amazonaws.com/",
            "us-east-2",
        ),
        (
            &[
                ("AWS_REGION", "us-east-1"),
                ("AWS_USE_DUALSTACK_ENDPOINT", "true"),
            ],
            "https://kinesis.us-east-1.api.aws/",
            "us-east-1",
        ),
        // The ARN of a stream names the region.
        (
            &[("CHILD_REGION", "us-east-1"), ("CHILD_STREAM", arn)],
            "https://kinesis.eu-north-1.amazonaws.com/",
            "eu-north-1",
        ),
        // A local server needs no region.
        (
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")],
            "http://127.0.0.1:1/",
            "us-east-1",
        ),
        (
            &[
                ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
                ("AWS_ENDPOINT_URL_KINESIS", "http://127.0.0.1:2"),
            ],
            "http://127.0.0.1:2/",
            "us-east-1",
        ),
        (
            &[
                ("AWS_ENDPOINT_URL_KINESIS", "http://127.0.0.1:2"),
                ("CHILD_ENDPOINT", "http://127.0.0.1:3/base"),
            ],
            "http://127.0.0.1:3/base",
            "us-east-1",
        ),
    ] {
        let scope = format!("OF-ENV/{}/{region}/kinesis/aws4_request", day());
        assert_eq!(
            with_key(env),
            [format!("CALL {uri} {scope}"), "SAME true".into()],
            "{env:?}"
        );
    }
    let ignored = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ("AWS_REGION", "eu-central-1"),
    ];
    assert!(with_key(&ignored)[0].starts_with("CALL https://kinesis.eu-central-1.amazonaws.com/ "));
}

#[test]
fn a_profile_that_was_rewritten_counts() {
    let env = [
        ("CHILD_PROFILE", "revoked"),
        ("CHILD_ENDPOINT", "http://127.0.0.1:1"),
    ];
    let lines = run(&env);
    assert!(lines[0].contains(" REVOKED/"), "{lines:?}");
    assert!(lines[1].contains(" RENEWED/"), "{lines:?}");
    assert_eq!(lines[2..], ["SAME true"]);
}

#[test]
fn profiles() {
    let scope = format!("OF-PROFILE/{}/eu-west-3/kinesis/aws4_request", day());
    let lines = run(&[("CHILD_PROFILE", "local")]);
    assert_eq!(
        lines,
        [
            format!("CALL http://127.0.0.1:4567/ {scope}"),
            "SAME true".into()
        ]
    );
    let lines = with_key(&[("CHILD_PROFILE", "local")]);
    assert!(
        lines[0].contains(" OF-PROFILE/"),
        "one that was named goes before keys in the environment: {lines:?}"
    );
    let lines = run(&[("AWS_PROFILE", "service")]);
    assert_eq!(
        lines,
        [
            format!("CALL http://127.0.0.1:9999/ {scope}"),
            "SAME true".into()
        ]
    );
}

#[test]
fn roles_are_assumed_over_our_transport() {
    let role = "arn:aws:iam::123456789012:role/writer";
    let lines = with_key(&[
        ("AWS_REGION", "eu-west-1"),
        ("CHILD_ROLE", role),
        ("CHILD_EXTERNAL_ID", "their-id"),
    ]);
    assert!(
        lines[0].starts_with("CALL https://sts.eu-west-1.amazonaws.com/ OF-ENV/"),
        "{lines:?}"
    );
    assert!(
        lines[0].contains("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fwriter"),
        "{lines:?}"
    );
    assert!(
        lines[0].contains("ExternalId=their-id")
            && lines[0].contains("RoleSessionName=distributary")
    );
    let scope = format!("ASSUMED/{}/eu-west-1/kinesis/aws4_request", day());
    assert_eq!(
        lines[1],
        format!("CALL https://kinesis.eu-west-1.amazonaws.com/ {scope}")
    );
}

#[test]
fn missing_settings_are_named() {
    let error = ConnectError::NoRegion;
    assert_eq!(with_key(&[]), [format!("ERROR {error}")]);
    let lines = run(&[("AWS_REGION", "eu-central-1")]);
    assert!(
        lines[0].starts_with("TROUBLE ") && lines[0].contains("no AWS credentials were found"),
        "{lines:?}"
    );
    let lines = with_key(&[("CHILD_ENDPOINT", "localhost:4567")]);
    assert!(
        lines[0].contains("is no endpoint: expected http://host[:port]"),
        "{lines:?}"
    );
    let lines = with_key(&[("CHILD_PROFILE", "nowhere"), ("AWS_REGION", "eu-central-1")]);
    assert!(
        lines[0].contains("the AWS profile \"nowhere\" does not exist or has no credentials"),
        "{lines:?}"
    );
}

#[test]
fn a_local_server_is_called_without_settings_of_aws() {
    let lines = with_key(&[
        ("CHILD_LOCAL", "1"),
        ("CHILD_ENDPOINT", "http://127.0.0.1:4567"),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ]);
    let scope = format!("local/{}/us-east-1/kinesis/aws4_request", day());
    assert_eq!(
        lines,
        [
            format!("CALL http://127.0.0.1:4567/ {scope}"),
            "SAME true".into()
        ]
    );
}
