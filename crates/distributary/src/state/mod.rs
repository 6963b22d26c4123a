//! The progress of a fan-out as JSON, for moving the fan-out to another machine.

pub(crate) mod place;
pub(crate) mod skip;

use distributary_adapters::leases::format;
use distributary_core::batch::ShardId;
use distributary_core::clock::Millis;
use distributary_core::source::StreamIdentity;
use distributary_core::store::{LaneCheckpoint, LaneId, OutputId, OutputIdentity, Snapshot, State};
use serde::{Deserialize, Serialize};

/// Everything in a state file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Export {
    /// The format of the state file.
    pub(crate) format: i32,
    /// The fan-out's name.
    pub(crate) fan_out: String,
    pub(crate) source: Option<Stream>,
    lanes: Vec<Lane>,
    outputs: Vec<OutputStream>,
    snapshots: Vec<SnapshotText>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Stream {
    arn: String,
    /// Milliseconds since 1970.
    created: Option<i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Lane {
    output: String,
    shard: String,
    /// `trim-horizon`, `at`, `after` or `closed`.
    kind: String,
    /// Milliseconds since 1970, or a sequence number.
    value: Option<String>,
    sub: Option<u32>,
    /// Milliseconds since 1970.
    arrival: Option<i64>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct OutputStream {
    output: String,
    stream: Stream,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct SnapshotText {
    output: String,
    /// Standard base64.
    bytes: String,
}

impl Stream {
    fn of(identity: &StreamIdentity) -> Self {
        Self {
            arn: identity.arn.clone(),
            created: identity.created.map(|at| at.0),
        }
    }

    /// The stream as the engine knows it.
    pub(crate) fn identity(&self) -> StreamIdentity {
        StreamIdentity {
            arn: self.arn.clone(),
            created: self.created.map(Millis),
        }
    }
}

impl Export {
    /// The export of `state`.
    pub(crate) fn new(fan_out: String, source: Option<&StreamIdentity>, state: &State) -> Self {
        Self {
            format: format::VERSION,
            fan_out,
            source: source.map(Stream::of),
            lanes: state.lanes.iter().map(Lane::of).collect(),
            outputs: state.outputs.iter().map(OutputStream::of).collect(),
            snapshots: state.snapshots.iter().map(SnapshotText::of).collect(),
        }
    }

    /// The state.
    ///
    /// # Errors
    /// A sentence about a part that no state has.
    pub(crate) fn state(&self) -> Result<State, String> {
        if self.format != format::VERSION {
            let (found, own) = (self.format, format::VERSION);
            return Err(format!(
                "the export has the state format {found}, and this program reads format {own}"
            ));
        }
        let lanes: Result<_, String> = self.lanes.iter().map(Lane::checkpoint).collect();
        let snapshots: Result<_, String> = self.snapshots.iter().map(SnapshotText::read).collect();
        Ok(State {
            lanes: lanes?,
            outputs: self.outputs.iter().map(OutputStream::read).collect(),
            snapshots: snapshots?,
        })
    }
}

impl Lane {
    fn of(row: &LaneCheckpoint) -> Self {
        let (kind, value, sub) = format::write(&row.position);
        Self {
            output: row.lane.output.to_string(),
            shard: row.lane.shard.to_string(),
            kind: kind.to_owned(),
            value,
            sub,
            arrival: row.arrival.map(|at| at.0),
        }
    }

    fn checkpoint(&self) -> Result<LaneCheckpoint, String> {
        let position = format::read(&self.kind, self.value.as_deref(), self.sub);
        let Some(position) = position else {
            let (output, shard) = (&self.output, &self.shard);
            return Err(format!(
                "the position of output {output} in shard {shard} is not readable"
            ));
        };
        Ok(LaneCheckpoint {
            lane: LaneId {
                shard: ShardId::new(&self.shard),
                output: OutputId::new(&self.output),
            },
            position,
            arrival: self.arrival.map(Millis),
        })
    }
}

impl OutputStream {
    fn of(row: &OutputIdentity) -> Self {
        Self {
            output: row.output.to_string(),
            stream: Stream::of(&row.identity),
        }
    }

    fn read(&self) -> OutputIdentity {
        OutputIdentity {
            output: OutputId::new(&self.output),
            identity: self.stream.identity(),
        }
    }
}

impl SnapshotText {
    fn of(row: &Snapshot) -> Self {
        Self {
            output: row.output.to_string(),
            bytes: base64_simd::STANDARD.encode_to_string(&row.bytes),
        }
    }

    fn read(&self) -> Result<Snapshot, String> {
        let bytes = base64_simd::STANDARD.decode_to_vec(&self.bytes);
        let bytes = bytes.map_err(|_| {
            let output = &self.output;
            format!("the snapshot of output {output} is not base64")
        })?;
        Ok(Snapshot {
            output: OutputId::new(&self.output),
            bytes: bytes.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use distributary_core::checkpoint::Position;

    use super::*;

    fn lane(shard: &str, position: Position) -> LaneCheckpoint {
        LaneCheckpoint {
            lane: LaneId {
                shard: ShardId::new(shard),
                output: OutputId::new("a"),
            },
            position,
            arrival: Some(Millis(7)),
        }
    }

    #[test]
    fn an_export_read_back_is_the_same_state() {
        let identity = StreamIdentity {
            arn: "arn:x".to_owned(),
            created: Some(Millis(5)),
        };
        let state = State {
            lanes: vec![
                lane(
                    "s0",
                    Position::after("49590338271490256608559692538361571095921575989136588898"),
                ),
                lane("s1", Position::At(Millis(9))),
                lane("s2", Position::Closed),
            ],
            outputs: vec![OutputIdentity {
                output: OutputId::new("a"),
                identity: identity.clone(),
            }],
            snapshots: vec![Snapshot {
                output: OutputId::new("a"),
                bytes: vec![0, 255].into(),
            }],
        };

        let export = Export::new("orders".to_owned(), Some(&identity), &state);
        let text = serde_json::to_string(&export).unwrap();
        let back: Export = serde_json::from_str(&text).unwrap();
        assert_eq!(back.state(), Ok(state));
        assert_eq!(back.source.unwrap().identity(), identity);

        let other = text.replace("\"format\":2", "\"format\":1");
        let back: Export = serde_json::from_str(&other).unwrap();
        assert!(back.state().unwrap_err().contains("state format 1"));
        let damaged = text.replace("\"closed\"", "\"open\"");
        let back: Export = serde_json::from_str(&damaged).unwrap();
        assert!(back.state().unwrap_err().contains("shard s2"));
    }
}
