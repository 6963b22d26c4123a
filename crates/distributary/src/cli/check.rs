//! `distributary check`.

use std::process::ExitCode;

use distributary_adapters::kind::{Finding, Severity};
use distributary_config::{Mistakes, Process};
use serde_json::{Value, json};

use super::config_args::ConfigArgs;
use crate::check;
use crate::connect::Access;
use crate::failure::Failure;
use crate::screen;

/// Flags of `check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary check -c distributary.toml
  distributary check -c distributary.toml --connect
  distributary check -c distributary.toml --iam
  distributary check --from input --to 'file:input.jsonl' --connect --json

Without --connect, no network is used, and every mistake of the configuration and of the pumps' code is reported. Nothing is ever written; whether \
records may be written to a stream shows when the first one is. Exit code 0: all is fine, or works with a drawback; 1: \
something does not work; 2: the configuration is wrong.")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Try every source and output: whether they exist, answer, and fit each other
    #[arg(long, display_order = 0)]
    connect: bool,
    /// Print the least IAM policies that the configuration needs, one for each role
    #[arg(long, display_order = 0, conflicts_with_all = ["connect", "json"])]
    iam: bool,
    /// Print a JSON list of {subject, finding, severity, advice}
    #[arg(long, display_order = 0)]
    json: bool,
}

/// Checks and prints the findings.
pub(crate) async fn run(args: CheckArgs) -> Result<ExitCode, Failure> {
    let process = match args.config.resolve() {
        Ok((process, _)) => process,
        Err(mistakes) if args.json => {
            let findings = of_mistakes(&mistakes);
            print_json(&findings)?;
            return Ok(ExitCode::from(2));
        }
        Err(mistakes) => return Err(Failure::usage(mistakes.to_string())),
    };

    let broken = check::pumps(&process);
    if !broken.is_empty() {
        return refuse(&broken, args.json);
    }

    if args.iam {
        let policies = check::iam::policies(&process);
        screen::print(&format!("{policies:#}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let findings = findings(&process, args.connect).await?;
    if args.json {
        print_json(&findings)?;
    } else {
        print(&findings, &process, args.connect)?;
    }
    Ok(exit_code(&findings))
}

/// Reports pumps that do not compile: the configuration is wrong.
fn refuse(broken: &[Finding], json: bool) -> Result<ExitCode, Failure> {
    if json {
        print_json(broken)?;
        return Ok(ExitCode::from(2));
    }

    let messages: Vec<&str> = broken
        .iter()
        .map(|finding| finding.finding.as_str())
        .collect();
    Err(Failure::usage(messages.join("\n")))
}

async fn findings(process: &Process, connect: bool) -> Result<Vec<Finding>, Failure> {
    let mut findings = of_notes(process);
    if connect {
        let access = Access::for_process(process)?;
        let tried = check::connect(process, &access).await;
        findings.extend(tried);
    }
    Ok(findings)
}

fn exit_code(findings: &[Finding]) -> ExitCode {
    let fails = |finding: &Finding| finding.severity == Severity::Failure;
    match findings.iter().any(fails) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn of_mistakes(mistakes: &Mistakes) -> Vec<Finding> {
    let finding = |mistake: &distributary_config::Mistake| Finding {
        subject: mistake.place.to_string(),
        finding: mistake.message.clone(),
        severity: Severity::Failure,
        advice: "correct the configuration".to_owned(),
    };
    mistakes.iter().map(finding).collect()
}

/// Values that were adapted, and variables that mean nothing.
fn of_notes(process: &Process) -> Vec<Finding> {
    let finding = |note: &String| Finding {
        subject: "configuration".to_owned(),
        finding: note.clone(),
        severity: Severity::Warning,
        advice: String::new(),
    };
    process.notes.iter().map(finding).collect()
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Fine => "fine",
        Severity::Warning => "warning",
        Severity::Failure => "failure",
    }
}

fn print_json(findings: &[Finding]) -> Result<(), Failure> {
    let item = |finding: &Finding| {
        json!({
            "subject": finding.subject,
            "finding": finding.finding,
            "severity": word(finding.severity),
            "advice": finding.advice,
        })
    };
    let list: Vec<Value> = findings.iter().map(item).collect();
    screen::print(&format!("{:#}\n", Value::from(list)))
}

fn table(findings: &[Finding]) -> String {
    let mut text = String::new();
    let length = |finding: &Finding| finding.subject.chars().count();
    let width = findings.iter().map(length).max();
    let width = width.unwrap_or_default();

    for finding in findings {
        let Finding {
            subject,
            finding,
            severity,
            advice,
        } = finding;
        let severity = word(*severity);
        text.push_str(&format!("{severity:<7}  {subject:<width$}  {finding}\n"));
        if !advice.is_empty() {
            text.push_str(&format!("{:7}  {:width$}  {advice}\n", "", ""));
        }
    }
    text
}

fn print(findings: &[Finding], process: &Process, connected: bool) -> Result<(), Failure> {
    let mut text = table(findings);
    let fan_outs = process.fan_outs.len();
    let counts = process.fan_outs.iter();
    let counts = counts.map(|fan_out| fan_out.outputs.len());
    let outputs: usize = counts.sum();
    text.push_str(&format!(
        "The configuration is valid: fan-outs {fan_outs}, outputs {outputs}.\n"
    ));
    if !connected {
        text.push_str("Nothing was connected to; --connect tries every source and output.\n");
    }
    screen::print(&text)
}
