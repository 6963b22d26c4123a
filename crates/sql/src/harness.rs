//! `sql test` and `sql check`: an application on a file of records, without AWS and without a
//! clock.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::catalog::{Stream, StreamRole};
use crate::output::write_json_row;
use crate::program::{Program, Pump, column_text};
use crate::run::processor::{Emitted, Processor, ProcessorSettings, Record, StateLimitExceeded};

/// A test that could not be run to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// A line of the input is an envelope with a wrong member.
    #[error("line {line} of the input: {message}")]
    Input {
        /// The line, from 1.
        line: usize,
        /// The finding.
        message: String,
    },
    /// A pump's state outgrew the limit.
    #[error(transparent)]
    State(#[from] StateLimitExceeded),
    /// The rows could not be written.
    #[error("the rows can't be written")]
    Write(#[from] io::Error),
}

/// One line of the input.
enum Line {
    Record(TestRecord),
    Bound(i64),
}

struct TestRecord {
    /// `None`: a millisecond after the record before.
    time: Option<i64>,
    data: Bytes,
    key: String,
    sequence: String,
    shard: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    t: Option<i64>,
    bound: Option<i64>,
    data: Option<String>,
    /// Present also when the value is null.
    #[serde(borrow, default, deserialize_with = "present")]
    json: Option<&'a RawValue>,
    hex: Option<String>,
    key: Option<String>,
    seq: Option<String>,
    shard: Option<String>,
}

fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Runs a program on the lines of `input` and writes `STREAM<TAB>JSON` for every row of every
/// stream that the code created, and of `error_stream`, in order of emission.
///
/// # Errors
/// When a line is wrong, a state outgrows the limit, or `output` fails.
pub fn run_test(
    program: &Arc<Program>,
    input: &[u8],
    output: &mut dyn Write,
) -> Result<(), TestError> {
    let mut run = TestRun::new(program);
    for (index, line) in input.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            continue;
        }

        let parsed = parse_numbered(line, index + 1)?;
        run.process(parsed)?;
        output.write_all(&run.made)?;
        run.made.clear();
    }
    Ok(())
}

fn parse_numbered(text: &[u8], line: usize) -> Result<Line, TestError> {
    let parsed = parse_line(text);
    parsed.map_err(|message| TestError::Input { line, message })
}

impl TestRun {
    fn new(program: &Arc<Program>) -> Self {
        Self {
            program: program.clone(),
            processor: None,
            shards: BTreeMap::new(),
            last: None,
            made: Vec::new(),
        }
    }
}

/// A test between two lines of the input.
struct TestRun {
    program: Arc<Program>,
    /// Made with the first line, whose time is the start of the clock.
    processor: Option<Processor>,
    /// The number of each shard, by first appearance.
    shards: BTreeMap<String, usize>,
    /// The latest time so far.
    last: Option<i64>,
    made: Vec<u8>,
}

impl TestRun {
    fn process(&mut self, line: Line) -> Result<(), StateLimitExceeded> {
        let time = self.time_of(&line);
        let latest = self.last.unwrap_or(time);
        self.last = Some(latest.max(time));
        let processor = self.processor.get_or_insert_with(|| {
            let settings = ProcessorSettings {
                started: time,
                ..ProcessorSettings::default()
            };
            Processor::new(self.program.clone(), settings)
        });

        let (program, made) = (&self.program, &mut self.made);
        let mut sink = |row: Emitted<'_>| write_row(row.definition(program), &row, made);
        let record = match line {
            Line::Bound(bound) => return processor.advance(bound, &mut sink),
            Line::Record(record) => record,
        };

        let next = self.shards.len();
        let shard_index = *self.shards.entry(record.shard.clone()).or_insert(next);
        let pushed = Record {
            data: &record.data,
            arrival: time,
            partition_key: &record.key,
            sequence_number: &record.sequence,
            shard_id: &record.shard,
            shard_index,
        };
        processor.push(&pushed, &mut sink)
    }

