//! Everything that the program prints, before a server that repeats each request in its refusal:
//! no key, token, signature or password is in any of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::json;

use crate::daemon::{Daemon, Dir, get};
use crate::served::{Running, Served, program, until};
use crate::surroundings::free_address;

const KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "IQoJb3JpZ2luX2VjEOT//////////wEaCWV1LXdlc3QtMSJHMEUCIQDexampletoken==";
const ROLE_KEY: &str = "role0XUtnFEMI/K7MDENG/bPxRfiCYROLEKEY0000";
const ROLE_TOKEN: &str = "FwoGZXIvYXdzEBYaDGRole/////////wEaDGV4YW1wbGUrolesessiontoken==";
const PASSWORD: &str = "correct-horse-battery";

/// Starts a server that refuses every request of Kinesis with all that the request holds, and
/// gives a role to everybody. Runs until the end of the test's process.
fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut request = Vec::new();
    let mut part = [0; 4096];
    loop {
        let head = request.windows(4).position(|w| w == b"\r\n\r\n");
        let text = String::from_utf8_lossy(&request).into_owned();
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().ok())?
        });
        if head.is_some_and(|head| request.len() >= head + 4 + length.unwrap_or(0)) {
            let (status, kind, body) = reply(&text);
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nx-amzn-requestid: r\r\nconnection: \
                 close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all((head + &body).as_bytes());
            return;
        }
        match stream.read(&mut part) {
            Ok(n) if n > 0 => request.extend_from_slice(&part[..n]),
            _ => return,
        }
    }
}

fn reply(request: &str) -> (u16, &'static str, String) {
    if request.contains("Action=AssumeRole") {
        let body = format!(
            "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
             <AssumedRoleUser><AssumedRoleId>A:x</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/a/x</Arn>\
             </AssumedRoleUser><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>{ROLE_KEY}\
             </SecretAccessKey><SessionToken>{ROLE_TOKEN}</SessionToken><Expiration>2099-01-01T00:00:00Z\
             </Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"
        );
        return (200, "text/xml", body);
    }
    let message = format!(
        "{} The Canonical String for this request: {request}",
        request.replace("\r\n", " ")
    );
    let body = json!({ "__type": "InvalidSignatureException", "message": message });
    (403, "application/x-amz-json-1.1", body.to_string())
}

fn command(server: &str, args: &[&str]) -> Command {
    let mut command = program(args);
    command
        .env("AWS_ENDPOINT_URL", format!("http://{server}"))
        .env("AWS_SECRET_ACCESS_KEY", KEY)
        .env("AWS_SESSION_TOKEN", TOKEN)
        .env("DISTRIBUTARY_LOG", "trace");
    command
}

/// Fails if `text` holds a secret, a part of one, or a signature.
#[track_caller]
fn assert_clean(text: &str) {
    for secret in [KEY, TOKEN, ROLE_KEY, ROLE_TOKEN] {
        for part in [&secret[..16], &secret[secret.len() - 12..]] {
            let line = text.lines().find(|line| line.contains(part));
            assert_eq!(line, None, "{part}");
        }
    }
    assert!(!text.contains(PASSWORD), "{text}");
    let signature = text.split("Signature=").skip(1).find(|rest| {
        let hex = rest.bytes().take_while(u8::is_ascii_hexdigit);
        hex.count() >= 8
    });
    assert_eq!(signature, None);
}

#[test]
fn no_command_prints_a_secret() {
    let server = echo();
    for args in [
        ["put", "input", "x"].as_slice(),
        &["tail", "input"],
        &["verify", "--from", "input", "--to", "output"],
        &[
            "run",
            "--from",
            "input",
            "--to",
            "output",
            "--log-format",
            "json",
        ],
    ] {
        let done = Running::start(command(&server, args)).wait();
        assert_ne!(done.code, Some(0));
        assert!(done.err.contains("InvalidSignature"), "{}", done.err);
        assert_clean(&done.err);
        assert_clean(&done.text());
    }
}

#[test]
fn the_keys_of_a_role_are_not_printed() {
    let (server, dir) = (echo(), Dir::new());
    let role = "arn:aws:iam::123456789012:role/a";
    let file =
        format!("from = \"input\"\n[[output]]\nstream = \"output\"\nrole-arn = \"{role}\"\n");
    std::fs::write(dir.path("d.toml"), file).unwrap();
    let (file, state) = (dir.text("d.toml"), dir.text("state.db"));

    let args = ["run", "-c", &file, "--state", &state];
    let done = Running::start(command(&server, &args)).wait();
    assert!(done.err.contains("InvalidSignature"), "{}", done.err);
    assert!(done.err.contains("[redacted]"), "{}", done.err);
    assert_clean(&done.err);
}

#[test]
fn metrics_and_status_hold_no_secret() {
    let served = Served::new(&[("input", 1), ("output", 1)]);
    let signature = "0123456789abcdef".repeat(4);
    let refusal = json!({
        "select": { "operations": ["PutRecords"], "stream": "output" },
        "action": { "error": {
            "code": "InvalidSignatureException",
            "message": format!("refused\n\u{1b}[2JERROR {KEY} {TOKEN} Signature={signature}"),
        } },
    });
    let rule = serde_json::from_value(refusal).unwrap();
    let (dir, address) = (Dir::new(), free_address());
    let control = format!("unix:{}", dir.text("control"));
    let to = ["--from", "input", "--to", "output"];
    let rest = ["--metrics", &address, "--control", &control];
    let mut command = dir.run(&served, &[to, rest].concat());
    command
        .env("AWS_SECRET_ACCESS_KEY", KEY)
        .env("AWS_SESSION_TOKEN", TOKEN);
    let mut daemon = Daemon::start(command, &dir.path("log"));
    daemon.says("copying");
    served.local.faults().add(rule).unwrap();
    served.put("input", &[("k", "1")]);
    let log = daemon.says("InvalidSignatureException");

    let status = until("a status with the error", || {
        let status = served.run(&["ctl", "--control", &control, "status"]);
        let text = status.expect(0).text();
        text.contains("[redacted]").then_some(text)
    });
    let pages = ["/metrics", "/readyz", "/healthz"].map(|path| get(&address, path).1);
    assert!(!log.contains("\nERROR") && !log.contains('\u{1b}'), "{log}");
    for text in [&log, &status, &pages.concat()] {
        assert_clean(text);
    }
}

#[test]
fn a_password_in_an_endpoint_is_not_repeated() {
    let url = format!("http://user:{PASSWORD}@127.0.0.1:1");
    for args in [
        ["put", "input", "x"].as_slice(),
        &["run", "--from", "input", "--to", "output"],
    ] {
        let mut command = program(args);
        command.env("AWS_ENDPOINT_URL", &url);
        let done = Running::start(command).wait();
        assert_eq!(done.code, Some(2), "{}", done.err);
        assert!(done.err.contains("user name or password"), "{}", done.err);
        assert_clean(&done.err);
    }
}
