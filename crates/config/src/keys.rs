//! Keys that belong to no kind: of the process, of a fan-out, of every output.

use distributary_adapters::keys::{Absent, Form, Key};

/// The list of outputs, in the file and in a fan-out.
pub const OUTPUT: &str = "output";
/// The source's table, in the file and in a fan-out.
pub const SOURCE: &str = "source";
/// The list of fan-outs, in the file.
pub const FAN_OUT_LIST: &str = "fan-out";
/// The place for records that an output refuses for good.
pub const DEAD_LETTER: &str = "dead-letter";
/// The names of outputs that are found.
pub const STREAMS: &str = "streams";
/// The tag of outputs that are found.
pub const TAG: &str = "tag";
/// The table that names further outputs.
pub const TARGETS: &str = "targets";
/// The kind of a source or an output.
pub const TYPE: &str = "type";
/// The prefix of environment variables.
pub const VARIABLE_PREFIX: &str = "DISTRIBUTARY_";

/// The environment variable of a key or flag.
pub fn variable(key: &str) -> String {
    let name = key.to_uppercase().replace('-', "_");
    format!("{VARIABLE_PREFIX}{name}")
}

/// The names of `keys`.
pub(crate) fn names<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<&'static str> {
    let keys = keys.into_iter();
    keys.map(|key| key.name).collect()
}

