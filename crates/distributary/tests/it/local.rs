//! `distributary local`.

use std::io::{BufRead, BufReader};
use std::process::Command;

use crate::served::{Done, Running, finish, program, scratch};

/// The program as a server, and the address that it told.
fn serve(args: &[&str]) -> (Running, String) {
    let mut all = vec!["local", "--listen", "127.0.0.1:0"];
    all.extend_from_slice(args);
    let mut running = Running::start(program(&all));
    let mut out = BufReader::new(running.child.stdout.as_mut().unwrap());
    let mut url = String::new();
    out.read_line(&mut url).unwrap();
    (running, url.trim_end().to_owned())
}

fn call(url: &str, args: &[&str]) -> Done {
    let mut command: Command = program(args);
    command.env("AWS_ENDPOINT_URL", url);
    finish(command, b"")
}

#[test]
fn it_serves_the_streams_that_were_named() {
    for signal in ["TERM", "INT"] {
        let streams = ["--stream", "input:2", "--stream", "output1"];
        let (running, url) = serve(&[&streams[..], &["--request-log", "stderr"]].concat());
        assert!(
            url.starts_with("http://127.0.0.1:") && !url.ends_with(":0"),
            "{url}"
        );
        call(&url, &["put", "input", "--key", "k", "x"]).expect(0);
        let done = call(&url, &["tail", "input", "--limit", "1", "--format", "raw"]).expect(0);
        assert_eq!(done.text(), "x\n");
        call(&url, &["put", "output1", "x"]).expect(0);
        call(&url, &["put", "output2", "x"]).expect(1);
        running.signal(signal);
        let done = running.wait().expect(0);
        assert!(done.err.contains("\"PutRecords input -\""), "{}", done.err);
        assert!(
            done.err.contains("ResourceNotFoundException"),
            "{}",
            done.err
        );
    }
}

#[test]
fn it_prints_everything_that_a_client_needs() {
    let (running, url) = serve(&["--region", "eu-west-1", "--stream", "input:1"]);
    let health = crate::daemon::get(url.trim_start_matches("http://"), "/_distributary/health");
    assert_eq!(health.0, 200);

    // The region of the tests' programs is us-east-1.
    call(&url, &["put", "input", "x"]).expect(1);
    running.signal("TERM");
    let err = running.wait().expect(0).err;
    for text in [
        &format!("AWS_ENDPOINT_URL={url}"),
        "AWS_REGION=eu-west-1 AWS_DEFAULT_REGION=eu-west-1",
        "AWS_ACCESS_KEY_ID=x",
        &format!("{url}/_distributary/health"),
        "stream input was asked for in region us-east-1",
        "exists in region eu-west-1",
    ] {
        assert!(err.contains(text), "{text}: {err}");
    }
    assert!(!err.contains("\"POST /"), "no line for each request: {err}");
}

#[test]
fn tls_with_a_certificate_that_clients_can_trust() {
    let (_dir, path) = scratch();
    let pem = path.join("ca.pem");
    let pem = pem.to_str().unwrap();
    let (running, url) = serve(&[
        "--stream",
        "s:1",
        "--tls",
        "--tls-cert-out",
        pem,
        "--request-log",
        "off",
    ]);
    assert!(url.starts_with("https://127.0.0.1:"), "{url}");
    let mut command = program(&["put", "s", "x"]);
    command
        .env("AWS_ENDPOINT_URL", &url)
        .env("AWS_CA_BUNDLE", pem);
    finish(command, b"").expect(0);
    running.signal("TERM");
    let done = running.wait().expect(0);
    assert!(done.err.contains("AWS_CA_BUNDLE="), "{}", done.err);
}

