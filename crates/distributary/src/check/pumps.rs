//! Compiles the pumps of a configuration, and compares the outputs with their streams.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use distributary_adapters::kind::{Finding, Severity};
use distributary_config::programs::{compile, selection};
use distributary_config::{OutputConfig, Process, RowsConfig};
use distributary_sql::Program;

/// The programs by the names of their pumps; `None` for code that does not compile.
type Programs = BTreeMap<String, Option<Program>>;

/// All errors of the pumps that outputs take rows of, without the network.
pub(crate) fn pumps(process: &Process) -> Vec<Finding> {
    let mut programs = Programs::new();
    let mut findings = Vec::new();

    for fan_out in &process.fan_outs {
        for output in &fan_out.outputs {
            if let Some(rows) = &output.rows {
                check(output, rows, &mut programs, &mut findings);
            }
        }
    }
    findings
}

fn check(
    output: &OutputConfig,
    rows: &RowsConfig,
    programs: &mut Programs,
    findings: &mut Vec<Finding>,
) {
    let pump = rows.pump.name.clone();
    let program = match programs.entry(pump) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(new) => {
            let compiled = compile(&rows.pump);
            if let Err(message) = &compiled {
                let subject = format!("pump {}", rows.pump.name);
                findings.push(failure(subject, message.clone()));
            }
            new.insert(compiled.ok())
        }
    };

    let Some(program) = program else {
        return;
    };
    if let Err(why) = selection(program, rows) {
        let subject = format!("output {}", output.name);
        let message = format!("the {subject}: {why}");
        findings.push(failure(subject, message));
    }
}

fn failure(subject: String, finding: String) -> Finding {
    Finding {
        subject,
        finding,
        severity: Severity::Failure,
        advice: "correct the configuration".to_owned(),
    }
}
