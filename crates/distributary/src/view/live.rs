//! The live view: one line for the source and one for each output, as wide as the terminal.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::{OutputState, OutputStatus, SourceStatus, Status};
use distributary_core::output::TroubleKind;

use super::rates::Rate;
use super::{DRAW, Snapshot, Snapshots};
use crate::screen;
use crate::show;

/// The width, in columns, if the terminal does not tell.
const WIDTH: usize = 80;
/// Rows of the terminal that are left for log lines and the shell.
const ROWS_LEFT: usize = 3;
/// Columns of the numbers after a name: delivered, rate, behind, errors, with spaces.
const NUMBERS: usize = 13 + 13 + 10 + 8;
/// The least number of characters for a name.
const NAME_MIN: usize = 8;

/// Draws the view at a fixed interval, until the future is dropped.
pub(super) async fn show(mut snapshots: Snapshots, clock: Clock) {
    let mut rates: BTreeMap<String, Rates> = BTreeMap::new();
    loop {
        let statuses = statuses(&snapshots.borrow_and_update());
        if !statuses.is_empty() {
            let (width, height) = screen_size();
            let speeds = speeds(&statuses, &mut rates, clock.now());
            let lines = render_all(&statuses, &speeds, width, height);
            screen::draw(lines);
        }
        clock.sleep(DRAW).await;
    }
}

/// Columns and rows of the terminal.
fn screen_size() -> (usize, usize) {
    screen::size().unwrap_or((WIDTH, usize::MAX))
}

/// The speeds of each fan-out. `rates` are kept by the name of the fan-out.
fn speeds(
    statuses: &[Arc<Status>],
    rates: &mut BTreeMap<String, Rates>,
    now: Instant,
) -> Vec<Speeds> {
    rates.retain(|name, _| {
        let mut running = statuses.iter();
        running.any(|status| status.name == *name)
    });

    let mut speeds = Vec::with_capacity(statuses.len());
    for status in statuses {
        let rates = rates.entry(status.name.clone()).or_default();
        speeds.push(rates.update(status, now));
    }
    speeds
}

/// The statuses of the fan-outs whose engines have started.
fn statuses(snapshots: &[Snapshot]) -> Vec<Arc<Status>> {
    snapshots
        .iter()
        .filter_map(Snapshot::status)
        .cloned()
        .collect()
}

/// The fan-outs one below the other, each with an equal part of the height.
fn render_all(
    statuses: &[Arc<Status>],
    speeds: &[Speeds],
    width: usize,
    height: usize,
) -> Vec<String> {
    let height = height / statuses.len().max(1);
    let mut lines = Vec::new();
    for (status, speeds) in statuses.iter().zip(speeds) {
        let mut block = render(status, speeds, width, height);
        if statuses.len() > 1 {
            // The first line of a block is empty.
            let title = format!("── {}", status.name);
            block[0] = cut(&title, usable(width));
        }
        lines.extend(block);
    }
    lines
}

/// Draws the view a last time, and leaves it on the screen.
pub(super) fn end(last: &[Snapshot]) {
    let statuses = statuses(last);
    if statuses.is_empty() {
        return;
    }

    let (width, _) = screen_size();
    let ended = |_: &Arc<Status>| Speeds {
        ended: true,
        ..Speeds::default()
    };
    let speeds: Vec<Speeds> = statuses.iter().map(ended).collect();
    let lines = render_all(&statuses, &speeds, width, usize::MAX);
    screen::draw(lines);
    screen::keep();
}

/// The counters from which rates are made.
#[derive(Default)]
struct Rates {
    read: Rate,
    bytes: Rate,
    outputs: BTreeMap<String, Rate>,
}

/// Rates per second; `None` while unknown, and at the end.
#[derive(Default)]
struct Speeds {
    read: Option<f64>,
    bytes: Option<f64>,
    outputs: BTreeMap<String, Option<f64>>,
    /// True in the last drawing.
    ended: bool,
}

impl Rates {
    fn update(&mut self, status: &Status, now: Instant) -> Speeds {
        let is_kept = |id: &str| {
            let mut outputs = status.outputs.iter();
            outputs.any(|output| output.id.as_str() == id)
        };
        self.outputs.retain(|id, _| is_kept(id));

        let mut outputs = BTreeMap::new();
        for output in &status.outputs {
            let id = output.id.to_string();
            let rate = self.outputs.entry(id.clone()).or_default();
            let speed = rate.update(now, output.counts.durable);
            outputs.insert(id, speed);
        }

        let source = &status.source;
        Speeds {
            outputs,
            read: self.read.update(now, source.records),
            bytes: self.bytes.update(now, source.bytes),
            ended: false,
        }
    }
}

