//! Reference data: the contents of an S3 object or a file as a table.

use bytes::Bytes;

use crate::catalog::METADATA;
use crate::input::Decoder;
use crate::input::schema::InputSchema;
use crate::table::ReferenceTable;

/// A reference table of an application, with contents.
#[derive(Debug, Clone)]
pub struct ReferenceSpec {
    /// The exact name.
    pub name: String,
    /// The schema of the contents.
    pub schema: InputSchema,
    /// The contents; empty when they were not given.
    pub contents: Bytes,
    /// The place of the contents as configured (`bucket ARN/key`), when there is one.
    pub location: Option<String>,
}

/// The table, and the reasons of the lines that could not be read.
pub(crate) fn load_table(spec: &ReferenceSpec) -> Result<(ReferenceTable, Vec<String>), String> {
    let columns = spec
        .schema
        .columns()
        .map_err(|error| format!("the reference table \"{}\": {error}", spec.name))?;
    let all = (0..=columns.len()).collect();
    let decoder = Decoder::new(&spec.schema, &columns, &all)?;
    let mut rows = Vec::new();
    let mut bad = Vec::new();

    if !spec.contents.is_empty() {
        let mut row = Vec::new();
        let mut decoding = decoder.record(&spec.contents);
        while let Some(decoded) = decoding.next_row(&mut row) {
            match decoded {
                Ok(()) => {
                    let kept = row.len().saturating_sub(METADATA.len());
                    rows.push(row[..kept].to_vec());
                }
                Err(error) => {
                    let message = error.message().to_owned();
                    bad.push(message);
                }
            }
        }
    }
    let table = ReferenceTable {
        name: spec.name.clone(),
        columns,
        rows,
    };
    Ok((table, bad))
}
