//! Delivery of one batch to outputs: [`deliver()`] for callers that have a batch and neither a
//! reader nor a lease, and the request loop that lanes use too.
//!
//! - `delivery`: which records go next, and the meaning of an answer; no I/O.
//! - `pass`: the request loop over one batch at one output.
//! - `dead_letter`: records that an output refuses, stored at another one.
//! - `acked`: the state of records beyond a cursor; `keys`: the order that a record takes part in.

mod acked;
mod dead_letter;
mod delivery;
mod keys;
pub(crate) mod pass;

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use crate::batch::Batch;
use crate::clock::{Clock, Instant};
use crate::output::{EncodingKey, Order, Output, Refusal, Trouble, TroubleKind};

use super::budget::Budget;
use super::encodings::Account;
use super::lock;
use super::retry::Backoff;
use super::settings::Settings;
use super::shard::Hold;
use super::shared_batch::ChunkSet;

use pass::{Answered, Attempts, Caller, Chunks, Ended, Held, Pass, Progress, WaitFor};

pub(crate) use acked::{Acked, Bits, Written};
pub use dead_letter::DeadLetter;

/// One output of a [`deliver()`] call.
#[derive(Clone)]
pub struct Recipient {
    /// The output.
    pub output: Arc<dyn Output>,
    /// The order per key.
    pub order: Order,
    /// The treatment of a record that the output will never take.
    pub on_refused: OnRefused,
}

/// The treatment of a record that an output will never take.
#[derive(Clone, Default)]
pub enum OnRefused {
    /// Stop before the record.
    #[default]
    Stop,
    /// Report the record in [`Delivered::refused`] and go on behind it.
    PassOver,
    /// As [`OnRefused::PassOver`], but only when the record is durable as a dead letter.
    Divert(DeadLetter),
}

/// The patience of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The time that one request may take.
    pub request_deadline: Duration,
    /// The first wait after a failure; each further wait doubles, with jitter.
    pub backoff_base: Duration,
    /// The longest wait after failures that are expected to pass.
    pub backoff_cap: Duration,
    /// The longest wait after failures that the user has to fix.
    pub slow_backoff_cap: Duration,
}

impl From<&Settings> for Patience {
    fn from(settings: &Settings) -> Self {
        Self {
            request_deadline: settings.request_deadline,
            backoff_base: settings.backoff_base,
            backoff_cap: settings.backoff_cap,
            slow_backoff_cap: settings.slow_backoff_cap,
        }
    }
}

/// Memory that deliveries share. Encoded requests are reserved here before they are made.
#[derive(Clone)]
pub struct Memory(pub(super) Arc<Account>);

impl Memory {
    /// A budget of `bytes` for encoded requests. One request always gets through, however large.
    pub fn new(bytes: usize) -> Self {
        Self(Account::open(&Budget::for_encodings(bytes)))
    }
}

/// The surroundings of a delivery.
pub struct Context {
    /// Time and randomness.
    pub clock: Clock,
    /// The moment at which the delivery ends, finished or not.
    pub deadline: Instant,
    /// Deadlines and waits of single requests.
    pub patience: Patience,
    /// The memory for encoded requests; `None` without a limit.
    pub memory: Option<Memory>,
}

/// A record that an output will never take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Index in the batch.
    pub record: usize,
    /// The output's reason.
    pub refusal: Refusal,
}

/// The result of a delivery at one output.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The records `[0, through)` of the batch are durable, but for those in `refused`.
    pub through: usize,
    /// Records that the output will never take, ascending. With [`OnRefused::Stop`] at most one:
    /// the record at `through`.
    pub refused: Vec<Refused>,
    /// The last failure, if the delivery did not settle the whole batch.
    pub trouble: Option<Trouble>,
}

