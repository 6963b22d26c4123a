//! `InputSchema` of the AWS API: columns, format, encoding.

use serde::Deserialize;

use crate::catalog::Column;
use crate::text::parse_type;

/// A schema for records, as AWS's `SourceSchema`/`InputSchema`.
///
/// Source: "SourceSchema" in the Amazon Kinesis Data Analytics API Reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSchema {
    pub(crate) columns: Vec<SchemaColumn>,
    pub(crate) format: Format,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SchemaColumn {
    pub(crate) name: String,
    pub(crate) sql_type: String,
    pub(crate) mapping: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Format {
    Json { row_path: String },
    Csv { column: String, row: String },
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawSchema {
    record_columns: Vec<RawColumn>,
    record_format: RawFormat,
    record_encoding: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawColumn {
    name: String,
    sql_type: String,
    mapping: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawFormat {
    record_format_type: String,
    mapping_parameters: Option<RawParameters>,
}

#[derive(Default, Deserialize)]
struct RawParameters {
    #[serde(rename = "JSONMappingParameters")]
    json: Option<RawJson>,
    #[serde(rename = "CSVMappingParameters")]
    csv: Option<RawCsv>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawJson {
    record_row_path: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawCsv {
    record_row_delimiter: Option<String>,
    record_column_delimiter: Option<String>,
}

impl InputSchema {
    /// Reads the JSON of an `InputSchema`, also wrapped in an object with that member.
    ///
    /// # Errors
    /// With the sentence for the user, when a member is missing or wrong.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| format!("the schema is not JSON: {error}"))?;
        let inner = ["InputSchema", "ReferenceSchema", "SourceSchema"]
            .iter()
            .find_map(|member| value.get(member).cloned());
        Self::from_value(inner.unwrap_or(value))
    }

    pub(crate) fn from_value(value: serde_json::Value) -> Result<Self, String> {
        let raw: RawSchema = serde_json::from_value(value)
            .map_err(|error| format!("the schema can't be read: {error}"))?;
        if let Some(encoding) = raw.record_encoding
            && !encoding.eq_ignore_ascii_case("UTF-8")
        {
            return Err(format!("RecordEncoding {encoding}; expected UTF-8"));
        }

        let format = raw.record_format.into_format()?;
        let columns: Vec<SchemaColumn> = raw
            .record_columns
            .into_iter()
            .map(|column| SchemaColumn {
                name: column.name,
                sql_type: column.sql_type,
                mapping: column.mapping,
            })
            .collect();
        let schema = Self { columns, format };
        schema.columns()?;
        Ok(schema)
    }

    /// The columns with their types.
    pub(crate) fn columns(&self) -> Result<Vec<Column>, String> {
        if self.columns.is_empty() || self.columns.len() > 1000 {
            return Err("RecordColumns wants 1 to 1000 columns".to_owned());
        }

        let mut columns: Vec<Column> = Vec::with_capacity(self.columns.len());
        for SchemaColumn { name, sql_type, .. } in &self.columns {
            if columns.iter().any(|known| known.name == *name) {
                return Err(format!("the column \"{name}\" is defined twice"));
            }

            columns.push(column_of(name, sql_type)?);
        }
        Ok(columns)
    }

    /// The path of each column.
    pub(crate) fn mappings(&self) -> Vec<String> {
        self.columns
            .iter()
            .map(|column| match &column.mapping {
                Some(mapping) if !mapping.is_empty() => mapping.clone(),
                _ => format!("$['{}']", column.name),
            })
            .collect()
    }
}

fn column_of(name: &str, sql_type: &str) -> Result<Column, String> {
    let parsed = parse_type(sql_type);
    let sql_type = parsed.map_err(|issue| {
        let reason = issue.message;
        format!("the column \"{name}\": {reason}")
    })?;

    Ok(Column {
        name: name.to_owned(),
        sql_type,
        not_null: false,
    })
}

impl RawFormat {
    fn into_format(self) -> Result<Format, String> {
        let parameters = self.mapping_parameters.unwrap_or_default();
        match self.record_format_type.to_ascii_uppercase().as_str() {
            "JSON" => {
                let json = parameters.json.unwrap_or_default();
                Ok(Format::Json {
                    row_path: json.record_row_path.unwrap_or_else(|| "$".to_owned()),
                })
            }
            "CSV" => {
                let csv = parameters.csv.unwrap_or_default();
                Ok(Format::Csv {
                    column: csv
                        .record_column_delimiter
                        .unwrap_or_else(|| ",".to_owned()),
                    row: csv.record_row_delimiter.unwrap_or_else(|| "\n".to_owned()),
                })
            }
            other => Err(format!("RecordFormatType {other}; expected JSON or CSV")),
        }
    }
}