/// Columns of the terminal that are written. The last column stays free: a terminal that becomes
/// narrower by one column wraps no line.
fn usable(width: usize) -> usize {
    width.saturating_sub(1).max(1)
}

fn render(status: &Status, speeds: &Speeds, width: usize, height: usize) -> Vec<String> {
    let width = usable(width);
    let name = name_width(status, width);
    let mut lines = vec![
        String::new(),
        source_line(status, speeds),
        String::new(),
        row(name, "output", "delivered", "rate", "behind", "errors"),
    ];

    let room = height.saturating_sub(lines.len() + ROWS_LEFT).max(1);
    let (outputs, hidden) = fitting(&status.outputs, room);
    for output in outputs {
        lines.push(output_line(output, speeds, name));
        if let Some(note) = note(output) {
            lines.push(format!("  ↳ {note}"));
        }
    }
    if hidden > 0 {
        lines.push(format!(
            "… and {hidden} more outputs; /metrics has them all (--metrics)"
        ));
    }
    lines.iter().map(|line| cut(line, width)).collect()
}

/// Columns for the names of outputs.
fn name_width(status: &Status, width: usize) -> usize {
    let mut longest = "output".len();
    for output in &status.outputs {
        let length = output.id.as_str().len();
        longest = longest.max(length);
    }

    let room = width.saturating_sub(NUMBERS);
    longest.min(room).max(NAME_MIN)
}

/// The outputs that fit into `room` rows with their notes, and the number of the others.
fn fitting(outputs: &[OutputStatus], room: usize) -> (Vec<&OutputStatus>, usize) {
    let mut shown: Vec<&OutputStatus> = outputs.iter().collect();
    let total: usize = outputs.iter().map(rows).sum();
    if total <= room {
        return (shown, 0);
    }

    shown.sort_by_key(|output| urgency(output));
    // One row is for the number of hidden outputs.
    let mut left = room.saturating_sub(1);
    let mut drawn = 0;
    for output in &shown {
        if rows(output) > left {
            break;
        }
        left -= rows(output);
        drawn += 1;
    }
    shown.truncate(drawn);
    (shown, outputs.len() - drawn)
}

/// The rows of an output with its note.
fn rows(output: &OutputStatus) -> usize {
    match note(output) {
        Some(_) => 2,
        None => 1,
    }
}

/// Sorts outputs that need attention first, then the outputs that are furthest behind.
fn urgency(output: &OutputStatus) -> (bool, std::cmp::Reverse<u32>) {
    let behind = output.behind.map_or(0, distance);
    (note(output).is_none(), std::cmp::Reverse(behind))
}

fn source_line(status: &Status, speeds: &Speeds) -> String {
    let source = &status.source;
    let stream = source.arn.rsplit('/').next().unwrap_or_default();
    let mut line = format!("{stream}: read {}", show::records(source.records));
    if !speeds.ended {
        line.push_str(&reading(source, speeds));
    }

    if source.failed > 0 {
        let failed = show::count(source.failed);
        line.push_str(&format!(", {failed} failed reads"));
    }
    if source.throttled > 0 {
        let throttled = show::count(source.throttled);
        line.push_str(&format!(", {throttled} throttled"));
    }
    if source.gaps > 0 {
        line.push_str(&format!(", {} GAPS", source.gaps));
    }
    line
}

/// The rates, the shards and the delay of reading.
fn reading(source: &SourceStatus, speeds: &Speeds) -> String {
    let mut text = String::new();
    if let (Some(read), Some(bytes)) = (speeds.read, speeds.bytes) {
        let read = per_second(read);
        let bytes = bytes_per_second(bytes);
        text.push_str(&format!(" ({read}, {bytes})"));
    }

    let reading = source.shards_reading;
    let shards = source.shards;
    text.push_str(&format!(" from {reading} of {shards} shards"));
    if let Some(behind) = source.behind {
        text.push_str(&format!(", behind {}", duration(behind)));
    }
    text
}

