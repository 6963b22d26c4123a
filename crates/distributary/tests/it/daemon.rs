//! `distributary run` in the background, and what it says while it runs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::served::{Done, Served, until};

/// The program in the background, with its stderr in a file.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Daemon {
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let stderr = fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self {
            child,
            log: log.to_owned(),
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until its log holds `text`.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> String {
        let said = until(text, || {
            let log = self.log();
            if log.contains(text) {
                return Some(Ok(log));
            }
            self.child
                .try_wait()
                .unwrap()
                .map(|status| Err(format!("{status}: {}", self.log())))
        });
        said.unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{signal}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(sent.unwrap().success());
    }

    #[track_caller]
    pub(crate) fn end(mut self) -> Done {
        let status = until("the program's end", || self.child.try_wait().unwrap());
        Done {
            code: status.code(),
            out: Vec::new(),
            err: self.log(),
        }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A place for one test's files, and flags that make the program quick to notice.
pub(crate) struct Dir(pub(crate) tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// `run` with a state of its own.
    pub(crate) fn run(&self, served: &Served, args: &[&str]) -> Command {
        let state = self.text("state.db");
        let mut all = vec![
            "run",
            "--state",
            &state,
            "--idle-interval",
            "50ms",
            "--read-interval",
            "20ms",
        ];
        all.extend(args);
        served.command(&all)
    }
}

/// GET; status and body.
pub(crate) fn get(address: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

/// The address in a log's first URL.
pub(crate) fn address(log: &str) -> String {
    let (_, url) = log.split_once("http://").unwrap();
    url.split(['/', ';']).next().unwrap().to_owned()
}

/// The value of a metric of the only fan-out, named with its labels beside `fan_out`; 0 if it is not there.
pub(crate) fn metric(address: &str, name: &str) -> f64 {
    let (_, page) = get(address, "/metrics");
    value(&page, name).unwrap_or(0.0)
}

/// The value of the first series with this name and these labels.
pub(crate) fn value(page: &str, name: &str) -> Option<f64> {
    let (name, labels) = name.split_once('{').unwrap_or((name, "}"));
    let labels = labels.trim_end_matches('}');
    page.lines().find_map(|line| {
        let (series, value) = line
            .strip_prefix(name)?
            .strip_prefix('{')?
            .rsplit_once("} ")?;
        series.contains(labels).then(|| value.parse().unwrap())
    })
}