#[test]
fn a_directory_keeps_streams_through_a_kill() {
    let (_dir, path) = scratch();
    let dir = path.join("kinesis");
    std::fs::create_dir(&dir).unwrap();
    let dir = dir.to_str().unwrap();
    let args = ["--stream", "s:1", "--dir", dir];
    let (running, url) = serve(&args);
    call(&url, &["put", "s", "--key", "k", "kept"]).expect(0);
    let done = finish(
        program(&["local", "--listen", "127.0.0.1:0", "--dir", dir]),
        b"",
    )
    .expect(1);
    assert!(
        done.err.contains("in use by another process"),
        "{}",
        done.err
    );
    running.signal("KILL");
    running.wait();
    let (running, url) = serve(&args);
    let done = call(&url, &["tail", "s", "--limit", "1", "--format", "raw"]).expect(0);
    assert_eq!(done.text(), "kept\n");
    running.signal("TERM");
    running.wait().expect(0);
}

#[test]
fn retention_by_bytes() {
    let (running, url) = serve(&[
        "--stream",
        "s:1",
        "--retention-bytes",
        "3000000",
        "--request-log",
        "off",
    ]);
    let line = "x".repeat(1000);
    let input: String = (0..10_000).map(|_| format!("{line}\n")).collect();
    let mut command = program(&["put", "s", "--key", "k"]);
    command.env("AWS_ENDPOINT_URL", &url);
    finish(command, input.as_bytes()).expect(0);
    let done = call(&url, &["tail", "s", "--until-caught-up", "--format", "raw"]).expect(0);
    let kept = done.lines().len();
    assert!((1000..6000).contains(&kept), "{kept}");
    running.signal("TERM");
    assert!(
        running
            .wait()
            .expect(0)
            .err
            .contains("to stay within --retention-bytes")
    );
}

#[test]
fn limits_are_enforced_on_request() {
    let (running, url) = serve(&[
        "--stream",
        "s:1",
        "--enforce-limits",
        "--request-log",
        "stderr",
    ]);
    let mut command = program(&["put", "s"]);
    command.env("AWS_ENDPOINT_URL", &url);
    // More than a shard takes in a second: some is throttled, and all gets through.
    let input: String = (0..1300).map(|i| format!("{i}\n")).collect();
    let done = finish(command, input.as_bytes()).expect(0);
    assert!(done.err.contains("put 1,300 records"), "{}", done.err);
    running.signal("TERM");
    let puts = running
        .wait()
        .expect(0)
        .err
        .matches("\"PutRecords s")
        .count();
    assert!(
        puts > 3,
        "three requests would do if nothing were throttled: {puts}"
    );
}

#[test]
fn what_is_wrong_is_said() {
    for (args, code, says) in [
        (&["local", "--stream", "s:0"][..], 2, "orders:4"),
        (&["local", "--stream", "a b:1"], 2, "orders:4"),
        (
            &[
                "local",
                "--listen",
                "127.0.0.1:0",
                "--stream",
                "s:1",
                "--stream",
                "s:2",
            ],
            2,
            "given twice",
        ),
        (
            &["local", "--listen", "127.0.0.1:0", "--account", "x"],
            2,
            "12 digits",
        ),
        (
            &["local", "--listen", "127.0.0.1:0", "--dir", "/proc/no"],
            1,
            "/proc/no",
        ),
        (&["local", "--tls-cert-out", "x"], 2, "--tls"),
        (&["local", "--listen", "localhost"], 2, "--listen"),
        (
            &[
                "local",
                "--listen",
                "127.0.0.1:0",
                "--tls",
                "--tls-cert-out",
                "/no/such/dir/x",
            ],
            1,
            "/no/such/dir",
        ),
    ] {
        let done = finish(program(args), b"").expect(code);
        assert!(done.err.contains(says), "{args:?}: {}", done.err);
    }
    let (running, url) = serve(&[]);
    let taken = url.trim_start_matches("http://");
    let done = finish(program(&["local", "--listen", taken]), b"").expect(1);
    assert!(done.err.contains("cannot listen on"), "{}", done.err);
    running.signal("INT");
    running.wait().expect(0);
}
