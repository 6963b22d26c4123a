//! What misbehaviour looks like: which calls, how often, and what is done to them. As Rust values and as JSON.

use std::fmt;

use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use serde::{Deserialize, Serialize};

/// Which calls a rule is for; what is not set matches every call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Select {
    /// Names of operations, such as `PutRecords`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<OperationName>,
    /// The name of the stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The region that the stream is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The id of the shard. A write matches if one of its records goes there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The name of the consumer (`SubscribeToShard` and the consumer calls).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
}

/// An [`Operation`] as JSON has it: by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub struct OperationName(pub Operation);

impl TryFrom<String> for OperationName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Operation::from_name(&name)
            .map(Self)
            .ok_or_else(|| format!("{name:?} is no operation of Kinesis"))
    }
}

impl From<OperationName> for &'static str {
    fn from(name: OperationName) -> Self {
        name.0.name()
    }
}

/// Misbehaviour: what is done to which calls, and how often.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which calls.
    #[serde(default)]
    pub select: Select,
    /// Of those, each with this probability, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// No more than so many times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What is done to each; or, with `script`, nothing.
    #[serde(default)]
    pub action: Action,
    /// What is done to the first call selected, to the second, and so on; after its end the rule does nothing. Overrides
    /// `action`, `probability` and `times`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<Action>,
}

fn always() -> f64 {
    1.0
}

/// Which entries of a `PutRecords` an action is for; with nothing set, all. With a shard selected, only those that go
/// there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entries {
    /// Each with this probability, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// Those at these places, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<Vec<usize>>,
    /// Those with this partition key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// What is done to a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Nothing.
    #[default]
    Pass,
    /// Entries of a write fail with `ProvisionedThroughputExceededException`; a `PutRecord` as a whole.
    ThrottleEntries(Entries),
    /// Entries of a write fail with `InternalFailure`; a `PutRecord` as a whole.
    FailEntries(Entries),
    /// The call is not carried out and answered with an error.
    Error {
        /// Such as `ProvisionedThroughputExceededException`.
        code: String,
        /// For people.
        #[serde(default)]
        message: String,
        /// The HTTP status; if not set, what AWS gives the code.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// The call is not carried out: `ExpiredTokenException`, as if the credentials had run out.
    ExpireToken,
    /// The call waits.
    Delay {
        /// How long, in milliseconds.
        ms: u64,
        /// False: before it is carried out. True: between that and its answer.
        #[serde(default)]
        after: bool,
    },
    /// The call waits until the gate of that name is released.
    Hold {
        /// The gate.
        gate: String,
        /// False: before it is carried out. True: between that and its answer.
        #[serde(default)]
        after: bool,
    },
    /// The call is carried out, and its connection breaks after so many bytes of the answer's body.
    CutAnswer {
        /// Bytes of the body that still come.
        after_bytes: usize,
    },
    /// The call is carried out, and no answer comes.
    LoseReply {
        /// False: the connection breaks. True: it stays open and silent, until the caller gives up.
        #[serde(default)]
        hang: bool,
    },
    /// No answer comes, and the call is carried out this much later, when its caller may long have given up.
    Late {
        /// How much later, in milliseconds. It happens when anything is called after that time.
        ms: u64,
    },
    /// The call is not carried out and its connection breaks.
    DropConnection,
    /// `GetRecords`: `ExpiredIteratorException`.
    ExpireIterator,
    /// `GetRecords`: an answer without records, as AWS gives them at times; reading goes on at the same place.
    EmptyPage,
    /// `SubscribeToShard`: the subscription ends after so many events, with an error if there is a code.
    EndSubscription {
        /// Events that still come.
        #[serde(default)]
        after_events: u64,
        /// Such as `InternalFailureException`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// `SubscribeToShard`: after so many events the connection breaks in the middle of a frame.
    BreakSubscription {
        /// Events that still come.
        #[serde(default)]
        after_events: u64,
    },
    /// `SubscribeToShard`: after so many events nothing comes any more, neither records nor heartbeats.
    MuteSubscription {
        /// Events that still come.
        #[serde(default)]
        after_events: u64,
    },
}

/// Why a rule was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not a probability.
    #[error("{what} is {value}; give a probability from 0 to 1")]
    Probability {
        /// Which member.
        what: &'static str,
        /// As given.
        value: String,
    },
    /// There are too many rules.
    #[error("there are {limit} rules already; remove some first")]
    TooMany {
        /// How many there may be.
        limit: usize,
    },
    /// A script is too long.
    #[error("a script of {length} steps; give no more than {limit}")]
    Script {
        /// As given.
        length: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// Steps of a script.
const SCRIPT_MAX: usize = 10_000;

impl Rule {
    /// One action for every call of an operation.
    pub fn always(operation: Operation, action: Action) -> Self {
        let select = Select {
            operations: vec![OperationName(operation)],
            ..Select::default()
        };
        Self {
            select,
            probability: 1.0,
            times: None,
            action,
            script: Vec::new(),
        }
    }

    /// One action after the other for the next calls of an operation.
    pub fn script(operation: Operation, script: impl Into<Vec<Action>>) -> Self {
        Self {
            script: script.into(),
            ..Self::always(operation, Action::Pass)
        }
    }

    /// Only for this stream.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.select.stream = Some(name.into());
        self
    }

    /// Only for this shard.
    pub fn shard(mut self, id: impl Into<String>) -> Self {
        self.select.shard = Some(id.into());
        self
    }

    /// Only with this probability, 0 to 1.
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// No more than so many times.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// # Errors
    /// [`RuleError`].
    pub(crate) fn check(&self) -> Result<(), RuleError> {
        let probability = |what, value: f64| {
            let value_text = value.to_string();
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(RuleError::Probability {
                    what,
                    value: value_text,
                })
            }
        };
        probability("probability", self.probability)?;
        if self.script.len() > SCRIPT_MAX {
            return Err(RuleError::Script {
                length: self.script.len(),
                limit: SCRIPT_MAX,
            });
        }
        for action in self.script.iter().chain([&self.action]) {
            if let Action::ThrottleEntries(entries) | Action::FailEntries(entries) = action {
                probability(
                    "the probability of entries",
                    entries.probability.unwrap_or(1.0),
                )?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

/// The error of [`Action::Error`].
pub(crate) fn error_of(code: &str, message: &str, status: Option<u16>) -> ApiError {
    let mut error = ApiError::new(ErrorCode::from(code), message);
    if let Some(status) = status.filter(|s| (400..=599).contains(s)) {
        error.status = status;
    }
    error
}
