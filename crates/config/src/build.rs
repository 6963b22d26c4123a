//! From the settings of an output to the parts that the engine, or a delivery without one, takes.

use std::sync::Arc;

use distributary_adapters::kind::{BuildContext, BuildError};
use distributary_adapters::outputs::BuiltOutput;
use distributary_core::engine::OutputSpec;
use distributary_core::engine::deliver::DeadLetter;
use distributary_core::output::Output;
use distributary_core::pump::{Chain, Pump, PumpRef};
use distributary_core::store::OutputId;

use crate::dead_letter_outputs::DeadLetterOutputs;
use crate::process::OutputConfig;

/// An output, and the places that turned out to be its own.
pub struct Found {
    /// The output as the engine takes one. The rows of a pump written in SQL are not in it.
    pub spec: OutputSpec,
    /// The identity of the place, comparable with that of the source and of other outputs.
    pub identity: String,
    /// The identity of the place for dead letters.
    pub dead_letters: Option<String>,
}

/// Builds the output of `config` with its place for dead letters.
///
/// # Errors
/// [`BuildError`] of the output, or of the place for dead letters.
pub async fn find(
    config: OutputConfig,
    context: &BuildContext,
    dead_letters: &DeadLetterOutputs,
) -> Result<Found, BuildError> {
    let built = config.settings.build(context).await?;
    let place = match config.refused.dead_letter() {
        Some(settings) => Some(dead_letters.get(settings, context).await?),
        None => None,
    };

    let place = place.map(|built| (built.output, built.identity));
    let (place, dead_letters) = place.unzip();
    Ok(Found {
        identity: built.identity.clone(),
        spec: spec(config, built, place),
        dead_letters,
    })
}

fn spec(
    config: OutputConfig,
    built: BuiltOutput,
    dead_letters: Option<Arc<dyn Output>>,
) -> OutputSpec {
    let pump = pump_of(&config, built.pump);
    OutputSpec {
        id: OutputId::new(&config.name),
        output: built.output,
        place: Some(built.identity),
        order: config.order,
        start: config.start,
        paused: config.paused,
        dead_letter: dead_letters.map(|output| DeadLetter {
            refused_by: config.name,
            output,
        }),
        pump,
    }
}

/// The pump of an output: the preparations, then the output's own, then the filter, which sees user
/// records where aggregates are taken apart.
fn pump_of(config: &OutputConfig, own: Option<PumpRef>) -> Option<PumpRef> {
    let mut pumps: Vec<PumpRef> = Vec::new();
    let prepared = config.prepared.iter();
    pumps.extend(prepared.map(|preparation| preparation.pump()));
    pumps.extend(own);
    if let Some(filter) = &config.filter {
        let pump: Arc<dyn Pump> = filter.clone();
        pumps.push(PumpRef { pump, stream: 0 });
    }

    pumps.into_iter().reduce(|first, second| PumpRef {
        pump: Arc::new(Chain::new(first, second.pump)),
        stream: second.stream,
    })
}
