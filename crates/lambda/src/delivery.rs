//! Delivers the records of one group to all outputs until the deadline. Outputs that need the same
//! records in the same form are served by one call, and share the encoded requests.

use std::sync::{Arc, Mutex};

use distributary_core::batch::Batch;
use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::OutputSpec;
use distributary_core::engine::deliver::{
    Context, Delivered, OnRefused, Patience, Recipient, deliver,
};
use distributary_core::pump::{BadRow, Derived, PumpRef};
use distributary_core::sync::lock;
use distributary_core::text::chain;
use tokio::task::JoinSet;

use crate::event::{AnswerForm, Group};
use crate::progress::{Open, Progress};

/// The surroundings of a delivery.
pub(crate) struct Delivery<'a> {
    pub(crate) clock: &'a Clock,
    /// The moment at which everything under way is abandoned.
    pub(crate) deadline: Instant,
    pub(crate) progress: &'a Mutex<Progress>,
}

/// An output that a group goes to.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    /// The output, or the reason why there is none now.
    pub(crate) spec: Result<OutputSpec, String>,
    pub(crate) patience: Patience,
}

/// Outputs that need the same records in the same form.
struct Run {
    records: Vec<u32>,
    pump: Option<PumpRef>,
    members: Vec<(String, Recipient)>,
    patience: Patience,
}

impl Delivery<'_> {
    /// The records of `group` that are not durable, for each of `members`.
    pub(crate) async fn deliver(
        &self,
        group: &Group,
        answer: AnswerForm,
        members: Vec<Member>,
    ) -> Vec<Open> {
        let mut open = Vec::with_capacity(members.len());
        let mut runs: Vec<Run> = Vec::new();
        for member in members {
            let records = lock(self.progress).open(&group.batch, &member.name);
            match member.spec {
                Ok(spec) => add(&mut runs, records, spec, &member.patience, answer),
                Err(reason) => {
                    let left = left(&group.batch, &member.name, records, &reason);
                    open.push(left);
                }
            }
        }

        self.serve(group, runs, &mut open).await;
        lock(self.progress).note(&group.batch, &open);
        open
    }

    /// Serves all runs at the same time.
    async fn serve(&self, group: &Group, runs: Vec<Run>, open: &mut Vec<Open>) {
        let mut serving = JoinSet::new();
        for run in runs {
            let context = Context {
                clock: self.clock.clone(),
                deadline: self.deadline,
                patience: run.patience.clone(),
                memory: None,
            };
            let batch = Arc::clone(&group.batch);
            serving.spawn(async move { run.serve(&batch, &context).await });
        }
        while let Some(served) = serving.join_next().await {
            match served {
                Ok(served) => open.extend(served),
                // A panic in an output ends the event with an error, so that all comes again.
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }
}

fn add(
    runs: &mut Vec<Run>,
    records: Vec<u32>,
    spec: OutputSpec,
    patience: &Patience,
    answer: AnswerForm,
) {
    let pump = spec.pump.clone();
    let name = spec.id.as_str().to_owned();
    let member = (name, recipient(spec, answer));

    let mut known = runs.iter_mut();
    let same = known.find(|run| run.is_alike(&records, pump.as_ref(), patience));
    match same {
        Some(run) => run.members.push(member),
        None => runs.push(Run {
            records,
            pump,
            members: vec![member],
            patience: patience.clone(),
        }),
    }
}

fn recipient(spec: OutputSpec, answer: AnswerForm) -> Recipient {
    Recipient {
        output: spec.output,
        order: spec.order,
        on_refused: match spec.dead_letter {
            Some(dead_letter) => OnRefused::Divert(dead_letter),
            None if answer == AnswerForm::Each => OnRefused::PassOver,
            None => OnRefused::Stop,
        },
    }
}

/// Logs that records are not durable at an output.
fn left(batch: &Batch, output: &str, records: Vec<u32>, reason: &str) -> Open {
    if let Some(first) = records.first() {
        let sequence = batch.record(*first as usize).sequence;
        let shard = batch.origin().shard.as_str();
        let count = records.len();
        tracing::warn!(
            output,
            shard,
            sequence,
            "{count} records are not durable, from this one on: {reason}"
        );
    }
    Open {
        output: output.to_owned(),
        records,
    }
}

impl Run {
    fn is_alike(&self, records: &[u32], pump: Option<&PumpRef>, patience: &Patience) -> bool {
        let name = |pump: &PumpRef| (pump.pump.id().clone(), pump.stream);
        let is_same_pump = self.pump.as_ref().map(name) == pump.map(name);
        is_same_pump && self.records == records && self.patience == *patience
    }

    async fn serve(self, batch: &Batch, context: &Context) -> Vec<Open> {
        let rows = match self.rows(batch) {
            Ok(rows) => rows,
            Err(error) => return self.without_rows(batch, &error),
        };
        let members = self.members.iter();
        let recipients = members.map(|(_, recipient)| recipient.clone());
        let recipients: Vec<Recipient> = recipients.collect();
        let delivered = deliver(rows.batch(), &recipients, context).await;

        let mut open = Vec::with_capacity(self.members.len());
        for ((name, recipient), delivered) in self.members.iter().zip(&delivered) {
            let records = self.open(&rows, recipient, delivered);
            let reason = reason(delivered);
            open.push(left(batch, name, records, &reason));
        }
        open
    }

    /// The open records themselves, or the rows that the pump makes of them.
    fn rows(&self, batch: &Batch) -> Result<Derived, BadRow> {
        let picked = Derived::of_records(batch, self.records.clone());
        let Some(PumpRef { pump, stream }) = &self.pump else {
            return Ok(picked);
        };
        let streams = pump.apply(picked.batch())?;
        let rows = streams.into_iter().nth(*stream);
        rows.map_or_else(|| Ok(Derived::of_records(batch, Vec::new())), Ok)
    }

    fn without_rows(&self, batch: &Batch, error: &BadRow) -> Vec<Open> {
        let reason = chain(error);
        let names = self.members.iter().map(|(name, _)| name);
        let open = names.map(|name| {
            let records = self.records.clone();
            left(batch, name, records, &reason)
        });
        open.collect()
    }

    /// The records that are not durable: all from the first open row's on, and those that were
    /// refused and passed over.
    fn open(&self, rows: &Derived, recipient: &Recipient, delivered: &Delivered) -> Vec<u32> {
        let first = self.place(rows, delivered.through);
        let refused = match recipient.on_refused {
            // A dead letter is durable in place of the record.
            OnRefused::Divert(_) => [].iter(),
            OnRefused::PassOver | OnRefused::Stop => delivered.refused.iter(),
        };
        let refused = refused.map(|refused| self.place(rows, refused.record));
        let mut open: Vec<usize> = refused.filter(|place| *place < first).collect();
        open.dedup();

        open.extend(first..self.records.len());
        let open = open.iter().filter_map(|place| self.records.get(*place));
        open.copied().collect()
    }

    /// The place among the records of this run that the row was made of; behind the last one for a
    /// row behind the last one.
    fn place(&self, rows: &Derived, row: usize) -> usize {
        if self.pump.is_none() {
            return row;
        }
        let of = rows.origin().get(row);
        of.map_or(self.records.len(), |of| *of as usize)
    }
}

/// The reason why a delivery is not complete.
fn reason(delivered: &Delivered) -> String {
    if let Some(trouble) = &delivered.trouble {
        return trouble.to_string();
    }
    let refused = delivered.refused.last();
    refused.map_or_else(String::new, |refused| {
        format!(
            "{}; set a dead-letter, or the record blocks the shard until it expires",
            refused.refusal
        )
    })
}
