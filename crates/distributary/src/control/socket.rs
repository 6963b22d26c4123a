//! The control address: a Unix socket that takes one JSON request a line, and answers each with one
//! line.
//!
//! A request is `{"command": "pause", "fan-out": "orders", "output": "audit"}`; `fan-out` may be
//! left out where the process has one. An answer is `{"ok": "…"}`, `{"error": "…"}`, or for
//! `status` `{"ok": [STATUS …]}`.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use distributary_adapters::values::{Expected, StartAt};
use distributary_config::Process;
use distributary_config::process::ControlAddress;
use distributary_core::batch::ShardId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::{ANSWER_TIMEOUT, Control, OutputChange};
use crate::failure::Failure;
use crate::state::place::{self, Place};
use crate::view::{Snapshot, Snapshots};

/// Clients that are served at a time; more clients wait.
const CLIENTS: usize = 16;
/// Bytes of one request at most.
const REQUEST_BYTES: u64 = 64 << 10;
/// Bytes of one answer at most: the status of many shards is long.
const ANSWER_BYTES: u64 = 256 << 20;

/// A request to the running process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "command",
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub(crate) enum Request {
    /// The status of every fan-out, or of one.
    Status {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fan_out: Option<String>,
    },
    /// Stops an output and keeps its position.
    Pause {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fan_out: Option<String>,
        output: String,
    },
    /// Continues an output that is paused or stopped.
    Resume {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fan_out: Option<String>,
        output: String,
    },
    /// Forgets an output's progress and starts the output again.
    Restart {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fan_out: Option<String>,
        output: String,
        /// `trim-horizon`, `latest` or a time (RFC 3339).
        from: String,
    },
    /// Moves an output, or its position in one shard.
    Seek {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fan_out: Option<String>,
        output: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shard: Option<String>,
        /// `trim-horizon`, `latest`, a time (RFC 3339), or with a shard `seq:NUMBER`.
        to: String,
    },
    /// Leaves one record out, if that is the next one of the output.
    Skip {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fan_out: Option<String>,
        output: String,
        shard: String,
        sequence: String,
    },
    /// Reads the configuration file again.
    Reload,
    /// Finishes the writes that are under way, saves the progress, and ends the process.
    Drain,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// The command was carried out: a sentence, or the status.
    Ok(Value),
    /// Nothing was changed; the reason.
    Error(String),
}

/// The socket, listening. The file is removed with the value.
pub(super) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    /// The only fan-out, for requests that name none.
    only: Option<String>,
    /// The configuration file, for `reload`.
    file: Option<PathBuf>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        // The next start replaces a file that stays.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Listens at the control address of `process`; `None` without one.
pub(super) fn listen(
    process: &Process,
    file: Option<PathBuf>,
) -> Result<Option<Listener>, Failure> {
    let (path, required) = match &process.control {
        ControlAddress::Unix(path) => (path.clone(), true),
        ControlAddress::Default => match default_path(process) {
            Some(path) => (path, false),
            None => return Ok(None),
        },
        ControlAddress::None => return Ok(None),
    };

    match bind(&path) {
        Ok(listener) => Ok(Some(Listener {
            listener,
            path,
            only: only_fan_out(process),
            file,
        })),
        Err(error) if required => Err(cannot_listen(&path, &error)),
        Err(error) => {
            let reason = cannot_listen(&path, &error);
            tracing::warn!(
                "`distributary ctl` cannot reach this process: {}",
                reason.message()
            );
            Ok(None)
        }
    }
}

fn only_fan_out(process: &Process) -> Option<String> {
    match &*process.fan_outs {
        [one] => Some(one.name.clone()),
        _ => None,
    }
}

fn cannot_listen(path: &Path, error: &io::Error) -> Failure {
    Failure::run(format!(
        "cannot listen at the control address {}: {error}; give another path (--control \
         unix:PATH), or none",
        path.display()
    ))
}

/// `NAME.sock` in `$XDG_RUNTIME_DIR/distributary`, else beside the state file. A process without a
/// state file has no default.
fn default_path(process: &Process) -> Option<PathBuf> {
    let first = process.fan_outs.first()?;
    let state = first.state.as_ref()?;
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    Some(match runtime {
        Some(dir) => Path::new(&dir)
            .join("distributary")
            .join(format!("{}.sock", first.name)),
        None => state.with_extension("sock"),
    })
}

/// Binds the socket for this user only. A file that no process listens at any more is replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
    {
        std::fs::create_dir_all(folder)?;
    }

    if std::os::unix::net::UnixStream::connect(path).is_err() && path.exists() {
        std::fs::remove_file(path)?;
    }

    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

impl Listener {
    /// Serves clients until the future is dropped.
    pub(super) async fn serve(self, control: Control, snapshots: Snapshots) {
        let mut clients = JoinSet::new();
        loop {
            while clients.len() >= CLIENTS {
                clients.join_next().await;
            }
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = clients.join_next() => continue,
            };
            let Ok((stream, _)) = stream else { continue };
            let client = Client {
                control: control.clone(),
                snapshots: snapshots.clone(),
                only: self.only.clone(),
                file: self.file.clone(),
            };
            clients.spawn(async move { client.serve(stream).await.ok() });
        }
    }
}

/// The server's side of one connection.
struct Client {
    control: Control,
    snapshots: Snapshots,
    only: Option<String>,
    file: Option<PathBuf>,
}

