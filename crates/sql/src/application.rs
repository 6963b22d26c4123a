//! Applications: code with its input schema, outputs and reference tables, also as AWS's JSON in
//! all its shapes.

use serde_json::Value as Json;

use crate::error::CompileErrors;
use crate::input::schema::InputSchema;
use crate::output::RowFormat;
use crate::reference::ReferenceSpec;

/// Everything that a program is compiled from.
#[derive(Debug, Clone)]
pub struct Application {
    /// The SQL text.
    pub code: String,
    /// The application's name; empty when the file has none.
    pub name: String,
    /// The ARN of the Kinesis stream that is the input, when one is configured.
    pub source: Option<String>,
    /// The configured start: `NOW`, `TRIM_HORIZON` or `LAST_STOPPED_POINT`.
    pub start: Option<String>,
    /// The input streams are called `<prefix>_001` and so on.
    pub name_prefix: String,
    /// The number of parallel input streams, 1 to 64.
    pub parallelism: usize,
    /// Further names of the first input stream, as stored: an unquoted name is in upper case.
    pub aliases: Vec<String>,
    /// The schema of the source's records.
    pub schema: InputSchema,
    /// The outputs that the configuration names.
    pub outputs: Vec<OutputSpec>,
    /// The reference tables.
    pub references: Vec<ReferenceSpec>,
    /// Parts of the configuration that have no equal here, each with the advice for the user.
    pub notes: Vec<String>,
}

/// An output of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSpec {
    /// The exact name of the stream whose rows are taken.
    pub stream: String,
    /// The form of the records.
    pub format: RowFormat,
    /// The service: `kinesis`, `firehose` or `lambda`.
    pub service: String,
    /// The ARN of the destination, when one is configured.
    pub resource: Option<String>,
}

