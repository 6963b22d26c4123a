//! The pumps of a process: `[[pump]]` tables, and the keys of an output that takes the rows of one.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use distributary_adapters::keys::{Absent, Form, Key};
use distributary_adapters::values::{self, Expected, Name, Size, Span, nearest};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::mistake::{Mistakes, Place, Result};
use crate::table::{Layers, Table};

/// The list of pumps, in the file; in an output the name of a pump.
pub const PUMP: &str = "pump";
/// The longest file that a pump may name, in bytes.
const FILE_MAX: u64 = 64 << 20;

/// Keys of a `[[pump]]` table.
pub const PUMP_KEYS: &[Key] = &[
    Key {
        name: "name",
        form: Form::Name,
        absent: Absent::Required,
        help: "The name that outputs take rows by. A pump with windows or joins keeps its state \
               under the name",
        example: "web",
    },
    Key {
        name: "sql",
        form: Form::Text("SQL"),
        absent: Absent::Required,
        help: "The code, in the SQL of Kinesis Data Analytics; or a file with the code (NAME.sql), \
               or with a whole application as describe-application prints it (NAME.json)",
        example: "web.sql",
    },
    Key {
        name: "schema",
        form: Form::Path,
        absent: Absent::Default("the columns; a file NAME.json has a schema of its own"),
        help: "A file with the InputSchema of AWS, as JSON",
        example: "web-schema.json",
    },
    Key {
        name: "columns",
        form: Form::Tables(COLUMN_KEYS),
        absent: Absent::Default("the schema"),
        help: "The columns of the input stream, for records that are JSON objects",
        example: "",
    },
    Key {
        name: "reference",
        form: Form::Tables(REFERENCE_KEYS),
        absent: Absent::Default(""),
        help: "Reference tables, read when the process starts",
        example: "",
    },
    Key {
        name: "merge-wait",
        form: Form::Span,
        absent: Absent::Default("2s"),
        help: "With windows or joins: the longest time for which a shard that brings no records and \
               is not read holds the other shards",
        example: "5s",
    },
    Key {
        name: "idle-bound",
        form: Form::Text("TIME"),
        absent: Absent::Default("1s"),
        help: "With windows or joins: the time by which ROWTIME stays behind the clock when every \
               shard was read to the tip, so that windows of an idle stream end; never: windows end \
               by rows alone",
        example: "never",
    },
    Key {
        name: "state-limit",
        form: Form::Size,
        absent: Absent::Default("256MiB"),
        help: "With windows or joins: the most state that one pump of the code may hold",
        example: "1GiB",
    },
];

/// Keys of a column.
pub const COLUMN_KEYS: &[Key] = &[
    Key {
        name: "name",
        form: Form::Text("NAME"),
        absent: Absent::Required,
        help: "The exact name: quoted in the code, unless in upper case",
        example: "log",
    },
    Key {
        name: "type",
        form: Form::Text("TYPE"),
        absent: Absent::Required,
        help: "The SQL type",
        example: "VARCHAR(16)",
    },
    Key {
        name: "path",
        form: Form::Text("PATH"),
        absent: Absent::Default("$.NAME"),
        help: "The place in the record",
        example: "$.log",
    },
];

/// Keys of a reference table.
pub const REFERENCE_KEYS: &[Key] = &[
    Key {
        name: "name",
        form: Form::Text("NAME"),
        absent: Absent::Required,
        help: "The exact name of the table",
        example: "SECTORS",
    },
    Key {
        name: "file",
        form: Form::Path,
        absent: Absent::Required,
        help: "The contents",
        example: "sectors.csv",
    },
    Key {
        name: "schema",
        form: Form::Path,
        absent: Absent::Default("the one of the application in NAME.json"),
        help: "A file with the ReferenceSchema of AWS, as JSON",
        example: "sectors-schema.json",
    },
];

const TWO_SCHEMAS: &str = "key schema: the pump has columns, too; leave one of them out";
const NO_SCHEMA: &str = "SQL alone says nothing of the records: give schema = \"FILE.json\" or \
    columns = [{ name = \"NAME\", type = \"TYPE\" }]";