fn output_line(output: &OutputStatus, speeds: &Speeds, name: usize) -> String {
    let errors: u64 = output.counts.errors.values().sum();
    // The delay is unknown at the end, since the source is not read any more.
    let behind = match output.behind {
        _ if speeds.ended => String::new(),
        Some(behind) => duration(behind),
        None => "?".to_owned(),
    };
    row(
        name,
        output.id.as_str(),
        &show::count(output.counts.durable),
        &rate(output, speeds),
        &behind,
        &show::count(errors),
    )
}

/// The rate of an output that is running, or the state.
fn rate(output: &OutputStatus, speeds: &Speeds) -> String {
    match &output.state {
        OutputState::Running => match speeds.outputs.get(output.id.as_str()) {
            Some(Some(rate)) => per_second(*rate),
            Some(None) | None => String::new(),
        },
        OutputState::Paused => "paused".to_owned(),
        OutputState::Failing { .. } => "FAILING".to_owned(),
        OutputState::Stopped { .. } => match output.stopped_lanes() {
            (stopped, lanes) if stopped < lanes => format!("STOPPED {stopped}/{lanes}"),
            _ => "STOPPED".to_owned(),
        },
    }
}

/// The delay in steps that double, so that rows do not change places all the time.
fn distance(behind: Duration) -> u32 {
    (behind.as_secs() / 8)
        .checked_ilog2()
        .map_or(0, |steps| steps + 1)
}

/// The reason why an output needs attention.
fn note(output: &OutputStatus) -> Option<String> {
    if let OutputState::Stopped { shard, reason } = &output.state {
        let shard = show::shard_number(shard);
        return Some(format!("stopped at shard {shard}: {reason}"));
    }

    if let OutputState::Failing { reason } = &output.state {
        return Some(format!("failing: {reason}"));
    }

    let waits = output.lanes.iter().any(|lane| lane.backing_off);
    let Some(error) = output.last_error.as_ref().filter(|_| waits) else {
        return output.advice.clone();
    };
    // Against throttling, the advice is the number of missing shards. Other errors name their
    // remedy.
    match &output.advice {
        Some(advice) if error.kind == Some(TroubleKind::Throttled) => Some(advice.clone()),
        Some(_) | None => Some(error.text.clone()),
    }
}

fn row(
    name: usize,
    output: &str,
    delivered: &str,
    rate: &str,
    behind: &str,
    errors: &str,
) -> String {
    let output = cut(output, name);
    format!("{output:<name$}{delivered:>13}{rate:>13}{behind:>10}{errors:>8}")
}

/// At most `width` characters of `text`, without control characters.
fn cut(text: &str, width: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if text.chars().count() <= width {
        return text.chars().map(clean).collect();
    }
    text.chars()
        .take(width.saturating_sub(1))
        .map(clean)
        .chain(['…'])
        .collect()
}

fn per_second(rate: f64) -> String {
    if rate >= 9.95 || rate == 0.0 {
        format!("{}/s", show::count(whole(rate)))
    } else {
        format!("{rate:.1}/s")
    }
}

fn bytes_per_second(rate: f64) -> String {
    format!("{}/s", show::bytes(whole(rate)))
}

/// A rate as a whole number. A rate is never negative, and fits.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

