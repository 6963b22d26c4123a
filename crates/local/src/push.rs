//! Subscriptions (`SubscribeToShard`): streams of frames that are woken when records arrive.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use distributary_wire::codec::Format;
use distributary_wire::error::ApiError;
use distributary_wire::eventstream::SubscribeEvent;
use distributary_wire::limits;
use distributary_wire::transport::TransportError;
use futures_core::Stream as FrameStream;

use crate::answer::{NumberedPage, millis_behind};
use crate::env::Sleep;
use crate::errors;
use crate::faults::SubscriptionFault;
use crate::local::{DropReason, Inner, lock};
use crate::log::Page;
use crate::ops::Call;
use crate::rates::Bucket;
use crate::settings::TrimmedPosition;
use crate::stream::{Phase, Shard, State, Stream, retention_ms};

/// Bytes of data and keys of the largest event. The first record always fits.
const EVENT_BYTES: usize = 1024 * 1024;

/// Ends or silences a subscription from outside.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<ControlState>,
}

#[derive(Debug, Default)]
struct ControlState {
    /// The end of the subscription. The first end stays.
    end: Option<SubscriptionFault>,
    is_muted: bool,
    waker: Option<Waker>,
}

impl Control {
    pub(crate) fn apply(&self, fault: SubscriptionFault) {
        self.change(|state| match fault {
            SubscriptionFault::Mute => state.is_muted = true,
            end => {
                state.end.get_or_insert(end);
            }
        });
    }

    pub(crate) fn mute(&self, mute: bool) {
        self.change(|state| state.is_muted = mute);
    }

    fn change(&self, change: impl FnOnce(&mut ControlState)) {
        let waker = {
            let mut state = lock(&self.state);
            change(&mut state);
            state.waker.take()
        };

        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The end, and whether the subscription is muted. The task is woken when either changes.
    fn poll_state(&self, cx: &Context<'_>) -> (Option<SubscriptionFault>, bool) {
        let mut state = lock(&self.state);
        state.waker = Some(cx.waker().clone());
        (state.end.clone(), state.is_muted)
    }
}

/// A subscription to a shard.
pub(crate) struct Subscription {
    inner: Arc<Inner>,
    stream: Arc<Stream>,
    shard: Arc<Shard>,
    control: Arc<Control>,
    format: Format,
    /// Offset of the next record to push.
    offset: u64,
    /// Number of the subscription among the shard's waiters and the live subscriptions.
    pub(crate) waiter: u64,
    /// A fault, and the number of events before the fault.
    planned: Option<(u64, SubscriptionFault)>,
    progress: Progress,
    /// When the subscription ends, by the monotonic clock.
    ends_at: Duration,
    /// When the next heartbeat is due, by the monotonic clock.
    heartbeat_at: Duration,
    /// The consumer's read limit, if limits are enforced.
    rate: Option<Bucket>,
    /// A sleep and the time at which the sleep ends.
    timer: Option<(Duration, Sleep)>,
    /// Events sent so far.
    events: u64,
    /// Events without records sent so far because the position is older than retention.
    empty_events: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The initial response is still to be sent.
    Opening,
    Running,
    Ended,
}

type Frame = Result<Bytes, TransportError>;

/// The next step of a running subscription.
enum Step {
    Send(Frame),
    /// Ends without an error, as AWS ends a subscription after five minutes.
    End,
    Wait,
}

/// AWS's limit of a consumer on a shard.
fn read_rate() -> Bucket {
    Bucket::full(limits::SHARD_READ_BYTES_PER_SECOND as f64)
}

impl Subscription {
    pub(crate) fn new(
        call: &Call<'_>,
        stream: Arc<Stream>,
        shard: Arc<Shard>,
        control: Arc<Control>,
        offset: u64,
        planned: Option<(u64, SubscriptionFault)>,
    ) -> Self {
        let inner = call.inner;
        let now = inner.env.monotonic();
        let settings = &inner.settings;

        Self {
            inner: Arc::clone(inner),
            stream,
            shard,
            control,
            format: call.format,
            offset,
            waiter: inner.new_waiter(),
            planned,
            progress: Progress::Opening,
            ends_at: now + settings.subscription_length,
            heartbeat_at: now,
            rate: settings.enforce_limits.then(read_rate),
            timer: None,
            events: 0,
            empty_events: 0,
        }
    }

