//! The client of a Redis server or cluster. Commands: <https://redis.io/docs/latest/commands/>.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::Batch;
use distributary_core::output::{
    Picks, Profile, Refusal, RequestLimits, Trouble, TroubleKind, Verdict,
};
use distributary_core::record::Record;
use distributary_core::secrets;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, RedisError,
    RedisResult, Value,
};
use tokio::sync::Mutex;

use super::{Settings, Write};
use crate::formats;
use crate::kind::{BuildContext, BuildError, Finding, Severity};
use crate::messages::{Answer, Encoded, IN_FLIGHT, Messages, Service};
use crate::outputs::{BuiltOutput, OutputKind};

/// Commands of a pipeline.
const ENTRIES: usize = 500;
/// Bytes of a pipeline.
const BYTES: usize = 1 << 20;
/// Bytes of a value (Redis documentation, "Strings").
const VALUE_BYTES: usize = 512 << 20;
/// Time in which replicas must have a record.
const REPLICA_WAIT: Duration = Duration::from_secs(5);

/// A server or a cluster.
struct Store {
    settings: Settings,
    target: Target,
    /// The connection; none after a failure.
    connection: Mutex<Option<Connection>>,
}

/// A way to connect.
enum Target {
    One(Box<Client>),
    Cluster(Box<ClusterClient>),
}

/// A connection, shared by all requests.
#[derive(Clone)]
enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// A record.
#[derive(Debug)]
pub(super) struct Message {
    key: String,
    value: Vec<u8>,
    partition_key: String,
    sequence: String,
}

#[async_trait]
impl Service for Store {
    type Message = Message;
    const KIND: &'static str = Settings::NAME;

    fn profile(&self) -> Profile {
        let (entries, in_flight) = match self.settings.cluster {
            // A pipeline goes to one server.
            true => (1, IN_FLIGHT),
            false => (ENTRIES, NonZeroUsize::MIN),
        };
        let request = RequestLimits {
            entries,
            bytes: BYTES,
        };
        Profile {
            keeps: self.settings.keeps(),
            in_flight,
            ..Profile::new(request)
        }
    }

    fn form(&self) -> String {
        let Settings { format, key, .. } = &self.settings;
        format!("{format:?} {key:?}")
    }

    fn weigh(&self, record: &Record<'_>) -> usize {
        let key = record.key.map_or(0, str::len);
        formats::len(record, self.settings.format) + key
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> Encoded<Message> {
        Encoded::one_each(picks, |i| self.message(batch, i).map_err(Verdict::Refused))
    }

    fn allocation(message: &Message) -> usize {
        let texts = message.partition_key.len() + message.sequence.len();
        message.key.len() + message.value.len() + texts
    }

    async fn send(&self, messages: &[Message]) -> Answer {
        let mut connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return Answer::Rejected(trouble(&error)),
        };
        match self.pipe(&mut connection, messages).await {
            Ok(answers) => self.answer(answers),
            Err(error) => {
                self.connection.lock().await.take();
                Answer::Unknown(trouble(&error))
            }
        }
    }
}

impl Store {
    fn new(settings: &Settings) -> RedisResult<Self> {
        let info = settings.url.as_str().into_connection_info()?;
        let (user, password) = credentials(settings)?;
        let mut redis = info.redis_settings().clone();
        if let Some(user) = user {
            redis = redis.set_username(user);
        }
        if let Some(password) = password {
            redis = redis.set_password(password);
        }

        let info = info.set_redis_settings(redis);
        let target = if settings.cluster {
            Target::Cluster(Box::new(ClusterClient::new([info])?))
        } else {
            Target::One(Box::new(Client::open(info)?))
        };
        Ok(Self {
            settings: settings.clone(),
            target,
            connection: Mutex::default(),
        })
    }

    async fn connection(&self) -> RedisResult<Connection> {
        let mut held = self.connection.lock().await;
        if let Some(connection) = &*held {
            return Ok(connection.clone());
        }

        let connection = match &self.target {
            Target::One(client) => {
                // The engine has a deadline for each request.
                let config = AsyncConnectionConfig::new().set_response_timeout(None);
                let connection = client.get_multiplexed_async_connection_with_config(&config);
                Connection::One(connection.await?)
            }
            Target::Cluster(client) => {
                let connection = client.get_async_connection().await?;
                Connection::Cluster(connection)
            }
        };
        *held = Some(connection.clone());
        Ok(connection)
    }

    fn message(&self, batch: &Batch, i: usize) -> Result<Message, Refusal> {
        let record = batch.record(i);
        let mut value = Vec::new();
        formats::add(&mut value, batch.origin(), &record, self.settings.format)?;

        let bytes = value.len();
        if bytes > VALUE_BYTES {
            let text = format!("the value has {bytes} bytes, and Redis takes {VALUE_BYTES}");
            let refusal = Refusal::new("ValueTooLarge", text);
            return Err(refusal);
        }
        let key = record.key.unwrap_or_default();
        Ok(Message {
            key: self.settings.key_of(key),
            value,
            partition_key: key.to_owned(),
            sequence: record.sequence.to_owned(),
        })
    }