const NO_PUMPS: &str = "the file has no [[pump]] tables: write them at the top of the file";

/// Keys of an output that takes some of the records.
const FILTER_KEYS: [&str; 3] = ["filter", "keys", "on-not-json"];

/// Keys of an output that takes the rows of a pump.
pub(crate) const ROW_KEYS: [&str; 3] = ["from-stream", "row-format", "partition-key"];

/// One pump, with the contents of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PumpConfig {
    /// The name.
    pub name: String,
    /// The SQL text, or an application as JSON.
    pub code: PumpCode,
    /// The `InputSchema` of AWS as JSON; needed with an SQL text.
    pub schema: Option<String>,
    /// The reference tables.
    pub references: Vec<PumpReference>,
    /// The longest time for which a shard without records holds the others.
    pub merge_wait: Duration,
    /// The time by which ROWTIME stays behind the clock of an idle stream; `None`: rows alone move
    /// ROWTIME.
    pub idle_bound: Option<Duration>,
    /// The most bytes of state that one pump of the code may hold.
    pub state_limit: usize,
}

/// The code of a pump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PumpCode {
    /// SQL.
    Sql(String),
    /// An application as AWS's API takes or gives it.
    Application(String),
}

/// A reference table of a pump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PumpReference {
    /// The exact name.
    pub name: String,
    /// The contents.
    pub contents: Vec<u8>,
    /// The `ReferenceSchema` of AWS as JSON; `None`: the application has the schema.
    pub schema: Option<String>,
}

/// The rows that an output takes in place of the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsConfig {
    /// The pump.
    pub pump: Arc<PumpConfig>,
    /// The exact name of the stream; `None`: the only one that the pump makes.
    pub from_stream: Option<String>,
    /// The form of the rows.
    pub format: RowWord,
    /// The column whose text is a row's partition key; `None`: the key of the row's only source
    /// record, else a hash of the row.
    pub partition_key: Option<String>,
}

/// The form of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowWord {
    /// One JSON object a record.
    #[default]
    Json,
    /// Values between commas, and a line break at the end.
    Csv,
}

impl FromStr for RowWord {
    type Err = Expected;

    fn from_str(text: &str) -> std::result::Result<Self, Expected> {
        values::word(text, &[("json", Self::Json), ("csv", Self::Csv)])
    }
}

impl<'de> Deserialize<'de> for RowWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        values::text(deserializer)
    }
}

impl PumpConfig {
    /// A pump called `name` with default settings.
    #[must_use]
    pub fn new(name: String, code: PumpCode, schema: Option<String>) -> Self {
        Self {
            name,
            code,
            schema,
            references: Vec::new(),
            merge_wait: Duration::from_secs(2),
            idle_bound: Some(Duration::from_secs(1)),
            state_limit: 256 << 20,
        }
    }
}

/// The keys of a pump; a test holds them to [`PUMP_KEYS`].
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PumpTable {
    name: Name,
    sql: String,
    schema: Option<PathBuf>,
    columns: Option<Vec<ColumnTable>>,
    #[serde(default)]
    reference: Vec<ReferenceTable>,
    merge_wait: Option<Span>,
    idle_bound: Option<IdleBound>,
    state_limit: Option<Size>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnTable {
    name: String,
    r#type: String,
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReferenceTable {
    name: String,
    file: PathBuf,
    schema: Option<PathBuf>,
}

struct IdleBound(Option<Duration>);

impl FromStr for IdleBound {
    type Err = Expected;

    fn from_str(text: &str) -> std::result::Result<Self, Expected> {
        if text == "never" {
            return Ok(Self(None));
        }
        let span: Span = text
            .parse()
            .map_err(|expected: Expected| Expected(format!("{expected}, or never")))?;
        Ok(Self(Some(span.0)))
    }
}

impl<'de> Deserialize<'de> for IdleBound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        values::text(deserializer)
    }
}