/// The key of `keys` that is called `name`.
pub(crate) fn find(keys: &[&'static Key], name: &str) -> Option<&'static Key> {
    let mut keys = keys.iter();
    keys.find(|key| key.name == name).copied()
}

/// Keys that tell one fan-out from another: never inherited from the top of the file.
pub const FAN_OUT: &[Key] = &[
    Key {
        name: "from",
        form: Form::Text("[KIND:]STREAM"),
        absent: Absent::Default("a [source] table"),
        help: "Stream to copy: a name, an ARN, or KIND:REST",
        example: "input",
    },
    Key {
        name: "name",
        form: Form::Name,
        absent: Absent::Default("the stream's name"),
        help: "The fan-out's name: part of the default state file's name, and written into that \
               file",
        example: "orders",
    },
    Key {
        name: "state",
        form: Form::Path,
        absent: Absent::Default(
            "$XDG_STATE_HOME/distributary/NAME.db, that is ~/.local/state/distributary/NAME.db",
        ),
        help: "File that keeps the progress; in a configuration file relative to that file",
        example: "orders.db",
    },
    Key {
        name: "leases",
        form: Form::Text("sqlite|dynamodb[:TABLE]"),
        absent: Absent::Default("sqlite"),
        help: "Store of leases and progress: sqlite (the state file; this worker reads every shard) \
               or dynamodb (a table called like the fan-out, or TABLE, in the source's region; \
               workers with the same name share the shards)",
        example: "dynamodb",
    },
    Key {
        name: TARGETS,
        form: Form::Text("table:NAME"),
        absent: Absent::Default("none"),
        help: "Further outputs, as the Targets table of aws-lambda-fanout names them for the \
               source: a table by name (in the region as the AWS tools find it) or by ARN. Read \
               again at every refresh-interval",
        example: "table:fanoutTargets",
    },
];

const DEAD_LETTER_HELP: &str = "Output for records that an output will never take (too large, \
    refused by the service): each is stored whole, as a line of JSON with the reason, before the \
    output's position passes the record. A shorthand such as file:PATH, or a table with type and \
    the keys of that kind; a file gets plain lines and is rotated at 64MiB, unless set otherwise";
const ON_REFUSED: &[&str] = &["skip-record", "stop-lane"];
const ON_REFUSED_HELP: &str = "Treatment of such a record: skip-record (store the record as a dead \
    letter and go on) or stop-lane (the shard waits for this output until the cause is fixed and \
    the output resumed)";

/// Keys of a fan-out that may also be written once for all fan-outs of a file.
pub const DELIVERY: &[Key] = &[
    Key {
        name: "start",
        form: Form::Start,
        absent: Absent::Inherited("trim-horizon"),
        help: "Where an output starts that has no progress yet: trim-horizon (the oldest record), \
               latest (records from now on) or a time such as 2026-01-31T00:00:00Z or -1h",
        example: "latest",
    },
    Key {
        name: "order",
        form: Form::Choice(&["strict", "resend", "unordered"]),
        absent: Absent::Inherited("resend"),
        help: "Order per partition key through partial failures: strict, resend or unordered \
               (docs/SEMANTICS.md, line 3); an output that cannot keep this order keeps the best \
               one that the kind allows",
        example: "strict",
    },
    Key {
        name: "give-up-after",
        form: Form::Span,
        absent: Absent::Inherited("1m"),
        help: "With until-caught-up: time after which an output is given up that fails for a cause \
               outside this program (access denied, no such stream, refused credentials); the \
               others are finished first, then the exit code is 1",
        example: "5m",
    },
    Key {
        name: "start-timeout",
        form: Form::Span,
        absent: Absent::Inherited("1m"),
        help: "Longest wait at the start for a source that does not answer or throttles; then the \
               exit code is 1. A reason that does not pass by itself (no such stream, access \
               denied) ends the start at once",
        example: "10m",
    },
    Key {
        name: "strict-start",
        form: Form::Boolean,
        absent: Absent::Inherited("false"),
        help: "End the start if one of the outputs can't be used. By default such an output starts \
               as failing, with the reason, and is tried again while the others run; a start \
               without a single output that can be used fails",
        example: "true",
    },
    Key {
        name: "on-recreated",
        form: Form::Choice(&["restart", "continue", "stop"]),
        absent: Absent::Inherited("restart"),
        help: "Reaction to an output that was deleted and created again: restart (at the output's \
               start), continue (the new stream gets later records only) or stop",
        example: "stop",
    },
    Key {
        name: "checkpoint-interval",
        form: Form::Span,
        absent: Absent::Inherited("200ms"),
        help: "Time between two writes of the progress; records delivered since the last one are \
               sent again after a crash. A write that takes long is followed by a wait of 19 times as \
               long, up to a second. The default with leases in DynamoDB is 5s: each write is \
               billed",
        example: "500ms",
    },
    Key {
        name: "failover-time",
        form: Form::Span,
        absent: Absent::Inherited("10s"),
        help: "With leases in DynamoDB: time for which a worker that fell silent keeps its shards; \
               the same for all workers of one name",
        example: "20s",
    },
    Key {
        name: "idle-interval",
        form: Form::Span,
        absent: Absent::Inherited("1s"),
        help: "Time between two reads of a shard without new records",
        example: "2s",
    },
    Key {
        name: "write-timeout",
        form: Form::Span,
        absent: Absent::Inherited("30s"),
        help: "Time after which an unanswered write is sent again",
        example: "10s",
    },
    Key {
        name: "refresh-interval",
        form: Form::Span,
        absent: Absent::Inherited("1m"),
        help: "Time between two searches for outputs that are found by name or tag (`streams`, `tag`)",
        example: "5m",
    },
    Key {
        name: DEAD_LETTER,
        form: Form::Output,
        absent: Absent::Inherited("none: the lane of a refused record stops"),
        help: DEAD_LETTER_HELP,
        example: "file:orders.dead.jsonl",
    },
    Key {
        name: "on-refused",
        form: Form::Choice(ON_REFUSED),
        absent: Absent::Inherited("skip-record with a dead-letter, else stop-lane"),
        help: ON_REFUSED_HELP,
        example: "stop-lane",
    },
];

/// Keys of the process, at the top of the file.
pub const PROCESS: &[Key] = &[
    Key {
        name: "memory",
        form: Form::Size,
        absent: Absent::Default("256MiB"),
        help: "Memory for records that are read and not yet written, such as 1GiB; at least 64MiB \
               for each fan-out",
        example: "1GiB",
    },
    Key {
        name: "metrics",
        form: Form::Address,
        absent: Absent::Default("do not"),
        help: "Serve /metrics (Prometheus), /healthz and /readyz on this address, such as \
               127.0.0.1:9464",
        example: "127.0.0.1:9464",
    },
    Key {
        name: "metrics-per-shard",
        form: Form::Boolean,
        absent: Absent::Default("false"),
        help: "Metrics per output and shard as well, which may be many",
        example: "true",
    },
    Key {
        name: "log-format",
        form: Form::Choice(&["text", "json"]),
        absent: Absent::Default("text"),
        help: "Format of log lines on stderr: text, with a live view in a terminal, or json",
        example: "json",
    },
    Key {
        name: "until-caught-up",
        form: Form::Boolean,
        absent: Absent::Default("false"),
        help: "End with exit code 0 when every output has every record that was in the stream at \
               the start",
        example: "true",
    },
    Key {
        name: "drain-timeout",
        form: Form::Span,
        absent: Absent::Default("30s"),
        help: "Longest wait for writes that are under way when the program is stopped",
        example: "10s",
    },
    Key {
        name: "control",
        form: Form::Text("unix:PATH"),
        absent: Absent::Default(
            "NAME.sock in $XDG_RUNTIME_DIR/distributary, else beside the state file",
        ),
        help: "Address at which `distributary ctl` reaches the running process: unix:PATH, or none",
        example: "unix:/run/distributary/orders.sock",
    },
];

/// Keys that every output has, whatever its kind.
pub const EVERY_OUTPUT: &[Key] = &[
    Key {
        name: TYPE,
        form: Form::Text("KIND"),
        absent: Absent::Default("kinesis"),
        help: "The kind of the output",
        example: "kinesis",
    },
    Key {
        name: "name",
        form: Form::Name,
        absent: Absent::Default("from the target: the stream's name, the file's name"),
        help: "The output's name in the progress, the logs and the metrics. Needed where two \
               outputs have the same default name (streams of one name in two regions). A renamed \
               output is recognised by its place",
        example: "london",
    },
    Key {
        name: "order",
        form: Form::Choice(&["strict", "resend", "unordered"]),
        absent: Absent::Default("the fan-out's order, as far as the kind can keep it"),
        help: "Order per partition key: strict, resend or unordered (docs/SEMANTICS.md, line 3)",
        example: "unordered",
    },
    Key {
        name: "start",
        form: Form::Start,
        absent: Absent::Default("the fan-out's start"),
        help: "Where the output starts while there is no progress",
        example: "latest",
    },
    Key {
        name: "paused",
        form: Form::Boolean,
        absent: Absent::Default("false"),
        help: "true: nothing is written to the output, and its position is kept",
        example: "true",
    },
    Key {
        name: STREAMS,
        form: Form::Text("PATTERN"),
        absent: Absent::Default(""),
        help: "In place of stream: every stream of the account and region with such a name is an \
               output, with the keys of this table, also one that is created later. * stands for \
               any text, ? for one character; patterns are separated by commas, and one behind ! \
               leaves names out. The source, outputs with a table of their own and streams for \
               dead letters are never taken",
        example: "app-output-*,!app-output-test",
    },
    Key {
        name: TAG,
        form: Form::Text("KEY=VALUE"),
        absent: Absent::Default(""),
        help: "In place of stream, or with streams: every stream with this tag (and such a name) is \
               an output, found as with streams. AWS lists the tags of five streams a second: name \
               the streams as well where there are hundreds. A stream that loses the tag stays an \
               output until the next start",
        example: "copies=orders",
    },
    Key {
        name: "new-outputs",
        form: Form::Choice(&["created", "latest", "trim-horizon"]),
        absent: Absent::Default("created"),
        help: "With streams or tag: where an output starts that is found after the first start of the \
               fan-out: created (its own creation), latest or trim-horizon",
        example: "latest",
    },
    Key {
        name: "outputs-max",
        form: Form::Count,
        absent: Absent::Default("100"),
        help: "With streams or tag: the most outputs that may be found; the first ones by name are taken",
        example: "300",
    },
    Key {
        name: DEAD_LETTER,
        form: Form::Output,
        absent: Absent::Default("the fan-out's dead-letter"),
        help: DEAD_LETTER_HELP,
        example: "file:orders.dead.jsonl",
    },
    Key {
        name: "on-refused",
        form: Form::Choice(ON_REFUSED),
        absent: Absent::Default("the fan-out's on-refused"),
        help: ON_REFUSED_HELP,
        example: "stop-lane",
    },
    Key {
        name: "filter",
        form: Form::Texts("PATTERN"),
        absent: Absent::Default("every record"),
        help: "Only records that match this event pattern of EventBridge and Lambda, or one of a \
               list of up to five; others are counted as filtered. Members: data, partitionKey, \
               sequenceNumber, approximateArrivalTimestamp, eventID, eventSourceARN, awsRegion \
               (docs/guides/filters.md)",
        example: r#"{"data": {"temperature": [{"numeric": [">", 30]}]}}"#,
    },
    Key {
        name: "keys",
        form: Form::Text("GLOB"),
        absent: Absent::Default("every key"),
        help: "Only records whose partition key matches: * stands for any characters, ? for one; a \
               record without a key does not match",
        example: "eu-*",
    },
    Key {
        name: "on-not-json",
        form: Form::Choice(&["drop", "pass"]),
        absent: Absent::Default("drop"),
        help: "Records whose data are not a JSON object, where a pattern of filter names members of \
               the data: drop (as AWS Lambda does) or pass",
        example: "pass",
    },
    Key {
        name: "pump",
        form: Form::Name,
        absent: Absent::Default("the output takes the records themselves"),
        help: "The pump whose rows the output takes in place of the records",
        example: "web",
    },
    Key {
        name: "from-stream",
        form: Form::Text("STREAM"),
        absent: Absent::Default("the only stream that the pump makes"),
        help: "The stream of the pump's code whose rows the output takes; error_stream for the rows \
               that failed",
        example: "DESTINATION_SQL_STREAM",
    },
    Key {
        name: "row-format",
        form: Form::Choice(&["json", "csv"]),
        absent: Absent::Default("json"),
        help: "The form of a row: a JSON object, or values between commas with a line break",
        example: "csv",
    },
    Key {
        name: "partition-key",
        form: Form::Text("COLUMN"),
        absent: Absent::Default(
            "the key of the source record where a row has one, else a hash of the row",
        ),
        help: "The column whose text is the partition key of a row",
        example: "TICKER",
    },
];

/// The key that names the kind of an output inside another table.
pub(crate) const NESTED_OUTPUT: &[Key] = &[Key {
    name: TYPE,
    form: Form::Text("KIND"),
    absent: Absent::Default("kinesis"),
    help: "The kind of the output",
    example: "kinesis",
}];

/// The key of every source, whatever its kind.
pub const EVERY_SOURCE: &[Key] = &[Key {
    name: TYPE,
    form: Form::Text("KIND"),
    absent: Absent::Default("kinesis"),
    help: "The kind of the source",
    example: "kinesis",
}];