/// Delivers `batch` to every recipient at the same time, in order and with retries, until all is
/// durable, an output refuses a record for good, or the deadline has passed. The results stand in
/// the order of `recipients`; a recipient that hangs or fails delays no other.
///
/// A request that is under way at the deadline is abandoned: its records may be written all the
/// same.
///
/// # Example
/// ```
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use distributary_core::batch::Batch;
/// # use distributary_core::clock::Clock;
/// # use distributary_core::engine::deliver::{Context, OnRefused, Patience, Recipient, deliver};
/// # use distributary_core::output::{Order, Output};
/// # async fn example(batch: Batch, orders: Arc<dyn Output>, audit: Arc<dyn Output>) {
/// let clock = Clock::real();
/// let context = Context {
///     deadline: clock.now().plus(Duration::from_secs(25)),
///     clock,
///     patience: Patience {
///         request_deadline: Duration::from_secs(5),
///         backoff_base: Duration::from_millis(100),
///         backoff_cap: Duration::from_secs(2),
///         slow_backoff_cap: Duration::from_secs(5),
///     },
///     memory: None,
/// };
/// let recipient = |output| Recipient {
///     output,
///     order: Order::Resend,
///     on_refused: OnRefused::Stop,
/// };
///
/// let delivered = deliver(&batch, &[recipient(orders), recipient(audit)], &context).await;
///
/// let first_open = delivered.iter().map(|output| output.through).min();
/// # let _ = first_open;
/// # }
/// ```
pub async fn deliver(batch: &Batch, recipients: &[Recipient], context: &Context) -> Vec<Delivered> {
    let sets = chunk_sets(recipients);
    let mut running: Vec<_> = recipients
        .iter()
        .map(|recipient| Running {
            work: Some(Box::pin(serve(batch, recipient, &sets, context))),
            delivered: None,
        })
        .collect();
    poll_fn(|cx| {
        let mut all_done = true;
        for one in &mut running {
            all_done &= one.poll(cx);
        }
        if all_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;

    running
        .into_iter()
        .filter_map(|one| one.delivered)
        .collect()
}

/// One recipient of a call.
struct Running<'a> {
    work: Option<Pin<Box<dyn Future<Output = Delivered> + Send + 'a>>>,
    delivered: Option<Delivered>,
}

impl Running<'_> {
    /// True once the recipient is done.
    fn poll(&mut self, cx: &mut std::task::Context<'_>) -> bool {
        if let Some(work) = &mut self.work
            && let Poll::Ready(delivered) = work.as_mut().poll(cx)
        {
            (self.work, self.delivered) = (None, Some(delivered));
        }
        self.work.is_none()
    }
}

/// One set of chunks for each way of encoding.
fn chunk_sets(recipients: &[Recipient]) -> Vec<ChunkSet> {
    let mut keys: Vec<EncodingKey> = recipients.iter().map(|r| r.output.encoding()).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.into_iter().map(ChunkSet::new).collect()
}

/// The caller of the passes of [`deliver()`] at one recipient.
struct Guest<'a> {
    context: &'a Context,
    standing: Mutex<Standing>,
}

/// The state of a delivery at one recipient.
#[derive(Default)]
struct Standing {
    /// Every record before this one is durable, or refused.
    durable: usize,
    /// The state of the records beyond.
    acked: Acked,
    refused: Vec<Refused>,
    trouble: Option<Trouble>,
}

impl Standing {
    /// The first record that is not durable, and the state of the records from there on.
    fn progress(&self) -> (usize, Acked) {
        (self.durable, self.acked.clone())
    }

    /// Takes the progress, except at an output that has to be flushed first.
    fn note(&mut self, progress: Progress) {
        if progress.held == Held::UntilFlush {
            return;
        }
        self.durable = progress.through;
        self.acked = progress.acked;
    }
}

impl Caller for Guest<'_> {
    fn clock(&self) -> &Clock {
        &self.context.clock
    }

    fn request_deadline(&self) -> Duration {
        let left = self.context.deadline.since(self.context.clock.now());
        self.context.patience.request_deadline.min(left)
    }

    fn longest_wait(&self) -> Duration {
        self.context.patience.backoff_cap
    }

    fn memory(&self) -> Option<&Account> {
        let Memory(account) = self.context.memory.as_ref()?;
        Some(account)
    }

    fn woken(&self) -> impl Future<Output = ()> + Send {
        pending()
    }

    fn may_go_on(&self) -> bool {
        true
    }

    fn hold(&self, _: usize) -> Hold {
        Hold::Granted
    }

    fn held_back(&self) {}

    fn answered(&self, progress: Progress, answered: &Answered) -> bool {
        let mut standing = lock(&self.standing);
        standing.note(progress);
        standing.trouble.clone_from(&answered.trouble);
        true
    }
}

