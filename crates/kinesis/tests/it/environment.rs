//! Profiles, proxies and sources of credentials of the environment, over HTTP. As in `config`, each
//! case runs this test program again.

use std::path::Path;
use std::process::Command;

use distributary_core::clock::Clock;
use distributary_kinesis::config::{ConnectOptions, Connector};
use distributary_kinesis::names::StreamRef;

use crate::http::{Act, Server, ok, tls};

const KEYS: &str =
    r#"{"AccessKeyId":"A","SecretAccessKey":"s","Token":"t","Expiration":"2099-01-01T00:00:00Z"}"#;
/// The name of the variable that tells the address to the child.
const ADDRESS: &str = "CHILD_ADDRESS";

/// Describes a stream at the address, and prints the outcome.
#[tokio::test]
async fn child() {
    let Ok(endpoint) = std::env::var(ADDRESS) else {
        return;
    };
    let options = ConnectOptions {
        endpoint_url: Some(endpoint),
        profile: std::env::var("CHILD_PROFILE").ok(),
        ..ConnectOptions::default()
    };
    let connector = Connector::new(Clock::real()).unwrap();
    let stream: StreamRef = "orders".parse().unwrap();
    match connector.connect(&stream, &options).await {
        Ok(client) => println!(
            "{:?}",
            client.describe(&stream).await.map_err(|e| e.to_string())
        ),
        Err(error) => println!("{error}"),
    }
}

/// The output of `child` with these variables, and a profile with these lines.
async fn run(profile: &str, env: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    std::fs::write(
        &config,
        format!("[profile own]\nregion = eu-west-3\n{profile}"),
    )
    .unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "environment::child", "--nocapture"])
        .env_clear();
    command
        .env("HOME", home.path())
        .env("AWS_CONFIG_FILE", &config);
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_SHARED_CREDENTIALS_FILE", home.path().join("none"));
    command.envs(env.iter().copied());

    let done = tokio::task::spawn_blocking(move || command.output().unwrap());
    let text = String::from_utf8(done.await.unwrap().stdout).unwrap();
    drop(home);
    text
}

fn bundle(path: &Path) -> String {
    format!(
        "aws_access_key_id = A\naws_secret_access_key = s\nca_bundle = {}\n",
        path.display()
    )
}

#[tokio::test]
async fn the_ca_bundle_of_the_profile_counts() {
    let (acceptor, ca) = tls();
    let server = Server::start(Some(acceptor), |_, _| Act::Reply(ok(b"?"))).await;
    let env = [
        (ADDRESS, server.url("https")),
        ("CHILD_PROFILE", "own".to_owned()),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));

    let text = run(&bundle(ca.path()), &env).await;
    assert!(!server.seen().is_empty(), "{text}");
    let text = run(&bundle(Path::new("/nowhere")), &env).await;
    assert!(
        text.contains("the CA bundle /nowhere cannot be read"),
        "{text}"
    );
}

#[tokio::test]
async fn credentials_of_this_machine_are_asked_for_without_a_proxy() {
    let source = Server::start(None, |_, _| Act::Reply(ok(KEYS.as_bytes()))).await;
    let proxy = Server::start(None, |_, _| Act::Reply(ok(b"?"))).await;
    let through = format!("http://{}", proxy.address);
    let keys = format!("http://{}/keys", source.address);
    let text = run(
        "",
        &[
            (ADDRESS, "http://kinesis.example/"),
            ("AWS_REGION", "eu-west-3"),
            ("HTTP_PROXY", &through),
            ("http_proxy", &through),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &keys),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Basic secret"),
        ],
    )
    .await;

    assert!(source.seen()[0].head.starts_with("GET /keys "), "{text}");
    // The requests to Kinesis go through the proxy.
    let heads: Vec<String> = proxy.seen().into_iter().map(|seen| seen.head).collect();
    assert!(!heads.is_empty(), "{text}");
    assert!(
        heads.iter().all(|head| head.contains("kinesis.example")),
        "{heads:?}"
    );
}
