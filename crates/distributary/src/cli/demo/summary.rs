//! The texts that the demo prints before and after.

use std::time::Duration;

use distributary_core::engine::Status;

use super::producer::Produced;
use super::scenario::Scenario;
use super::{DemoArgs, INPUT, INPUT_SHARDS, OUTPUT_SHARDS};
use crate::failure::Failure;
use crate::screen;
use crate::show;
use crate::verify::Report;

/// Prints the setup.
pub(super) fn introduce(args: &DemoArgs, outputs: &[String]) {
    let list = match outputs {
        [one] => one.clone(),
        [first, .., last] => format!("{first} … {last}"),
        [] => String::new(),
    };
    let s = if outputs.len() == 1 { "" } else { "s" };
    screen::say(&format!(
        "An embedded Kinesis in this process: stream {INPUT} with {INPUT_SHARDS} shards, and\n\
         {} output{s} ({list}) with {OUTPUT_SHARDS} shards each.\n\
         For {} s, {} records per second are put into {INPUT}; the fan-out copies them.\n",
        outputs.len(),
        args.time.0.as_secs_f64(),
        show::count(u64::from(args.rate)),
    ));
}

/// The results of the demo.
pub(super) struct Shown<'a> {
    pub(super) produced: Produced,
    pub(super) scenario: &'a Scenario<'a>,
    pub(super) status: &'a Status,
    pub(super) report: &'a Report,
    /// True if every output has every record, in order.
    pub(super) complete: bool,
}

/// Prints the results and the next commands to try, on stdout.
pub(super) fn conclude(shown: &Shown<'_>) -> Result<(), Failure> {
    screen::print(&format!(
        "\nEach output compared with {INPUT}, record by record:\n\n{}\n{}{}\nNothing is left \
         behind. {}\n",
        if shown.complete {
            shown.report.table()
        } else {
            shown.report.text()
        },
        verdict(shown),
        events(shown),
        next_commands(&path()),
    ))
}

fn verdict(shown: &Shown<'_>) -> String {
    if !shown.complete {
        return "The comparison FAILED. Please report this, with the text above.\n\n".to_owned();
    }
    let outputs = if shown.status.outputs.len() == 1 {
        "the output has"
    } else {
        "every output has"
    };
    let records = if shown.report.repeats() == 0 {
        "exactly these"
    } else {
        "all of these"
    };
    format!(
        "{} were put into {INPUT} in {:.1} s, and {outputs} {records}:\n\
         nothing missing, nothing extra, every key in order.\n\n",
        show::records(shown.produced.records),
        shown.produced.took.as_secs_f64(),
    )
}

/// The events of the demo and their effect, one item each.
fn events(shown: &Shown<'_>) -> String {
    let mut text = served(shown.status);
    if let Some(split) = &shown.scenario.split {
        text.push_str(&format!(
            "- After {:.1} s {} was split: its children were copied after it.\n",
            split.at.as_secs_f64(),
            split.shard,
        ));
    }
    text.push_str(&throttling(shown));

    let repeats = shown.report.repeats();
    if repeats > 0 {
        text.push_str(&format!(
            "- {} sent again after a lost response: delivery is at least once, and\n  \
             the last occurrence of each record stands in order.\n",
            show::records(repeats)
        ));
    }
    text
}

fn served(status: &Status) -> String {
    let outputs = &status.outputs;
    let served = match outputs.len() {
        1 => "the output".to_owned(),
        n => format!("all {n} outputs"),
    };
    let delivered = outputs.iter().map(|o| o.counts.durable).sum();
    format!(
        "- One read served {served}: {} delivered, {} read.\n",
        show::records(delivered),
        show::count(status.source.records),
    )
}

fn throttling(shown: &Shown<'_>) -> String {
    let Some(throttled) = &shown.scenario.throttled else {
        return String::new();
    };
    let until = throttled.to.unwrap_or(throttled.from);
    let name = &throttled.output;
    format!(
        "- {name} refused every write for {} ({} refused) and fell up to\n  {} behind, then caught \
         up; the others were never more than {} behind.\n",
        seconds(until.saturating_sub(throttled.from)),
        show::count(refused(shown.status, name)),
        seconds(longest(shown.scenario, |output| output == name)),
        at_most(longest(shown.scenario, |output| output != name)),
    )
}

/// Requests that an output refused.
fn refused(status: &Status, name: &str) -> u64 {
    let mut outputs = status.outputs.iter();
    match outputs.find(|output| output.id.as_str() == name) {
        Some(output) => output.counts.errors.values().sum(),
        None => 0,
    }
}

/// The longest delay of the outputs for which `is_meant` holds.
fn longest(scenario: &Scenario<'_>, is_meant: impl Fn(&str) -> bool) -> Duration {
    let mut longest = Duration::ZERO;
    for (output, behind) in &scenario.behind {
        if is_meant(output) {
            longest = longest.max(*behind);
        }
    }
    longest
}

fn seconds(d: Duration) -> String {
    format!("{:.1} s", d.as_secs_f64())
}

/// An upper limit of `d` to one decimal.
fn at_most(d: Duration) -> String {
    seconds(d.max(Duration::from_millis(100)))
}

/// A command that adds this program to the path; empty if the user started the program by name.
fn path() -> String {
    let by_name = std::env::args_os()
        .next()
        .is_some_and(|program| !program.to_string_lossy().contains('/'));
    let dir = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.display().to_string()));
    match dir.filter(|_| !by_name) {
        Some(dir) => format!("  export PATH=\"$PATH:{dir}\"\n"),
        None => String::new(),
    }
}

fn next_commands(path: &str) -> String {
    format!(
        "Next, the same by hand. In one terminal:\n\n\
         {path}  distributary local --stream input:2 --stream output1:1 --stream output2:1\n\n\
         and in another:\n\n\
         {path}  export AWS_ENDPOINT_URL=http://127.0.0.1:4567 AWS_REGION=us-east-1\n  \
         export AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x\n  \
         distributary put input --key user-1 '{{\"log\": \"Record 0\"}}'\n  \
         distributary run --from input --to output1 --to output2 --until-caught-up\n  \
         distributary tail output1\n  \
         distributary verify --from input --to output1 output2\n\n\
         On AWS, leave out the first terminal and the two exports."
    )
}