impl Guest<'_> {
    /// Runs `pass` to its end, behind refused records too.
    async fn run_through<'a>(
        &'a self,
        recipient: &Recipient,
        pass: &mut Pass<'a, Self>,
        attempts: &mut Attempts,
    ) -> Ended {
        let output = &*recipient.output;
        loop {
            let ended = self.run(output, pass, attempts).await;
            let Ended::Refused { record, refusal } = ended else {
                return ended;
            };
            let refused = Refused { record, refusal };
            let settled = self.pass_refused(recipient, pass.batch(), refused, attempts);
            if let Err(ended) = settled.await {
                return ended;
            }
            pass.divert();
            lock(&self.standing).note(pass.progress());
        }
    }

    /// Runs `pass` to its end, and flushes the records that were only accepted.
    async fn run<'a>(
        &'a self,
        output: &dyn Output,
        pass: &mut Pass<'a, Self>,
        attempts: &mut Attempts,
    ) -> Ended {
        let mut ended = pass.run(attempts).await;
        if pass.holds_accepted()
            && let Some(until) = self.flush(output, pass, attempts).await
        {
            let reason = WaitFor::Retry;
            ended = Ended::Wait { until, reason };
        }

        lock(&self.standing).note(pass.progress());
        ended
    }

    /// Settles a refused record as the recipient wants. An error if the pass ends there.
    async fn pass_refused(
        &self,
        recipient: &Recipient,
        batch: &Batch,
        refused: Refused,
        attempts: &mut Attempts,
    ) -> Result<(), Ended> {
        let Refused { record, refusal } = refused;
        let diverted = self.divert(recipient, batch, record, &refusal).await;
        if let Err(trouble) = diverted {
            let until = attempts.retry_at(self.clock(), &trouble);
            lock(&self.standing).trouble = Some(trouble);
            return Err(Ended::Wait {
                until,
                reason: WaitFor::Retry,
            });
        }

        lock(&self.standing).refused.push(Refused {
            record,
            refusal: refusal.clone(),
        });
        match recipient.on_refused {
            OnRefused::Stop => Err(Ended::Refused { record, refusal }),
            OnRefused::PassOver | OnRefused::Divert(_) => Ok(()),
        }
    }

    /// Stores a refused record as a dead letter, if the recipient wants that.
    async fn divert(
        &self,
        recipient: &Recipient,
        batch: &Batch,
        record: usize,
        refusal: &Refusal,
    ) -> Result<(), Trouble> {
        let OnRefused::Divert(dead_letter) = &recipient.on_refused else {
            return Ok(());
        };
        let refused = (record, None);
        dead_letter
            .store(batch, refused, refusal, self.context)
            .await
    }

    /// Makes the accepted records durable; after a failure, the moment of the next try.
    async fn flush(
        &self,
        output: &dyn Output,
        pass: &mut Pass<'_, Self>,
        attempts: &mut Attempts,
    ) -> Option<Instant> {
        let deadline = self.request_deadline();
        let (outcome, trouble) = pass::flush(self.clock(), output, pass.shard(), deadline).await;
        let Some(trouble) = trouble else {
            pass.flushed();
            attempts.reset();
            return None;
        };

        let mut standing = lock(&self.standing);
        pass.flush_failed(standing.durable, &outcome);
        let until = attempts.retry_at(self.clock(), &trouble);
        standing.trouble = Some(trouble);
        Some(until)
    }
}

/// Delivers to one recipient until the end or the deadline.
async fn serve(
    batch: &Batch,
    recipient: &Recipient,
    sets: &[ChunkSet],
    context: &Context,
) -> Delivered {
    let guest = Guest {
        context,
        standing: Mutex::default(),
    };
    let left = context.deadline.since(context.clock.now());
    let work = drive(&guest, batch, recipient, sets);
    let finished = context.clock.timeout(left, work).await.is_some();

    let standing = guest.standing.into_inner();
    let Standing {
        durable,
        refused,
        trouble,
        ..
    } = standing.unwrap_or_else(PoisonError::into_inner);
    let too_late = || {
        let text = "the deadline of the delivery passed before the output answered";
        Trouble::new(TroubleKind::Unavailable, text)
    };
    Delivered {
        through: durable,
        refused,
        trouble: (!finished).then(|| trouble.unwrap_or_else(too_late)),
    }
}

/// Delivers to one recipient until all is durable, or a record is refused for good.
async fn drive(guest: &Guest<'_>, batch: &Batch, recipient: &Recipient, sets: &[ChunkSet]) {
    let patience = &guest.context.patience;
    let mut attempts = Attempts::new(Backoff::new(
        patience.backoff_base,
        patience.backoff_cap,
        patience.slow_backoff_cap,
    ));
    loop {
        let ended = pass_over(guest, batch, recipient, sets, &mut attempts).await;
        let until = match ended {
            Ended::Done | Ended::Refused { .. } => return,
            Ended::Wait { until, .. } => until,
            Ended::Interrupted => continue,
        };
        guest.clock().sleep_until(until).await;
    }
}

/// One pass, which goes on behind refused records if the recipient wants so.
async fn pass_over(
    guest: &Guest<'_>,
    batch: &Batch,
    recipient: &Recipient,
    sets: &[ChunkSet],
    attempts: &mut Attempts,
) -> Ended {
    let output = &*recipient.output;
    let key = output.encoding();
    // An output whose encoding changed during the call makes chunks of its own.
    let own = ChunkSet::new(key.clone());
    let set = sets.iter().find(|set| *set.key() == key);
    let chunks = Chunks {
        set: set.unwrap_or(&own),
        are_reserved: set.is_some() && guest.context.memory.is_none(),
    };

    let (durable, acked) = lock(&guest.standing).progress();
    let mut pass = Pass::new(
        guest,
        (output, recipient.order),
        batch,
        chunks,
        (durable, &acked),
    );
    guest.run_through(recipient, &mut pass, attempts).await
}
