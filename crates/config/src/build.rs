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
    let filter = config.filter;
    let filter = filter.map(|filter| filter as Arc<dyn Pump>);
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
        pump: pump_of(built.pump, filter),
    }
}

/// The pump of an output: the filter sees user records where the output takes aggregates apart.
fn pump_of(apart: Option<PumpRef>, filter: Option<Arc<dyn Pump>>) -> Option<PumpRef> {
    let pump = match (apart, filter) {
        (apart, None) => return apart,
        (None, Some(filter)) => filter,
        (Some(apart), Some(filter)) => Arc::new(Chain::new(apart, filter)),
    };
    Some(PumpRef { pump, stream: 0 })
}
