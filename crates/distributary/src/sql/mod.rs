//! SQL of the configuration: pumps that flags describe, and samples of records.

mod flag;
mod sample;

use distributary_config::PumpConfig;
use distributary_config::programs;
use distributary_sql::Program;

use crate::failure::Failure;

pub(crate) use distributary_config::programs::selection;
pub(crate) use flag::add_pump;
pub(crate) use sample::Sample;

/// The program of a pump.
///
/// # Errors
/// All errors of the code and of the schema, each with line and column.
pub(crate) fn compile(config: &PumpConfig) -> Result<Program, Failure> {
    programs::compile(config).map_err(Failure::usage)
}