impl Client {
    async fn serve(self, stream: UnixStream) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        loop {
            let mut line = Vec::new();
            let mut limited = (&mut read).take(REQUEST_BYTES);
            let bytes = limited.read_until(b'\n', &mut line).await?;
            if bytes == 0 {
                return Ok(());
            }

            let reply = match serde_json::from_slice::<Request>(&line) {
                Ok(request) => self.reply(request).await,
                Err(error) => Reply::Error(format!("this is no request: {error}")),
            };
            let text = json_line(&reply)?;
            write.write_all(&text).await?;
        }
    }

    async fn reply(&self, request: Request) -> Reply {
        if let Request::Status { fan_out } = &request {
            return self.status(fan_out.as_deref());
        }
        match self.carry_out(request).await {
            Ok(text) => Reply::Ok(Value::String(text)),
            Err(why) => Reply::Error(why),
        }
    }

    /// Carries out a request that changes something.
    async fn carry_out(&self, request: Request) -> super::Answer {
        match request {
            Request::Status { .. } => Err("the status changes nothing".to_owned()),
            Request::Pause { fan_out, output } => {
                self.change(fan_out, OutputChange::Pause(output)).await
            }
            Request::Resume { fan_out, output } => {
                self.change(fan_out, OutputChange::Resume(output)).await
            }
            Request::Restart {
                fan_out,
                output,
                from,
            } => self.restart(fan_out, output, &from).await,
            Request::Seek {
                fan_out,
                output,
                shard,
                to,
            } => self.seek(fan_out, (output, shard), &to).await,
            Request::Skip {
                fan_out,
                output,
                shard,
                sequence,
            } => self.skip(fan_out, (output, &shard), &sequence).await,
            Request::Reload => self.reload().await,
            Request::Drain => self.control.drain().await,
        }
    }

    async fn change(&self, fan_out: Option<String>, change: OutputChange) -> super::Answer {
        let Some(fan_out) = fan_out.or_else(|| self.only.clone()) else {
            return Err("the process has several fan-outs: name one".to_owned());
        };
        self.control.change(fan_out, change).await
    }

    async fn restart(&self, fan_out: Option<String>, output: String, from: &str) -> super::Answer {
        let start: StartAt = from.parse().map_err(|expected: Expected| expected.0)?;
        let change = OutputChange::Restart(output, start.0);
        self.change(fan_out, change).await
    }

    async fn seek(
        &self,
        fan_out: Option<String>,
        (output, shard): (String, Option<String>),
        to: &str,
    ) -> super::Answer {
        let to: Place = to.parse().map_err(|expected: Expected| expected.0)?;
        let checked = to.check(shard.is_some());
        checked.map_err(|expected| expected.0)?;
        let shard = shard.as_deref();
        let shard = shard.map(ShardId::new);
        let change = OutputChange::Seek {
            name: output,
            shard,
            to,
        };
        self.change(fan_out, change).await
    }

    async fn skip(
        &self,
        fan_out: Option<String>,
        (output, shard): (String, &str),
        sequence: &str,
    ) -> super::Answer {
        let sequence = place::sequence(sequence);
        let sequence = sequence.map_err(|expected| expected.0)?;
        let shard = ShardId::new(shard);
        let change = OutputChange::Skip {
            name: output,
            shard,
            sequence,
        };
        self.change(fan_out, change).await
    }

    async fn reload(&self) -> super::Answer {
        let Some(path) = self.file.clone() else {
            return Err(
                "there is no configuration file: the process was started with flags".into(),
            );
        };
        let content = super::watcher::read(path)
            .await
            .map_err(|mistakes| mistakes.to_string())?;
        self.control.reload(content).await
    }

    fn status(&self, fan_out: Option<&str>) -> Reply {
        let snapshots = self.snapshots.borrow();
        let is_wanted = |snapshot: &&Snapshot| match fan_out {
            Some(name) => *snapshot.name == *name,
            None => true,
        };
        let wanted = snapshots.iter().filter(is_wanted);
        let statuses = wanted.map(status_of);
        let all: Result<Vec<Value>, _> = statuses.collect();

        match all {
            Ok(all) if all.is_empty() => {
                let name = fan_out.unwrap_or_default();
                Reply::Error(format!("there is no fan-out {name}"))
            }
            Ok(all) => Reply::Ok(Value::Array(all)),
            Err(error) => Reply::Error(error.to_string()),
        }
    }
}

fn json_line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(value).map_err(io::Error::other)?;
    text.push(b'\n');
    Ok(text)
}

/// A snapshot as JSON: name, phase, and the engine's status where there is one.
fn status_of(snapshot: &Snapshot) -> Result<Value, serde_json::Error> {
    Ok(json!({
        "fan-out": &*snapshot.name,
        "phase": snapshot.phase.name(),
        "failure": snapshot.failure(),
        "status": serde_json::to_value(snapshot.status().map(|status| &**status))?,
    }))
}

/// Sends `request` to the process that listens at `path`, and waits for the answer.
///
/// # Errors
/// No process listens there, or the process gave no answer in time.
pub(crate) async fn ask(path: &Path, request: &Request) -> io::Result<Reply> {
    let exchange = async {
        let mut stream = UnixStream::connect(path).await?;
        let text = json_line(request)?;
        stream.write_all(&text).await?;

        let mut line = Vec::new();
        let mut limited = BufReader::new(stream).take(ANSWER_BYTES);
        limited.read_until(b'\n', &mut line).await?;
        serde_json::from_slice(&line).map_err(io::Error::other)
    };
    let clock = distributary_core::clock::Clock::real();
    match clock.timeout(ANSWER_TIMEOUT, exchange).await {
        Some(answer) => answer,
        None => {
            let late = io::ErrorKind::TimedOut;
            Err(late.into())
        }
    }
}