    fn command(&self, message: &Message) -> Cmd {
        let name = match self.settings.write {
            Write::Set => "SET",
            Write::List => "RPUSH",
            Write::Stream => "XADD",
            Write::Publish => "PUBLISH",
        };
        let mut command = redis::cmd(name);
        command.arg(&message.key);

        if self.settings.write == Write::Stream {
            command.arg("*");
            command.arg("partitionKey");
            command.arg(&message.partition_key);
            command.arg("sequenceNumber");
            command.arg(&message.sequence);
            command.arg("data");
        }
        command.arg(&message.value);

        if let Some(ttl) = self.settings.ttl {
            let millis = u64::try_from(ttl.0.as_millis());
            command.arg("PX");
            command.arg(millis.unwrap_or(u64::MAX));
        }
        command
    }

    async fn pipe(
        &self,
        connection: &mut Connection,
        messages: &[Message],
    ) -> RedisResult<Vec<RedisResult<Value>>> {
        let mut pipeline = redis::pipe();
        pipeline.ignore_errors();
        for message in messages {
            pipeline.add_command(self.command(message));
        }
        if let Some(replicas) = self.settings.replicas {
            let wait = u64::try_from(REPLICA_WAIT.as_millis()).unwrap_or(u64::MAX);
            pipeline.cmd("WAIT").arg(replicas).arg(wait);
        }

        match connection {
            Connection::One(connection) => query(&pipeline, connection).await,
            Connection::Cluster(connection) => query(&pipeline, connection).await,
        }
    }

    /// The verdicts of the answers to commands and, with `replicas`, to WAIT.
    fn answer(&self, mut answers: Vec<RedisResult<Value>>) -> Answer {
        if let Some(wanted) = self.settings.replicas {
            let reached = match answers.pop() {
                Some(Ok(Value::Int(reached))) => usize::try_from(reached).unwrap_or(0),
                _ => 0,
            };
            if reached < wanted {
                let text = format!("{reached} replicas of {wanted} have the records");
                let trouble = Trouble::new(TroubleKind::Unavailable, text);
                return Answer::Unknown(trouble);
            }
        }

        let verdicts = answers.iter().map(verdict);
        Answer::Each(verdicts.collect())
    }
}

async fn query(
    pipeline: &Pipeline,
    connection: &mut (impl ConnectionLike + Send),
) -> RedisResult<Vec<RedisResult<Value>>> {
    pipeline.query_async(connection).await
}

/// The user and the password in the file that the settings name.
fn credentials(settings: &Settings) -> RedisResult<(Option<String>, Option<String>)> {
    let Some(path) = &settings.password_file else {
        return Ok((None, None));
    };
    let text = std::fs::read_to_string(path)?;
    let text = text.trim();
    secrets::remember(text);

    let Some((user, password)) = text.split_once(':') else {
        let password = text.to_owned();
        return Ok((None, Some(password)));
    };
    secrets::remember(password);
    let user = user.to_owned();
    let password = password.to_owned();
    Ok((Some(user), Some(password)))
}

fn verdict(answer: &RedisResult<Value>) -> Verdict {
    match answer {
        Ok(_) => Verdict::Durable,
        Err(error) if error.code() == Some("WRONGTYPE") => {
            let text = format!("the key has a value of another type: {error}");
            let refusal = Refusal::new("WRONGTYPE", text);
            Verdict::Refused(refusal)
        }
        Err(error) => Verdict::Retry(trouble(error)),
    }
}

fn trouble(error: &RedisError) -> Trouble {
    let kind = match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("NOAUTH" | "WRONGPASS")) => {
            TroubleKind::Unauthenticated
        }
        (_, Some("NOPERM")) => TroubleKind::Denied,
        (ErrorKind::InvalidClientConfig, _) => TroubleKind::Invalid,
        (_, Some("OOM")) => TroubleKind::Throttled,
        _ => TroubleKind::Unavailable,
    };
    Trouble::new(kind, format!("redis: {error}"))
}

pub(super) async fn build(
    settings: &Settings,
    context: &BuildContext,
) -> Result<BuiltOutput, BuildError> {
    let failed = |error: RedisError| {
        let answer = Answer::Rejected(trouble(&error));
        answer.cannot_write(&settings.url)
    };
    let store = Store::new(settings).map_err(failed)?;
    store.connection().await.map_err(failed)?;

    let identity = settings.target(&context.surroundings).text;
    let messages = Messages::new(store, context.clock.clone());
    Ok(BuiltOutput {
        output: Arc::new(messages),
        pump: None,
        identity,
    })
}

pub(super) async fn check(settings: &Settings) -> Vec<Finding> {
    let subject = &settings.url;
    let store = match Store::new(settings) {
        Ok(store) => store,
        Err(error) => return vec![Finding::failure(subject, error.to_string())],
    };
    vec![match store.connection().await {
        Ok(_) if settings.write == Write::Publish => Finding {
            subject: subject.clone(),
            finding: "PUBLISH keeps nothing: records are lost where nobody listens".to_owned(),
            severity: Severity::Warning,
            advice: "use write = \"stream\"".to_owned(),
        },
        Ok(_) => Finding::fine(subject, "answers".to_owned()),
        Err(error) => Finding::failure(subject, error.to_string()),
    }]
}
