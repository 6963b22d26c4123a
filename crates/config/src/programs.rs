//! Pumps written in SQL: compiled programs, and the rows that outputs take.

use bytes::Bytes;
use distributary_sql::{Application, InputSchema, Program, RowFormat, Selection, StreamRole};

use crate::pumps::{PumpCode, PumpConfig, RowWord, RowsConfig};

/// The program of a pump.
///
/// # Errors
/// All errors of the code and of the schema, each with line and column.
pub fn compile(config: &PumpConfig) -> Result<Program, String> {
    let name = &config.name;
    let application = application(config).map_err(|why| format!("the pump {name}: {why}"))?;
    for note in &application.notes {
        tracing::info!(pump = name, "{note}");
    }
    let program = Program::compile(&application);
    program.map_err(|errors| format!("the pump {name} does not compile:\n{errors}"))
}

fn application(config: &PumpConfig) -> Result<Application, String> {
    let mut application = without_tables(config)?;
    for table in &config.references {
        let contents = Bytes::from(table.contents.clone());
        match &table.schema {
            Some(schema) => {
                let schema = InputSchema::from_json(schema)?;
                application.add_reference(&table.name, schema, contents);
            }
            None => application.set_reference(&table.name, contents)?,
        }
    }
    Ok(application)
}

fn without_tables(config: &PumpConfig) -> Result<Application, String> {
    let schema = config.schema.as_deref();
    let schema = schema.map(InputSchema::from_json);
    let schema = schema.transpose()?;
    match &config.code {
        PumpCode::Application(text) => {
            let mut application = Application::from_json(text)?;
            if let Some(schema) = schema {
                application.schema = schema;
            }
            Ok(application)
        }
        PumpCode::Sql(text) => {
            let schema = schema.ok_or("a schema is missing")?;
            Ok(Application::from_sql(text, schema))
        }
    }
}

/// The rows that an output takes.
///
/// # Errors
/// A sentence that lists the streams or the columns.
pub fn selection(program: &Program, rows: &RowsConfig) -> Result<Selection, String> {
    let name = rows.from_stream.as_deref();
    let stream = stream(program, name)?;

    let key = rows.partition_key.as_deref();
    let key = key.map(|name| column(program, stream, name));
    let key = key.transpose()?;
    Ok(Selection {
        stream,
        format: match rows.format {
            RowWord::Json => RowFormat::Json,
            RowWord::Csv => RowFormat::Csv,
        },
        key,
    })
}

/// The number of the stream by the name, or of the only one.
fn stream(program: &Program, name: Option<&str>) -> Result<usize, String> {
    let made = made_streams(program);
    let Some(name) = name else {
        return only_stream(program, &made);
    };
    if name == "error_stream" {
        return Ok(program.error_stream());
    }

    let found = number_of(&made, name);
    let found = found.or_else(|| {
        let upper = name.to_uppercase();
        number_of(&made, &upper)
    });
    found.ok_or_else(|| {
        let names = names(&made);
        format!(
            "key from-stream: the pump makes no stream {name:?}; expected one of {names}, or \
             error_stream"
        )
    })
}

fn number_of(made: &[(usize, &str)], name: &str) -> Option<usize> {
    let mut made = made.iter();
    let found = made.find(|(_, made)| *made == name);
    found.map(|(number, _)| *number)
}

/// The streams that the code creates, with their numbers.
fn made_streams(program: &Program) -> Vec<(usize, &str)> {
    let mut made = Vec::new();
    for (number, stream) in program.streams().iter().enumerate() {
        if stream.role == StreamRole::InApplication {
            let name = stream.name.as_str();
            made.push((number, name));
        }
    }
    made
}

fn names(made: &[(usize, &str)]) -> String {
    let names = made.iter();
    let quoted = names.map(|(_, name)| format!("{name:?}"));
    let quoted: Vec<String> = quoted.collect();
    quoted.join(", ")
}

/// The number of the only stream.
fn only_stream(program: &Program, made: &[(usize, &str)]) -> Result<usize, String> {
    match made {
        [(only, _)] => Ok(*only),
        [] => Err("the pump's code makes no stream".to_owned()),
        _ => the_only_output(program).ok_or_else(|| {
            let names = names(made);
            format!("the pump makes several streams: choose one by from-stream ({names})")
        }),
    }
}

/// The stream of the only output that an application's own configuration names.
fn the_only_output(program: &Program) -> Option<usize> {
    match program.outputs() {
        [only] => program.stream_named(&only.stream),
        _ => None,
    }
}

fn column(program: &Program, stream: usize, name: &str) -> Result<usize, String> {
    let stream = &program.streams()[stream];
    let place = |name: &str| {
        let mut columns = stream.columns.iter();
        columns.position(|column| column.name == name)
    };
    let found = place(name);
    let upper = name.to_uppercase();
    found.or_else(|| place(&upper)).ok_or_else(|| {
        let columns = stream.columns.iter();
        let columns = columns.map(|column| column.name.as_str());
        let columns: Vec<&str> = columns.collect();
        let columns = columns.join(", ");
        let stream = &stream.name;
        format!(
            "key partition-key: the stream {stream:?} has no column {name:?}; expected one of \
                 {columns}"
        )
    })
}