impl Application {
    /// Code with a schema, as `sql test --app FILE.sql --schema FILE.json` has them. The input
    /// stream is `SOURCE_SQL_STREAM_001`.
    #[must_use]
    pub fn from_sql(code: &str, schema: InputSchema) -> Self {
        Self {
            code: code.to_owned(),
            name: String::new(),
            source: None,
            start: None,
            name_prefix: "SOURCE_SQL_STREAM".to_owned(),
            parallelism: 1,
            aliases: Vec::new(),
            schema,
            outputs: Vec::new(),
            references: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// An application from the contents of a file: AWS's JSON, or SQL with a schema beside it.
    ///
    /// # Errors
    /// Errors of class `config`, when the JSON or the schema is wrong or missing.
    pub fn from_file(
        is_json: bool,
        contents: &str,
        schema: Option<&str>,
    ) -> Result<Self, CompileErrors> {
        if is_json {
            return Self::from_json(contents).map_err(CompileErrors::config);
        }

        let schema = schema.ok_or_else(|| {
            CompileErrors::config("SQL alone says nothing of the records; expected a schema")
        })?;
        let schema = InputSchema::from_json(schema).map_err(CompileErrors::config)?;
        Ok(Self::from_sql(contents, schema))
    }

    /// An application as AWS's API takes or gives it: `create-application` and
    /// `describe-application` of both versions, the `ApplicationDetail` alone, or the properties of
    /// CloudFormation.
    ///
    /// # Errors
    /// With the sentence for the user, when a member is missing or wrong.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let json: Json = serde_json::from_str(text)
            .map_err(|error| format!("the application is not JSON: {error}"))?;
        let root = unwrapped(&json);
        let sql = sql_part(root);
        let code = code_of(root).ok_or("the application has no code: expected ApplicationCode")?;

        let inputs = list(sql, &["Inputs", "InputDescriptions"]);
        let [input] = inputs.as_slice() else {
            let message = format!("the application has {} inputs; expected one", inputs.len());
            return Err(message);
        };
        let mut application = Self {
            code,
            name: text_of(root, "ApplicationName")
                .unwrap_or_default()
                .to_owned(),
            source: source_of(input),
            start: start_of(input),
            name_prefix: text_of(input, "NamePrefix")
                .ok_or("the input has no NamePrefix")?
                .to_owned(),
            parallelism: parallelism(input)?,
            aliases: Vec::new(),
            schema: schema_of(input, "InputSchema")?,
            outputs: Vec::new(),
            references: Vec::new(),
            notes: Vec::new(),
        };
        application.note_input(input)?;
        for output in list(sql, &["Outputs", "OutputDescriptions"]) {
            application.add_output(output)?;
        }
        let names = ["ReferenceDataSources", "ReferenceDataSourceDescriptions"];
        for reference in list(sql, &names) {
            application.references.push(reference_of(reference)?);
        }
        Ok(application)
    }

    /// Adds a reference table, or replaces the one of the same name.
    pub fn add_reference(&mut self, name: &str, schema: InputSchema, contents: bytes::Bytes) {
        self.references.retain(|table| table.name != name);
        self.references.push(ReferenceSpec {
            name: name.to_owned(),
            schema,
            contents,
            location: None,
        });
    }

    /// Puts the contents of a reference table in place.
    ///
    /// # Errors
    /// When no table has this name.
    pub fn set_reference(&mut self, name: &str, contents: bytes::Bytes) -> Result<(), String> {
        let known: Vec<String> = self
            .references
            .iter()
            .map(|table| table.name.clone())
            .collect();
        let table = self.references.iter_mut().find(|table| table.name == name);
        match table {
            Some(table) => {
                table.contents = contents;
                Ok(())
            }
            None => Err(format!(
                "the application has no reference table \"{name}\"; it has: {}",
                known.join(", ")
            )),
        }
    }

    fn note_input(&mut self, input: &Json) -> Result<(), String> {
        let processing = [
            "InputProcessingConfiguration",
            "InputProcessingConfigurationDescription",
        ];
        if processing.iter().any(|member| !input[member].is_null()) {
            return Err(
                "the input has a preprocessing Lambda function (InputProcessingConfiguration), which \
                 is not run here: put its output in a stream of its own and read that"
                    .to_owned(),
            );
        }
        let firehose = ["KinesisFirehoseInput", "KinesisFirehoseInputDescription"];
        if firehose.iter().any(|member| !input[member].is_null()) {
            self.notes.push(
                "the input is a Firehose delivery stream, which can't be read here: write to a \
                 Kinesis stream instead and use that as the source"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn add_output(&mut self, output: &Json) -> Result<(), String> {
        let stream = text_of(output, "Name")
            .ok_or("an output has no Name")?
            .to_owned();
        let format = match output["DestinationSchema"]["RecordFormatType"].as_str() {
            None | Some("JSON") => RowFormat::Json,
            Some("CSV") => RowFormat::Csv,
            Some(other) => {
                return Err(format!(
                    "the output \"{stream}\" has RecordFormatType {other}; expected JSON or CSV"
                ));
            }
        };

        let services = [
            ("kinesis", "KinesisStreamsOutput"),
            ("firehose", "KinesisFirehoseOutput"),
            ("lambda", "LambdaOutput"),
        ];
        let found = services.iter().find_map(|(service, member)| {
            let described = format!("{member}Description");
            let target = [*member, described.as_str()]
                .into_iter()
                .find(|member| !output[*member].is_null())?;
            let resource = output[target]["ResourceARN"].as_str();
            Some(((*service).to_owned(), resource.map(ToOwned::to_owned)))
        });
        let (service, resource) = found.unwrap_or(("kinesis".to_owned(), None));
        if service == "firehose" {
            self.notes.push(format!(
                "the output \"{stream}\" is a Firehose delivery stream: use the firehose output, or \
                 another that takes the rows"
            ));
        }
        self.outputs.push(OutputSpec {
            stream,
            format,
            service,
            resource,
        });
        Ok(())
    }
}

/// The object with the application's members, out of the envelopes in which AWS's tools print it.
fn unwrapped(json: &Json) -> &Json {
    ["ApplicationDetail", "Properties"]
        .iter()
        .map(|member| &json[*member])
        .find(|inner| inner.is_object())
        .map_or(json, unwrapped)
}

/// The object that has inputs and outputs.
fn sql_part(root: &Json) -> &Json {
    let configurations = [
        ("ApplicationConfiguration", "SqlApplicationConfiguration"),
        (
            "ApplicationConfigurationDescription",
            "SqlApplicationConfigurationDescription",
        ),
    ];
    configurations
        .iter()
        .map(|(outer, inner)| &root[*outer][*inner])
        .find(|found| found.is_object())
        .unwrap_or(root)
}

/// The ARN of the Kinesis stream that an input reads.
fn source_of(input: &Json) -> Option<String> {
    let members = ["KinesisStreamsInput", "KinesisStreamsInputDescription"];
    let arn = members
        .iter()
        .find_map(|member| input[*member]["ResourceARN"].as_str());
    arn.map(ToOwned::to_owned)
}

fn start_of(input: &Json) -> Option<String> {
    let configuration = &input["InputStartingPositionConfiguration"];
    text_of(configuration, "InputStartingPosition").map(ToOwned::to_owned)
}

fn code_of(root: &Json) -> Option<String> {
    let create = &root["ApplicationConfiguration"]["ApplicationCodeConfiguration"]["CodeContent"];
    let describe = &root["ApplicationConfigurationDescription"]["ApplicationCodeConfigurationDescription"]
        ["CodeContentDescription"];
    [
        &root["ApplicationCode"],
        &create["TextContent"],
        &describe["TextContent"],
    ]
    .into_iter()
    .find_map(Json::as_str)
    .map(ToOwned::to_owned)
}

fn list<'a>(json: &'a Json, members: &[&str]) -> Vec<&'a Json> {
    members
        .iter()
        .find_map(|member| json[*member].as_array())
        .map(|list| list.iter().collect())
        .unwrap_or_default()
}

fn text_of<'a>(json: &'a Json, member: &str) -> Option<&'a str> {
    json[member].as_str()
}

fn parallelism(input: &Json) -> Result<usize, String> {
    let count = &input["InputParallelism"]["Count"];
    if count.is_null() {
        return Ok(1);
    }
    count
        .as_u64()
        .and_then(|count| usize::try_from(count).ok())
        .filter(|count| (1..=64).contains(count))
        .ok_or_else(|| format!("InputParallelism {count}; expected 1 to 64"))
}

fn schema_of(json: &Json, member: &str) -> Result<InputSchema, String> {
    if json[member].is_null() {
        return Err(format!("a member {member} is missing"));
    }
    InputSchema::from_value(json[member].clone())
}

fn reference_of(json: &Json) -> Result<ReferenceSpec, String> {
    let inner = &json["ReferenceDataSource"];
    let source = if inner.is_object() { inner } else { json };
    let name = text_of(source, "TableName").ok_or("a reference data source has no TableName")?;

    Ok(ReferenceSpec {
        name: name.to_owned(),
        schema: schema_of(source, "ReferenceSchema")?,
        contents: bytes::Bytes::new(),
        location: location_of(source),
    })
}

/// The bucket and the key of the object of a reference data source.
fn location_of(source: &Json) -> Option<String> {
    let members = ["S3ReferenceDataSource", "S3ReferenceDataSourceDescription"];
    let object = members
        .iter()
        .map(|member| &source[*member])
        .find(|object| object.is_object())?;

    let bucket = text_of(object, "BucketARN")?;
    let key = text_of(object, "FileKey")?;
    Some(format!("{bucket}/{key}"))
}
