//! The real program in surroundings that fail: a stderr that nobody reads or that is full, a
//! standard output that is closed.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::daemon::{Dir, get};
use crate::served::{Running, Served, finish, until};

/// An address that was free a moment ago.
pub(crate) fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// `run` from `input` to `output`, with metrics at `address`.
fn copying(served: &Served, dir: &Dir, address: &str) -> Command {
    let to = ["--from", "input", "--to", "output", "--metrics", address];
    let mut command = dir.run(served, &to);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The counter of dropped lines; 0 before the server answers.
fn dropped(address: &str) -> f64 {
    let page = TcpStream::connect(address).map(|_| get(address, "/metrics").1);
    let page = page.unwrap_or_default();
    let value = page
        .lines()
        .find_map(|line| line.strip_prefix("distributary_log_lines_dropped_total "));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// Puts two records, waits until `running` has copied both and is alive, and stops it.
#[track_caller]
fn assert_works(served: &Served, mut running: Running, address: &str) {
    served.put("input", &[("k", "1"), ("k", "2")]);
    until("the records", || {
        let records: usize = served.read("output").iter().map(Vec::len).sum();
        (records == 2).then_some(())
    });

    assert_eq!(get(address, "/healthz").0, 200);
    running.signal("TERM");
    let status = until("the end", || running.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_stderr_that_nobody_reads_stops_nothing() {
    let served = Served::new(&[("input", 1), ("output", 1)]);
    let (dir, address) = (Dir::new(), free_address());
    let (_unread, mut stderr) = std::io::pipe().unwrap();
    let writer = stderr.try_clone().unwrap();
    // The pipe is full when this thread stands still, and stays full.
    let filled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&filled);
    std::thread::spawn(move || {
        while stderr.write_all(&[b'x'; 4096]).is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    until("a full pipe", || {
        (filled.load(Ordering::Relaxed) >= 16).then_some(())
    });

    let mut command = copying(&served, &dir, &address);
    let child = command.stderr(writer).spawn().unwrap();
    assert_works(&served, Running { child }, &address);
}

#[test]
fn a_reader_that_left_and_a_full_disk_stop_nothing() {
    for is_pipe in [true, false] {
        let served = Served::new(&[("input", 1), ("output", 1)]);
        let (dir, address) = (Dir::new(), free_address());
        let mut command = copying(&served, &dir, &address);
        if is_pipe {
            // The reading end is gone at once.
            command.stderr(std::io::pipe().unwrap().1);
        } else {
            command.stderr(File::options().write(true).open("/dev/full").unwrap());
        }

        let child = command.spawn().unwrap();
        until("dropped lines", || (dropped(&address) > 0.0).then_some(()));
        assert_works(&served, Running { child }, &address);
    }
}

#[test]
fn dropped_lines_are_reported_when_stderr_works_again() {
    let served = Served::new(&[("input", 1), ("output", 1)]);
    let (dir, address) = (Dir::new(), free_address());
    let fifo = dir.path("stderr");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || File::open(fifo).unwrap()
    });
    let stderr = File::options().write(true).open(&fifo).unwrap();
    drop(reader.join().unwrap());

    let mut command = copying(&served, &dir, &address);
    let child = command.stderr(stderr).spawn().unwrap();
    drop(command);
    let running = Running { child };
    until("dropped lines", || (dropped(&address) > 0.0).then_some(()));

    let mut reader = File::open(&fifo).unwrap();
    running.signal("TERM");
    let mut log = String::new();
    reader.read_to_string(&mut log).unwrap();
    assert!(log.contains("log lines were dropped"), "{log}");
}

#[test]
fn failures_and_reports_need_no_reader() {
    let served = Served::new(&[("input", 1)]);
    for (args, code) in [
        (["put", "input", "x"].as_slice(), 0),
        (&["put", "missing", "x"], 1),
        (&["verify", "--from", "input", "--to", "missing"], 3),
        (&["ctl", "--name", "missing", "status"], 1),
    ] {
        let mut command = served.command(args);
        let full = || File::options().write(true).open("/dev/full").unwrap();
        command.stdin(Stdio::null()).stdout(full()).stderr(full());
        let status = command.status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_wrong_log_level_is_blamed_on_its_variable() {
    let served = Served::new(&[("input", 1)]);
    let mut command = served.command(&["put", "input", "x"]);
    command.env("DISTRIBUTARY_LOG", "loud=very");
    let done = finish(command, b"").expect(2);
    assert!(done.err.contains("DISTRIBUTARY_LOG"), "{}", done.err);

    let mut command = served.command(&["put", "input", "x"]);
    command.env("DISTRIBUTARY_LOG", "");
    finish(command, b"").expect(0);
}

#[test]
fn the_log_is_quiet_and_verbose_by_flag() {
    let served = Served::new(&[("input", 1), ("output", 1)]);
    for (flag, is_quiet) in [("-q", true), ("-v", false)] {
        let dir = Dir::new();
        let args = [
            "--from",
            "input",
            "--to",
            "output",
            "--until-caught-up",
            flag,
        ];
        let done = finish(dir.run(&served, &args), b"").expect(0);
        assert_eq!(done.err.is_empty(), is_quiet, "{flag}: {}", done.err);
    }
}

#[test]
fn idle_and_half_requests_leave_the_health_check_a_place() {
    let served = Served::new(&[("input", 1), ("output", 1)]);
    let (dir, address) = (Dir::new(), free_address());
    let running = Running::start(copying(&served, &dir, &address));
    until("metrics are served", || TcpStream::connect(&address).ok());

    let mut still = Vec::new();
    for half in [
        "",
        "GET /hea",
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n",
    ] {
        for _ in 0..100 {
            let mut socket = TcpStream::connect(&address).unwrap();
            socket.write_all(half.as_bytes()).unwrap();
            still.push(socket);
        }
        assert_eq!(get(&address, "/healthz").0, 200);
    }
    assert_works(&served, running, &address);
}

#[test]
fn metrics_are_not_for_web_pages() {
    let served = Served::new(&[("input", 1), ("output", 1)]);
    let (dir, address) = (Dir::new(), free_address());
    let running = Running::start(copying(&served, &dir, &address));
    until("metrics are served", || TcpStream::connect(&address).ok());

    for header in [
        "Host: evil.example",
        "Host: localhost\r\nOrigin: http://evil.example",
        "Host: localhost\r\nSec-Fetch-Site: cross-site",
    ] {
        let mut socket = TcpStream::connect(&address).unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\n{header}\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 403"), "{header}: {answer}");
    }
    assert_works(&served, running, &address);
}
