//! Sends dead letters again: to the output that refused the record, or to another one.
//!
//! - `letters`: the lines of a file of dead letters, and batches of them.
//! - `marks`: the letters that were sent already.

mod letters;
mod marks;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::Batch;
use distributary_core::checkpoint::Sequence;
use distributary_core::clock::Clock;
use distributary_core::engine::deliver::{
    Context, Delivered, OnRefused, Patience, Recipient, deliver,
};
use distributary_core::engine::{Order, Settings};
use distributary_core::output::Output;

pub(crate) use letters::Letter;
pub(crate) use marks::Marks;

/// Letters in one batch at most.
const BATCH_LETTERS: usize = 1_000;
/// Base64 text in one batch at most, in bytes, but for a single larger letter.
const BATCH_BYTES: usize = 8 << 20;

/// The letters of one file that were not sent yet, in the order of the file.
pub(crate) struct Letters {
    pub(crate) path: PathBuf,
    pub(crate) marks: Marks,
    pub(crate) open: Vec<Letter>,
    /// Letters that were sent by an earlier redrive.
    pub(crate) sent_before: usize,
}

impl Letters {
    /// Reads the file at `path` and its marks; letters of other outputs than `only` are left out.
    ///
    /// # Errors
    /// A file cannot be read, or holds something else.
    pub(crate) fn read(path: &Path, only: Option<&str>) -> io::Result<Self> {
        let file = File::open(path)?;
        let mut open = letters::read(BufReader::new(file))?;
        let marks = Marks::open(path)?;
        open.retain(|letter| only.is_none_or(|only| letter.id.output == only));

        let all = open.len();
        open.retain(|letter| !marks.holds(letter));
        let sent_before = all - open.len();
        let path = path.to_owned();
        Ok(Self {
            path,
            marks,
            open,
            sent_before,
        })
    }
}

/// An output that letters are sent to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) output: Arc<dyn Output>,
    pub(crate) order: Order,
}

/// The result for the letters of one output.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Letters that are durable at the target.
    pub(crate) sent: usize,
    /// Letters that were refused again.
    pub(crate) refused: usize,
    /// The last reason for a refusal or a failure.
    pub(crate) reason: Option<String>,
    /// Letters that were not sent, because the target failed until the end of the patience.
    pub(crate) failed: usize,
}

/// Sends letters to their targets.
pub(crate) struct Redrive {
    pub(crate) clock: Clock,
    /// The time that one batch may take.
    pub(crate) patience: Duration,
    /// By the name of the refusing output.
    pub(crate) targets: BTreeMap<String, Target>,
}

impl Redrive {
    /// Sends the letters of a file, in order, and marks the durable ones. After a failure of a
    /// target its further letters are not tried: order per key would be lost.
    ///
    /// # Errors
    /// The marks cannot be written.
    pub(crate) async fn send(
        &self,
        letters: &mut Letters,
        tallies: &mut BTreeMap<String, Tally>,
    ) -> io::Result<()> {
        let open = std::mem::take(&mut letters.open);
        let marks = &mut letters.marks;
        for run in runs(&open) {
            let output = run[0].id.output.clone();
            let Some(target) = self.targets.get(&output) else {
                continue;
            };

            let tally = tallies.entry(output).or_default();
            self.send_run(run, target, marks, tally).await?;
        }

        Ok(())
    }

    /// Sends letters of one shard and one output.
    async fn send_run(
        &self,
        run: &[Letter],
        target: &Target,
        marks: &mut Marks,
        tally: &mut Tally,
    ) -> io::Result<()> {
        if tally.failed > 0 {
            tally.failed += run.len();
            return Ok(());
        }
        let batch = match letters::batch(run) {
            Ok(batch) => batch,
            Err(why) => {
                tally.refused += run.len();
                tally.reason = Some(why);
                return Ok(());
            }
        };
        let Some(delivered) = self.deliver(&batch, target).await else {
            return Ok(());
        };

        tally.note(&delivered, run.len());
        let sent = sent(run, &delivered);
        marks.add(sent, &target.name)
    }

    /// Delivers a batch; goes on behind letters that are refused again.
    async fn deliver(&self, batch: &Batch, target: &Target) -> Option<Delivered> {
        let recipient = Recipient {
            output: Arc::clone(&target.output),
            order: target.order,
            on_refused: OnRefused::PassOver,
        };

        let context = self.context();
        let mut delivered = deliver(batch, &[recipient], &context).await;
        delivered.pop()
    }

    fn context(&self) -> Context {
        Context {
            clock: self.clock.clone(),
            deadline: self.clock.now().plus(self.patience),
            patience: Patience::from(&Settings::default()),
            memory: None,
        }
    }
}

/// The letters of `run` that are durable.
fn sent<'a>(run: &'a [Letter], delivered: &'a Delivered) -> impl Iterator<Item = &'a Letter> {
    let settled = run.iter().take(delivered.through);
    let is_sent = |i: usize| {
        let mut refused = delivered.refused.iter();
        refused.all(|one| one.record != i)
    };
    settled
        .enumerate()
        .filter(move |(i, _)| is_sent(*i))
        .map(|(_, letter)| letter)
}

impl Tally {
    fn note(&mut self, delivered: &Delivered, letters: usize) {
        let refused = delivered.refused.len();
        self.sent += delivered.through - refused;
        self.refused += refused;
        self.failed += letters - delivered.through;

        if let Some(last) = delivered.refused.last() {
            let reason = last.refusal.to_string();
            self.reason = Some(reason);
        }
        if let Some(trouble) = &delivered.trouble {
            let reason = trouble.to_string();
            self.reason = Some(reason);
        }
    }

    /// True if every letter was sent.
    pub(crate) fn is_complete(&self) -> bool {
        self.refused == 0 && self.failed == 0
    }
}

/// Runs of letters of one output and one shard with ascending sequence numbers, not too large.
fn runs(letters: &[Letter]) -> Vec<&[Letter]> {
    let mut runs = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for end in 1..=letters.len() {
        bytes += letters[end - 1].size();
        let last = &letters[end - 1];
        let is_full = end - start == BATCH_LETTERS;
        let belongs = letters.get(end).is_some_and(|next| {
            let fits = bytes + next.size() <= BATCH_BYTES;
            fits && last.precedes(next)
        });
        if is_full || !belongs {
            runs.push(&letters[start..end]);
            start = end;
            bytes = 0;
        }
    }
    runs
}

impl Letter {
    /// True if `next` can follow in one batch.
    fn precedes(&self, next: &Self) -> bool {
        let a = &self.id;
        let b = &next.id;
        let is_one_shard = a.source == b.source && a.shard == b.shard;
        let is_one_lane = is_one_shard && a.output == b.output;

        let order = Sequence::compare(&a.sequence, &b.sequence);
        let ascends = match order {
            Ordering::Less => true,
            Ordering::Equal => a.sub < b.sub,
            Ordering::Greater => false,
        };
        is_one_lane && ascends
    }
}