/// The pumps of the tables, with the contents of their files.
///
/// # Errors
/// Every mistake: wrong values, names that are used twice, files that can't be read.
pub(crate) fn resolve(tables: &[Table]) -> Result<Vec<Arc<PumpConfig>>> {
    let mut mistakes = Mistakes::default();
    let mut pumps: Vec<Arc<PumpConfig>> = Vec::new();
    for table in tables {
        let Some(pump) = mistakes.take(of_table(table)) else {
            continue;
        };
        if pumps.iter().any(|other| other.name == pump.name) {
            let message = format!("two pumps are called {}; give each its own name", pump.name);
            mistakes.add(&table.place, message);
        }
        pumps.push(Arc::new(pump));
    }
    mistakes.or(pumps)
}

fn of_table(table: &Table) -> Result<PumpConfig> {
    let place = &table.place;
    let keys = keys(table)?;
    let code = code(&keys.sql, place)?;
    let schema = schema(&keys, &code, place)?;

    let mut pump = PumpConfig {
        references: references(&keys, place)?,
        ..PumpConfig::new(keys.name.0, code, schema)
    };
    if let Some(wait) = keys.merge_wait {
        pump.merge_wait = wait.0;
    }
    if let Some(bound) = keys.idle_bound {
        pump.idle_bound = bound.0;
    }
    if let Some(limit) = keys.state_limit {
        pump.state_limit = limit.0;
    }
    Ok(pump)
}

fn keys(table: &Table) -> Result<PumpTable> {
    let layer = Layers(vec![table]);
    let keys = layer.collect(PUMP_KEYS);
    PumpTable::deserialize(keys).map_err(|error| {
        let message = error.message();
        Mistakes::one(&table.place, message)
    })
}

fn references(keys: &PumpTable, place: &Place) -> Result<Vec<PumpReference>> {
    let mut references = Vec::new();
    for table in &keys.reference {
        let reference = reference_of(table, place)?;
        references.push(reference);
    }
    Ok(references)
}

/// The code itself, or that of the file `NAME.sql` or `NAME.json`.
fn code(sql: &str, place: &Place) -> Result<PumpCode> {
    let Some(extension) = extension(sql) else {
        let code = sql.to_owned();
        return Ok(PumpCode::Sql(code));
    };
    let folder = place.file().and_then(Path::parent);
    let path = match folder {
        Some(folder) => folder.join(sql),
        None => sql.into(),
    };

    let text = read_text(&path, place)?;
    match extension.as_str() {
        "json" => Ok(PumpCode::Application(text)),
        _ => Ok(PumpCode::Sql(text)),
    }
}

/// The extension of a text that is the name of a file and no code.
fn extension(sql: &str) -> Option<String> {
    if sql.contains(['\n', ';']) {
        return None;
    }
    let extension = Path::new(sql).extension()?.to_str()?.to_ascii_lowercase();
    matches!(extension.as_str(), "sql" | "json").then_some(extension)
}

/// The schema as JSON.
fn schema(keys: &PumpTable, code: &PumpCode, place: &Place) -> Result<Option<String>> {
    let is_whole = matches!(code, PumpCode::Application(_));
    match (&keys.schema, &keys.columns) {
        (Some(_), Some(_)) => {
            let mistake = Mistakes::one(place, TWO_SCHEMAS);
            Err(mistake)
        }
        (Some(path), None) => {
            let schema = read_text(path, place)?;
            Ok(Some(schema))
        }
        (None, Some(columns)) => Ok(Some(schema_of(columns))),
        (None, None) => {
            let missing = Mistakes::one(place, NO_SCHEMA);
            if is_whole { Ok(None) } else { Err(missing) }
        }
    }
}

/// AWS's form of columns in JSON records.
fn schema_of(columns: &[ColumnTable]) -> String {
    let mut all = Vec::with_capacity(columns.len());
    for column in columns {
        let mut json = json!({
            "Name": column.name,
            "SqlType": column.r#type,
        });
        if let Some(path) = &column.path {
            json["Mapping"] = json!(path);
        }
        all.push(json);
    }

    let schema = json!({
        "RecordColumns": all,
        "RecordFormat": { "RecordFormatType": "JSON" },
    });
    schema.to_string()
}

