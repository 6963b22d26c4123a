//! Rules of faults, as Rust values and as JSON: the selected calls, how often, and the action.

use std::fmt;

use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::op::Operation;
use serde::{Deserialize, Serialize};

/// Selects calls. A member that is not set matches every call.
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
    /// The id of the shard. A write matches if a record of the write goes to the shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The name of the consumer (`SubscribeToShard` and the consumer calls).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
}

/// An [`Operation`], in JSON the name of the operation.
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

/// A fault: the selected calls, how often, and the action on each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The selected calls.
    #[serde(default)]
    pub select: Select,
    /// The probability of the action for each selected call, 0 to 1.
    #[serde(default = "always")]
    pub probability: f64,
    /// The largest number of calls to apply to; no limit if not set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// The action on each selected call. Ignored with a `script`.
    #[serde(default)]
    pub action: Action,
    /// The actions on the first selected call, the second, and so on. After the last action the
    /// rule does nothing. Overrides `action`, `probability` and `times`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub script: Vec<Action>,
}

fn always() -> f64 {
    1.0
}

/// Selects entries of a `PutRecords`. A member that is not set matches every entry. A rule with a
/// shard applies to entries of that shard only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Entries {
    /// The probability for each entry, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
    /// The places of the entries, counted from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub places: Option<Vec<usize>>,
    /// The partition key of the entries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An action on a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// No fault.
    #[default]
    Pass,
    /// Entries of a write, or a `PutRecord`, fail with `ProvisionedThroughputExceededException`.
    ThrottleEntries(Entries),
    /// Entries of a write, or a `PutRecord`, fail with `InternalFailure`.
    FailEntries(Entries),
    /// The call is answered with an error and not carried out.
    Error {
        /// The error code, for example `ProvisionedThroughputExceededException`.
        code: String,
        /// The error message.
        #[serde(default)]
        message: String,
        /// The HTTP status, 400 to 599; AWS's status of the code if not set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<u16>,
    },
    /// The call is answered with `ExpiredTokenException`, as with expired credentials, and not
    /// carried out.
    ExpireToken,
    /// The call or the answer is delayed.
    Delay {
        /// The delay in milliseconds.
        ms: u64,
        /// False to wait before the call is carried out, true to wait before the answer.
        #[serde(default)]
        after: bool,
    },
    /// The call or the answer waits until the gate of this name is released.
    Hold {
        /// The name of the gate.
        gate: String,
        /// False to wait before the call is carried out, true to wait before the answer.
        #[serde(default)]
        after: bool,
    },
    /// The call is carried out, and the connection breaks within the body of the answer.
    CutAnswer {
        /// Bytes of the body that are sent.
        after_bytes: usize,
    },
    /// The call is carried out, and no answer is sent.
    LoseReply {
        /// False to break the connection, true to keep the connection open until the caller's
        /// timeout.
        #[serde(default)]
        hang: bool,
    },
    /// No answer is sent, and a write is carried out later, possibly after the caller's timeout.
    Late {
        /// The delay in milliseconds. The write is carried out at the first call after that time.
        ms: u64,
    },
    /// The connection breaks, and the call is not carried out.
    DropConnection,
    /// `GetRecords`: `ExpiredIteratorException`.
    ExpireIterator,
    /// `GetRecords`: an answer without records, as AWS sends at times. The next iterator has the
    /// same position.
    EmptyPage,
    /// `SubscribeToShard`: the subscription ends, with an exception if a code is given.
    EndSubscription {
        /// Events that are sent before.
        #[serde(default)]
        after_events: u64,
        /// The code of the exception, for example `InternalFailureException`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// `SubscribeToShard`: the connection breaks.
    BreakSubscription {
        /// Events that are sent before.
        #[serde(default)]
        after_events: u64,
    },
    /// `SubscribeToShard`: nothing more is sent, neither records nor heartbeats.
    MuteSubscription {
        /// Events that are sent before.
        #[serde(default)]
        after_events: u64,
    },
}

/// Error of [`Faults::add`](super::Faults::add).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A probability is below 0 or above 1.
    #[error("{member} is {value}; give a probability from 0 to 1")]
    Probability {
        /// The member of the rule.
        member: &'static str,
        /// The value as given.
        value: String,
    },
    /// The largest number of rules is reached.
    #[error("{limit} rules exist already; remove some first")]
    TooMany {
        /// The largest number of rules.
        limit: usize,
    },
    /// The script is too long.
    #[error("the script has {length} actions; give at most {limit}")]
    Script {
        /// The number of actions as given.
        length: usize,
        /// The largest number of actions.
        limit: usize,
    },
}

/// The largest number of actions of a script.
const SCRIPT_MAX: usize = 10_000;

impl Rule {
    /// A rule with one action on every call of an operation.
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

    /// A rule with a script for the next calls of an operation.
    pub fn script(operation: Operation, script: impl Into<Vec<Action>>) -> Self {
        Self {
            script: script.into(),
            ..Self::always(operation, Action::Pass)
        }
    }

    /// Applies the rule only to this stream.
    pub fn stream(mut self, name: impl Into<String>) -> Self {
        self.select.stream = Some(name.into());
        self
    }

    /// Applies the rule only to this shard.
    pub fn shard(mut self, id: impl Into<String>) -> Self {
        self.select.shard = Some(id.into());
        self
    }

    /// Applies the rule with this probability, 0 to 1.
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// Applies the rule to this many calls at most.
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// # Errors
    /// [`RuleError`] for a wrong probability or a too long script.
    pub(crate) fn check(&self) -> Result<(), RuleError> {
        check_probability("probability", self.probability)?;
        if self.script.len() > SCRIPT_MAX {
            return Err(RuleError::Script {
                length: self.script.len(),
                limit: SCRIPT_MAX,
            });
        }

        for action in self.script.iter().chain([&self.action]) {
            if let Action::ThrottleEntries(entries) | Action::FailEntries(entries) = action {
                let probability = entries.probability.unwrap_or(1.0);
                check_probability("the probability of entries", probability)?;
            }
        }
        Ok(())
    }
}

fn check_probability(member: &'static str, value: f64) -> Result<(), RuleError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(RuleError::Probability {
        member,
        value: value.to_string(),
    })
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
