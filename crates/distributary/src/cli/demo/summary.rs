//! What the demo says before and after.

use std::time::Duration;

use distributary_core::engine::Status;

use super::play::{Play, tell};
use super::producer::Produced;
use super::{DemoArgs, INPUT, INPUT_SHARDS, OUTPUT_SHARDS};
use crate::show;
use crate::verify::Report;

/// What is about to be seen.
pub(super) fn introduce(args: &DemoArgs, outputs: &[String]) {
    let list = match outputs {
        [one] => one.clone(),
        [first, .., last] => format!("{first} … {last}"),
        [] => String::new(),
    };
    let s = if outputs.len() == 1 { "" } else { "s" };
    tell(&format!(
        "An embedded Kinesis in this process: stream {INPUT} with {INPUT_SHARDS} shards, and\n\
         {} output{s} ({list}) with {OUTPUT_SHARDS} shards each.\n\
         For {} s, {} records a second go into {INPUT}; the fan-out copies them.\n",
        outputs.len(),
        args.time.0.as_secs_f64(),
        show::count(u64::from(args.rate)),
    ));
}

/// What happened.
pub(super) struct Shown<'a> {
    pub(super) produced: Produced,
    pub(super) play: &'a Play<'a>,
    pub(super) status: &'a Status,
    pub(super) report: &'a Report,
    pub(super) holds: bool,
}

/// What was seen, and what to try next: on stdout.
pub(super) fn conclude(shown: &Shown<'_>) {
    println!("{}", text(shown, &path()));
}

/// What makes the program be found by its name; empty if the user called it by that.
fn path() -> String {
    let by_name = std::env::args_os()
        .next()
        .is_some_and(|called| !called.to_string_lossy().contains('/'));
    let dir = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.display().to_string()));
    dir.filter(|_| !by_name)
        .map(|dir| format!("  export PATH=\"$PATH:{dir}\"\n"))
        .unwrap_or_default()
}

fn text(shown: &Shown<'_>, path: &str) -> String {
    let Shown {
        produced,
        play,
        status,
        report,
        holds,
    } = shown;
    let outputs = status.outputs.len();
    let mut text = format!(
        "\nEach output compared with {INPUT}, record by record:\n\n{}\n",
        if *holds {
            report.table()
        } else {
            report.text()
        }
    );
    if *holds {
        text.push_str(&format!(
            "{} were put into {INPUT} in {:.1} s, and {} {}:\n\
             nothing missing, nothing extra, every key in order.\n\n",
            show::records(produced.records),
            produced.took.as_secs_f64(),
            if outputs == 1 {
                "the output has"
            } else {
                "every output has"
            },
            if report.repeats() == 0 {
                "exactly that"
            } else {
                "all of that"
            },
        ));
    } else {
        text.push_str(
            "The comparison does NOT hold. Please report this, with what stands above.\n\n",
        );
    }
    text.push_str(&format!(
        "- One read served {}: {} delivered, {} read.\n",
        if outputs == 1 {
            "the output".to_owned()
        } else {
            format!("all {outputs} outputs")
        },
        show::records(status.outputs.iter().map(|o| o.counts.durable).sum()),
        show::count(status.source.records),
    ));
    if let Some(split) = &play.split {
        text.push_str(&format!(
            "- After {:.1} s {} was split: its children were copied after it.\n",
            split.at.as_secs_f64(),
            split.shard,
        ));
    }
    text.push_str(&throttling(shown));
    let repeats = report.repeats();
    if repeats > 0 {
        text.push_str(&format!(
            "- {} sent again after a lost answer: at least once is the promise, and\n  each one's last occurrence stands in order.\n",
            show::records(repeats)
        ));
    }
    text.push_str(&format!("\nNothing is left behind. {}", next(path)));
    text
}

fn throttling(shown: &Shown<'_>) -> String {
    let play = shown.play;
    let Some(throttled) = &play.throttled else {
        return String::new();
    };
    let lasted = throttled
        .to
        .unwrap_or(throttled.from)
        .saturating_sub(throttled.from);
    let of = |name: &str| play.behind.get(name).copied().unwrap_or_default();
    let others = play
        .behind
        .keys()
        .filter(|name| **name != throttled.output)
        .map(|name| of(name))
        .max();
    let refused: u64 = shown
        .status
        .outputs
        .iter()
        .filter(|output| output.id.as_str() == throttled.output)
        .flat_map(|output| output.counts.errors.values())
        .sum();
    format!(
        "- {} refused every write for {:.1} s ({} refused). It fell up to {}\n  behind, the others never more than {}; then it caught up.\n",
        throttled.output,
        lasted.as_secs_f64(),
        show::count(refused),
        seconds(of(&throttled.output)),
        at_most(others.unwrap_or_default()),
    )
}

fn seconds(d: Duration) -> String {
    format!("{:.1} s", d.as_secs_f64())
}

/// "never more than" this.
fn at_most(d: Duration) -> String {
    if d < Duration::from_millis(100) {
        "0.1 s".to_owned()
    } else {
        seconds(d)
    }
}

fn next(path: &str) -> String {
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