/// A duration for people: `0 s`, `1.2 s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub(super) fn duration(d: Duration) -> String {
    let s = d.as_secs();
    match s {
        0..10 if d.subsec_millis() >= 50 || s > 0 => format!("{:.1} s", d.as_secs_f64()),
        0..60 => format!("{s} s"),
        60..3600 => format!("{}m {}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {}h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use distributary_core::batch::ShardId;
    use distributary_core::clock::Millis;
    use distributary_core::engine::{
        CommitStatus, Counts, LanePhase, LaneStatus, MemoryStatus, SourceStatus,
    };
    use distributary_core::store::OutputId;

    use super::*;

    fn output(id: &str, state: OutputState, durable: u64) -> OutputStatus {
        OutputStatus {
            id: OutputId::new(id),
            state,
            counts: Counts {
                durable,
                ..Counts::default()
            },
            behind: Some(Duration::from_millis(1234)),
            horizon: None,
            in_window: 1,
            catching_up: 0,
            waiting_for_parents: 0,
            elsewhere: 0,
            done: 0,
            caught_up: false,
            last_error: None,
            advice: None,
            aggregates: Vec::new(),
            lanes: Vec::new(),
        }
    }

    fn status(outputs: Vec<OutputStatus>) -> Status {
        Status {
            name: "orders".to_owned(),
            at: Millis(0),
            source: SourceStatus {
                arn: "arn:aws:kinesis:us-east-1:000000000000:stream/input".to_owned(),
                shards: 4,
                shards_reading: 4,
                records: 1_234_567,
                ..SourceStatus::default()
            },
            outputs,
            memory: MemoryStatus::default(),
            commits: CommitStatus::default(),
        }
    }

    #[test]
    fn one_line_an_output_within_eighty_columns() {
        let stopped = OutputState::Stopped {
            shard: ShardId::new("shardId-000000000003"),
            reason: "the stream was deleted\u{1b}[2J ".repeat(10),
        };
        let status = status(vec![
            output("output1", OutputState::Running, 1_234_567),
            output(&"long-name-".repeat(12), OutputState::Paused, 0),
            output("output3", stopped, 17),
        ]);
        let mut rates = Rates::default();
        rates.update(&status, Instant(Duration::ZERO));
        let lines = render(
            &status,
            &rates.update(&status, Instant(Duration::from_secs(1))),
            80,
            24,
        );
        assert!(
            lines.iter().all(|line| line.chars().count() <= 79),
            "{lines:#?}"
        );
        assert!(!lines.concat().contains('\u{1b}'));
        assert_eq!(
            lines[1],
            "input: read 1,234,567 records (0/s, 0 bytes/s) from 4 of 4 shards"
        );
        assert_eq!(
            lines[4],
            format!(
                "{:<35}    1,234,567          0/s     1.2 s       0",
                "output1"
            )
        );
        assert!(
            lines[5].contains("paused") && lines[6].contains("STOPPED"),
            "{lines:#?}"
        );
        assert!(
            lines[7].starts_with("  ↳ stopped at shard 3: the stream was deleted"),
            "{lines:#?}"
        );
    }

    #[test]
    fn one_stopped_shard_of_two_and_throttles_are_told_apart() {
        let lane = |shard: &str, phase| LaneStatus {
            shard: ShardId::new(shard),
            phase,
            position: String::new(),
            counts: Counts::default(),
            behind: None,
            horizon: None,
            caught_up: false,
            backing_off: false,
            held_back: false,
        };
        let stopped = OutputState::Stopped {
            shard: ShardId::new("shardId-000000000001"),
            reason: "refused".to_owned(),
        };
        let mut one = output("one", stopped, 5);
        one.lanes = vec![
            lane("0", LanePhase::InWindow),
            lane("1", LanePhase::Stopped),
            lane("2", LanePhase::Done),
        ];
        let mut status = status(vec![one]);
        status.source.throttled = 3;
        let lines = render(&status, &Speeds::default(), 80, 24);
        assert!(lines[4].contains("STOPPED 1/2"), "{lines:#?}");
        assert!(lines[1].ends_with("3 throttled"), "{lines:#?}");
        assert!(!lines[1].contains("failed"), "{lines:#?}");
    }

    #[test]
    fn many_outputs_fit_the_height_and_those_in_trouble_come_first() {
        let mut outputs: Vec<_> = (0..50)
            .map(|i| output(&format!("o{i}"), OutputState::Running, i))
            .collect();
        outputs[49].advice = Some("give it 4 shards".to_owned());
        let lines = render(&status(outputs), &Speeds::default(), 80, 24);
        assert!(lines.len() <= 24 - ROWS_LEFT, "{}", lines.len());
        assert!(
            lines[4].starts_with("o49") && lines[5].contains("give it 4 shards"),
            "{lines:#?}"
        );
        assert!(
            lines
                .last()
                .is_some_and(|l| l.starts_with("… and 35 more outputs")),
            "{lines:#?}"
        );
    }

    #[test]
    fn lengths_of_time() {
        let shown = [0, 40, 50, 1234, 59_999, 200_000, 7_500_000, 360_000_000]
            .map(Duration::from_millis)
            .map(duration);
        assert_eq!(
            shown,
            [
                "0 s", "0 s", "0.1 s", "1.2 s", "59 s", "3m 20s", "2h 5m", "4d 4h"
            ]
        );
    }
}
