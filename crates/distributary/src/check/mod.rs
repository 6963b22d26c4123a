//! Tries everything that a configuration names, before anything runs. Nothing is written.

pub(crate) mod iam;
mod pumps;

use std::collections::{BTreeMap, BTreeSet};

use distributary_adapters::kind::{BuildContext, BuildError, Ending, Finding, Severity};
use distributary_adapters::outputs::OutputSettings;
use distributary_config::discovery::{self, FoundOutput};
use distributary_config::{FanOutConfig, OutputConfig, OutputPattern, Process};
use distributary_core::text::chain;
use tokio::task::JoinSet;

use crate::connect::Access;

pub(crate) use pumps::pumps;

/// Outputs that are tried at the same time.
const AT_ONCE: usize = 16;

/// One thing to try.
struct Subject {
    name: String,
    settings: OutputSettings,
}

/// The findings about every source and output of `process`, in the order of the configuration.
pub(crate) async fn connect(process: &Process, access: &Access) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fan_out in &process.fan_outs {
        let context = access.build_context(Ending::default());
        let (of_fan_out, found) = connect_one(fan_out, context).await;
        findings.extend(of_fan_out);
        let outputs = fan_out.outputs.iter().chain(&found);
        findings.extend(loops(outputs, process));
    }
    findings
}

/// The findings about a fan-out, and the outputs that are found now.
async fn connect_one(
    fan_out: &FanOutConfig,
    mut context: BuildContext,
) -> (Vec<Finding>, Vec<OutputConfig>) {
    let name = fan_out.source.default_name();
    let part = format!("source {name}");
    let of_source = fan_out.source.check(&context).await;
    let mut findings = named(&part, of_source);

    // A source that cannot be built is reported already.
    let source = fan_out.source.build(&context).await.ok();
    context.like = source.and_then(|source| source.stream);
    let of_outputs = outputs(fan_out, &context).await;
    findings.extend(of_outputs);
    let (of_patterns, found) = patterns(fan_out, &context).await;
    findings.extend(of_patterns);
    (findings, found)
}

/// The outputs that are found by name now, with a finding about them.
async fn patterns(
    fan_out: &FanOutConfig,
    context: &BuildContext,
) -> (Option<Finding>, Vec<OutputConfig>) {
    if fan_out.patterns.is_empty() {
        return (None, Vec::new());
    }
    let running = BTreeSet::new();
    let found = discovery::search(fan_out, context, &running).await;
    let finding = of_search(fan_out, &found);

    let mut outputs = Vec::new();
    for output in found.unwrap_or_default().into_values() {
        outputs.push(output.config);
    }
    (Some(finding), outputs)
}

/// The finding about the outputs that the patterns of `fan_out` have found.
fn of_search(
    fan_out: &FanOutConfig,
    found: &Result<BTreeMap<String, FoundOutput>, BuildError>,
) -> Finding {
    let (severity, finding) = match found {
        Ok(found) if found.is_empty() => {
            let finding = "no such stream exists yet".to_owned();
            (Severity::Warning, finding)
        }
        Ok(found) => {
            let names: Vec<&str> = found.keys().map(String::as_str).collect();
            (Severity::Fine, format!("found: {}", names.join(", ")))
        }
        Err(error) => (Severity::Failure, chain(error)),
    };

    let texts = fan_out.patterns.iter();
    let texts: Vec<String> = texts.map(OutputPattern::wanted).collect();
    Finding {
        subject: format!("outputs {}", texts.join(", ")),
        finding,
        severity,
        advice: String::new(),
    }
}

async fn outputs(fan_out: &FanOutConfig, context: &BuildContext) -> Vec<Finding> {
    let mut subjects = fan_out.outputs.iter().flat_map(subjects).enumerate();
    let mut asked = JoinSet::new();
    let mut found = BTreeMap::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some((i, subject)) = subjects.next()
        {
            let context = context.clone();
            asked.spawn(async move {
                let findings = subject.check(&context).await;
                (i, findings)
            });
        }

        let Some(ended) = asked.join_next().await else {
            break;
        };
        // A check that panicked has no findings.
        if let Ok((i, findings)) = ended {
            found.insert(i, findings);
        }
    }
    found.into_values().flatten().collect()
}

/// The output, and the place of its dead letters.
fn subjects(output: &OutputConfig) -> Vec<Subject> {
    let name = &output.name;
    let mut subjects = vec![Subject {
        name: format!("output {name}"),
        settings: output.settings.clone(),
    }];
    if let Some(settings) = output.refused.dead_letter() {
        subjects.push(Subject {
            name: format!("dead letters of {name}"),
            settings: settings.clone(),
        });
    }
    subjects
}

impl Subject {
    async fn check(self, context: &BuildContext) -> Vec<Finding> {
        let findings = self.settings.check(context).await;
        named(&self.name, findings)
    }
}

/// Findings whose subjects tell the part that the place has in the configuration.
fn named(part: &str, findings: Vec<Finding>) -> Vec<Finding> {
    let of_part = |finding: Finding| {
        let place = &finding.subject;
        let name = part.rsplit(' ').next();
        let subject = match name {
            Some(name) if name == place => part.to_owned(),
            _ => format!("{part} ({place})"),
        };
        Finding { subject, ..finding }
    };
    findings.into_iter().map(of_part).collect()
}

/// The outputs of one fan-out that another fan-out of the process reads.
fn loops<'a>(outputs: impl Iterator<Item = &'a OutputConfig>, process: &Process) -> Vec<Finding> {
    let surroundings = &process.surroundings;
    let mut findings = Vec::new();
    for output in outputs {
        let target = output.settings.target(surroundings);
        let mut others = process.fan_outs.iter();
        let reader = others.find(|other| {
            let source = other.source.target(surroundings);
            source == target
        });
        if let Some(reader) = reader {
            let finding = is_read_by(output, reader);
            findings.push(finding);
        }
    }
    findings
}

fn is_read_by(output: &OutputConfig, reader: &FanOutConfig) -> Finding {
    Finding {
        subject: format!("output {}", output.name),
        finding: format!("is the source of the fan-out {}", reader.name),
        severity: Severity::Warning,
        advice: "make sure that no record comes back to the first stream".to_owned(),
    }
}
