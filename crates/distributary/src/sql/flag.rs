//! `run --pump FILE`: one pump for all outputs, with a schema from the stream where none is kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use distributary_adapters::kind::Ending;
use distributary_config::{FanOutConfig, Process, PumpCode, PumpConfig, RowWord, RowsConfig};
use distributary_core::text::chain;
use distributary_sql::infer_schema;

use super::Sample;
use crate::connect::Access;
use crate::failure::Failure;
use crate::screen;

/// Lets every output of the only fan-out take the rows of the pump in the file at `path`.
pub(crate) async fn add_pump(
    process: &mut Process,
    path: &Path,
    access: &Access,
) -> Result<(), Failure> {
    let [fan_out] = process.fan_outs.as_mut_slice() else {
        return Err(Failure::usage(
            "--pump is for one fan-out; write a [[pump]] table in the file",
        ));
    };
    let pump = pump(fan_out, path, access).await?;
    let pump = Arc::new(pump);
    for output in &mut fan_out.outputs {
        output.rows = Some(RowsConfig {
            pump: Arc::clone(&pump),
            from_stream: None,
            format: RowWord::default(),
            partition_key: None,
        });
    }
    Ok(())
}

async fn pump(fan_out: &FanOutConfig, path: &Path, access: &Access) -> Result<PumpConfig, Failure> {
    let code = read(path)?;
    let name = name_of(path);
    let is_json = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    if is_json {
        let code = PumpCode::Application(code);
        return Ok(PumpConfig::new(name, code, None));
    }

    let schema = schema(fan_out, path, access).await?;
    let code = PumpCode::Sql(code);
    Ok(PumpConfig::new(name, code, Some(schema)))
}

/// The name of the file without the extension.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// The schema in the file `NAME.schema.json` beside the code; without such a file, one that is
/// inferred from the first records and printed.
async fn schema(fan_out: &FanOutConfig, code: &Path, access: &Access) -> Result<String, Failure> {
    let kept = kept_schema(code);
    if kept.exists() {
        return read(&kept);
    }

    let schema = inferred(fan_out, access).await?;
    let kept = kept.display();
    screen::say(&format!(
        "{schema}\nThe schema above was inferred: keep it in {kept}, and every start has it."
    ));
    Ok(schema)
}

/// The schema of the first records of the source.
async fn inferred(fan_out: &FanOutConfig, access: &Access) -> Result<String, Failure> {
    let context = access.build_context(Ending::default());
    let source = fan_out.source.build(&context).await;
    let source = source.map_err(|error| Failure::run(chain(&error)))?;
    let stream = fan_out.source.default_name();
    tracing::info!("inferring a schema from the first records of {stream}");

    let sample = Sample {
        stream: stream.clone(),
        source: source.source,
        clock: access.clock.clone(),
        waits: true,
    };
    let records = sample.take().await?;
    infer_schema(&records).map_err(|why| Failure::run(format!("{stream}: {why}")))
}

fn kept_schema(code: &Path) -> PathBuf {
    code.with_extension("schema.json")
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("can't read {}: {error}", path.display())))
}