fn reference_of(table: &ReferenceTable, place: &Place) -> Result<PumpReference> {
    let schema = table.schema.as_deref();
    Ok(PumpReference {
        name: table.name.clone(),
        contents: read(&table.file, place)?,
        schema: schema.map(|path| read_text(path, place)).transpose()?,
    })
}

fn read_text(path: &Path, place: &Place) -> Result<String> {
    let bytes = read(path, place)?;
    String::from_utf8(bytes).map_err(|_| {
        let path = path.display();
        let message = format!("{path} is not UTF-8 text");
        Mistakes::one(place, message)
    })
}

fn read(path: &Path, place: &Place) -> Result<Vec<u8>> {
    let failed = |why: &str| {
        let path = path.display();
        let message = format!("cannot read {path}: {why}");
        Mistakes::one(place, message)
    };
    let length = fs::metadata(path)
        .map_err(|error| failed(&error.to_string()))?
        .len();
    if length > FILE_MAX {
        return Err(failed("the file has more than 64MiB"));
    }

    let bytes = fs::read(path);
    bytes.map_err(|error| failed(&error.to_string()))
}

/// The keys of an output about rows.
pub(crate) struct RowTable {
    pub(crate) pump: Option<String>,
    pub(crate) from_stream: Option<String>,
    pub(crate) row_format: Option<RowWord>,
    pub(crate) partition_key: Option<String>,
}

impl RowTable {
    /// The rows that the output takes; `None`: the records.
    pub(crate) fn resolve(
        self,
        table: &Table,
        pumps: &[Arc<PumpConfig>],
    ) -> Result<Option<RowsConfig>> {
        let Some(name) = self.pump else {
            check_alone(table)?;
            return Ok(None);
        };
        let pump = pump_called(&name, table, pumps)?;
        check_unfiltered(table)?;

        Ok(Some(RowsConfig {
            pump,
            from_stream: self.from_stream,
            format: self.row_format.unwrap_or_default(),
            partition_key: self.partition_key,
        }))
    }
}

fn pump_called(name: &str, table: &Table, pumps: &[Arc<PumpConfig>]) -> Result<Arc<PumpConfig>> {
    let found = pumps.iter().find(|pump| pump.name == name);
    match found {
        Some(pump) => Ok(Arc::clone(pump)),
        None => {
            let message = unknown_pump(name, pumps);
            Err(Mistakes::one(place(table, PUMP), message))
        }
    }
}

/// Without a pump, the other keys about rows mean nothing.
fn check_alone(table: &Table) -> Result<()> {
    for key in ROW_KEYS {
        if table.entries.contains_key(key) {
            let message = format!("key {key}: needs pump = \"NAME\" beside it");
            return Err(Mistakes::one(place(table, key), message));
        }
    }
    Ok(())
}

/// A pump filters by itself.
fn check_unfiltered(table: &Table) -> Result<()> {
    for key in FILTER_KEYS {
        if table.entries.contains_key(key) {
            let message = format!("key {key}: the output has a pump; write a WHERE in its code");
            return Err(Mistakes::one(place(table, key), message));
        }
    }
    Ok(())
}

fn place<'a>(table: &'a Table, key: &str) -> &'a Place {
    match table.entries.get(key) {
        Some(entry) => &entry.place,
        None => &table.place,
    }
}

fn unknown_pump(name: &str, pumps: &[Arc<PumpConfig>]) -> String {
    let names: Vec<&str> = pumps.iter().map(|pump| pump.name.as_str()).collect();
    let near = nearest(name, names.iter().copied());
    let hint = match near {
        Some(near) => format!("did you mean {near:?}?"),
        None if names.is_empty() => NO_PUMPS.to_owned(),
        None => {
            let names = names.join(", ");
            format!("expected one of {names}")
        }
    };
    format!("key pump: there is no pump {name:?}; {hint}")
}