    fn encode_frame(&self, event: &SubscribeEvent) -> Frame {
        let frame = event.to_frame(self.format).encode();
        frame.map_err(|e| TransportError::Broken {
            source: Box::new(e),
        })
    }

    /// Ends with a broken connection.
    fn break_off(&mut self) -> Frame {
        self.progress = Progress::Ended;
        Err(TransportError::Broken {
            source: "broken on command".into(),
        })
    }

    /// Ends with an exception.
    fn exception(&mut self, error: ApiError) -> Frame {
        self.progress = Progress::Ended;
        self.encode_frame(&SubscribeEvent::Exception(error))
    }

    /// Ready at a time of the monotonic clock.
    fn poll_until(&mut self, at: Duration, now: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if at <= now {
            return Poll::Ready(());
        }

        if self.timer.as_ref().is_none_or(|(set, _)| *set != at) {
            self.timer = Some((at, self.inner.env.sleep(at - now)));
        }
        match &mut self.timer {
            Some((_, sleep)) => sleep.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// The planned fault, if due. Mutes the subscription if that is the fault.
    fn planned_fault(&mut self) -> Option<SubscriptionFault> {
        let planned = self.planned.take_if(|(after, _)| self.events >= *after);
        let (_, fault) = planned?;
        if let SubscriptionFault::Mute = fault {
            self.control.mute(true);
        }
        Some(fault)
    }

    /// The end of the subscription, if due: by a fault, or because the time is up.
    fn check_end(&mut self, fault: Option<SubscriptionFault>, now: Duration) -> Step {
        let planned = self.planned_fault();
        match fault.or(planned) {
            Some(SubscriptionFault::End(None)) => Step::End,
            Some(SubscriptionFault::End(Some(error))) => Step::Send(self.exception(error)),
            Some(SubscriptionFault::Break) => Step::Send(self.break_off()),
            Some(SubscriptionFault::Mute) | None if now >= self.ends_at => Step::End,
            Some(SubscriptionFault::Mute) | None => Step::Wait,
        }
    }

    /// The next event, if one is due now.
    fn next_event(&mut self, now_ms: u64, now: Duration) -> Step {
        let stream = Arc::clone(&self.stream);
        let state = stream.read(now_ms);
        if state.phase == Phase::Gone {
            let error = errors::stream_not_found(&stream.name, &stream.namespace.account);
            return Step::Send(self.exception(error));
        }

        let dropped = self.shard.drop_expired(now_ms, state.retention_hours);
        self.inner
            .note_dropped(&stream, &self.shard, dropped, DropReason::Age);
        let max_bytes = EVENT_BYTES.min(self.inner.settings.answer_bytes);
        let max_records = limits::GET_RECORDS_ENTRIES;
        let page = self.shard.log.read(self.offset, max_records, max_bytes);

        match self.inner.settings.trimmed_position {
            TrimmedPosition::EmptyPages(pages)
                if self.offset < page.bounds.head && self.empty_events < pages =>
            {
                Step::Send(self.empty_event(&state, now))
            }
            // The consumer subscribes again after its last record, and that position is refused.
            TrimmedPosition::Refuse if self.offset < page.bounds.lost_before => Step::End,
            TrimmedPosition::EmptyPages(_) | TrimmedPosition::Refuse => {
                self.page_event(&state, &page, now_ms, now)
            }
        }
    }

    /// An event without records, as far behind as the retention, at a position older than that.
    fn empty_event(&mut self, state: &State, now: Duration) -> Frame {
        self.empty_events += 1;
        let behind_ms = retention_ms(state.retention_hours).cast_signed();
        let continuation = self.shard.sequence_before(self.offset).to_string();
        let page = NumberedPage::empty();
        let payload = page.encode_event(self.format, Some(&continuation), behind_ms, &[]);
        self.send(payload, now)
    }

    /// The event of a page with records, at the end of the shard, or as a heartbeat.
    fn page_event(&mut self, state: &State, page: &Page, now_ms: u64, now: Duration) -> Step {
        let is_end = page.bounds.ended && page.next >= page.bounds.tail;
        self.offset = page.next;
        if page.len() == 0 && !is_end && now < self.heartbeat_at {
            return Step::Wait;
        }

        let behind_ms = millis_behind(page, now_ms);
        let numbered = NumberedPage::new(page, self.shard.numbers);
        let payload = if is_end {
            self.progress = Progress::Ended;
            let children = state.children_of(self.shard.index);
            numbered.encode_event(self.format, None, behind_ms, &children)
        } else {
            let continuation = numbered.last_sequence().map_or_else(
                || self.shard.sequence_before(self.offset).to_string(),
                str::to_owned,
            );
            numbered.encode_event(self.format, Some(&continuation), behind_ms, &[])
        };

        if let Some(rate) = &mut self.rate {
            rate.spend(now, page.bytes as f64);
        }
        Step::Send(self.send(payload, now))
    }

    fn send(&mut self, payload: Bytes, now: Duration) -> Frame {
        self.events += 1;
        self.heartbeat_at = now + self.inner.settings.heartbeat;
        self.encode_frame(&SubscribeEvent::Event {
            format: self.format,
            payload,
        })
    }

    /// When the next step is due without a new record: at the end, at a heartbeat, or when the
    /// stream's state changes.
    fn next_step_at(&self, now_ms: u64, now: Duration, is_muted: bool) -> Duration {
        let state_changes = match self.stream.read(now_ms).due_ms() {
            u64::MAX => self.ends_at,
            due_ms => now + Duration::from_millis(due_ms.saturating_sub(now_ms)),
        };
        let heartbeat = if is_muted {
            self.ends_at
        } else {
            self.heartbeat_at
        };
        self.ends_at.min(state_changes).min(heartbeat)
    }

    /// How long the consumer's read limit delays the next event.
    fn rate_delay(&mut self, now: Duration) -> Duration {
        let rate = self.rate.as_mut();
        rate.map_or(Duration::ZERO, |rate| rate.wait(now))
    }

    /// Runs until a frame is ready, the subscription ends, or the task is to be woken later.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        // Each round either returns, or finds a record or a timer that is up.
        loop {
            let (now_ms, now) = (self.inner.env.now_ms(), self.inner.env.monotonic());
            let (fault, _) = self.control.poll_state(cx);
            match self.check_end(fault, now) {
                Step::Send(frame) => return Poll::Ready(Some(frame)),
                Step::End => return self.end(),
                Step::Wait => {}
            }

            // `check_end` may have muted the subscription.
            let (_, is_muted) = self.control.poll_state(cx);
            let rate_delay = self.rate_delay(now);
            let wake_at = if is_muted {
                self.next_step_at(now_ms, now, true)
            } else if rate_delay > Duration::ZERO {
                self.ends_at.min(now + rate_delay)
            } else {
                match self.next_event(now_ms, now) {
                    Step::Send(frame) => return Poll::Ready(Some(frame)),
                    Step::End => return self.end(),
                    Step::Wait => {}
                }
                let log = &self.shard.log;
                if log.poll_readable(self.waiter, self.offset, cx).is_ready() {
                    continue;
                }
                self.next_step_at(now_ms, now, false)
            };

            if self.poll_until(wake_at, now, cx).is_pending() {
                return Poll::Pending;
            }
            self.timer = None;
        }
    }

    fn end(&mut self) -> Poll<Option<Frame>> {
        self.progress = Progress::Ended;
        Poll::Ready(None)
    }
}

impl FrameStream for Subscription {
    type Item = Frame;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        let this = self.get_mut();
        match this.progress {
            Progress::Opening => {
                this.progress = Progress::Running;
                Poll::Ready(Some(this.encode_frame(&SubscribeEvent::InitialResponse)))
            }
            Progress::Running => this.poll_running(cx),
            Progress::Ended => Poll::Ready(None),
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shard.log.remove_waiter(self.waiter);
        self.inner.faults.unwatch(self.waiter);
    }
}