    /// A record without a time comes a millisecond after the one before.
    fn time_of(&self, line: &Line) -> i64 {
        let given = match line {
            Line::Bound(bound) => Some(*bound),
            Line::Record(record) => record.time,
        };
        match (given, self.last) {
            (Some(given), _) => given,
            (None, Some(last)) => last + 1,
            (None, None) => 0,
        }
    }
}

fn write_row(stream: &Stream, row: &Emitted<'_>, data: &mut Vec<u8>) {
    data.extend_from_slice(stream.name.as_bytes());
    data.push(b'\t');
    write_json_row(&stream.columns, row.values, data);
    data.push(b'\n');
}

/// A line that is an object with `bound`, or with one of `data`, `json` and `hex` and nothing else
/// but envelope members, is an envelope; any other line is a record itself.
fn parse_line(line: &[u8]) -> Result<Line, String> {
    let bare = || Ok(Line::Record(TestRecord::bare(line)));
    let Ok(envelope) = serde_json::from_slice::<Envelope<'_>>(line) else {
        return bare();
    };

    let payloads = [
        envelope.data.is_some(),
        envelope.json.is_some(),
        envelope.hex.is_some(),
    ];
    let given = payloads.into_iter().filter(|given| *given).count();
    match (envelope.bound, given) {
        (Some(bound), 0) if envelope.t.is_none() => return Ok(Line::Bound(bound)),
        (None, 1) => {}
        _ => return bare(),
    }

    let data = envelope.payload()?;
    Ok(Line::Record(TestRecord {
        time: envelope.t,
        data: data.into(),
        key: envelope.key.unwrap_or_default(),
        sequence: envelope.seq.unwrap_or_default(),
        shard: envelope.shard.unwrap_or_else(default_shard),
    }))
}

impl Envelope<'_> {
    /// The data of the record; empty when none are given.
    fn payload(&self) -> Result<Vec<u8>, String> {
        if let Some(text) = &self.data {
            return Ok(text.clone().into_bytes());
        }
        if let Some(json) = self.json {
            return Ok(json.get().as_bytes().to_vec());
        }

        let hex = self.hex.as_deref().unwrap_or_default();
        match crate::text::hex_bytes(hex) {
            Some(bytes) => Ok(bytes),
            None => Err("\"hex\" wants pairs of hexadecimal digits".to_owned()),
        }
    }
}

fn default_shard() -> String {
    "shardId-000000000000".to_owned()
}

impl TestRecord {
    fn bare(line: &[u8]) -> Self {
        Self {
            time: None,
            data: Bytes::copy_from_slice(line),
            key: String::new(),
            sequence: String::new(),
            shard: default_shard(),
        }
    }
}

/// Writes the streams, columns, pumps and outputs of a program, as `sql check` prints them.
///
/// # Errors
/// When `output` fails.
pub fn write_summary(program: &Program, output: &mut dyn Write) -> io::Result<()> {
    for stream in program.streams() {
        write_stream(stream, output)?;
    }
    for pump in program.running() {
        write_pump(program, pump, "", output)?;
    }
    for pump in program.stopped() {
        write_pump(program, pump, " (stopped)", output)?;
    }

    for spec in program.outputs() {
        let resource = spec
            .resource
            .as_deref()
            .unwrap_or("no destination configured");
        let (stream, service) = (&spec.stream, &spec.service);
        writeln!(output, "output \"{stream}\" to {service} {resource}")?;
    }
    Ok(())
}

fn write_stream(stream: &Stream, output: &mut dyn Write) -> io::Result<()> {
    let role = match stream.role {
        StreamRole::Input => "input",
        StreamRole::InApplication => "in-application",
        StreamRole::Error => "errors",
    };
    writeln!(output, "stream \"{}\" ({role})", stream.name)?;

    for column in &stream.columns {
        writeln!(output, "  {}", column_text(column))?;
    }
    Ok(())
}

fn write_pump(
    program: &Program,
    pump: &Pump,
    state: &str,
    output: &mut dyn Write,
) -> io::Result<()> {
    let target = &program.streams()[pump.target].name;
    writeln!(output, "pump \"{}\" into \"{target}\"{state}", pump.name)?;

    for line in pump.plan.describe(program.streams()) {
        writeln!(output, "  {line}")?;
    }
    Ok(())
}
