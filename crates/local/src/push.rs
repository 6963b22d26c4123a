//! Subscriptions: a stream of frames that is woken when records arrive, not polled.

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
use futures_core::Stream as Frames;

use crate::answer::NumberedPage;
use crate::env::Sleep;
use crate::errors;
use crate::faults::SubscriptionFault;
use crate::local::{Inner, Reason, lock};
use crate::rates::Bucket;
use crate::settings::TrimmedPosition;
use crate::stream::{Phase, Shard, Stream, retention_ms};

/// Bytes of data and keys of one event; the first record always fits.
const EVENT_BYTES: usize = 1024 * 1024;

/// Ends, silences or takes over a subscription from outside.
#[derive(Debug, Default)]
pub(crate) struct Control {
    state: Mutex<ControlState>,
}

#[derive(Debug, Default)]
struct ControlState {
    fault: Option<SubscriptionFault>,
    muted: bool,
    waker: Option<Waker>,
}

impl Control {
    /// Ends or silences the subscription. An end is final.
    pub(crate) fn fault(&self, fault: SubscriptionFault) {
        self.change(|state| match fault {
            SubscriptionFault::Mute => state.muted = true,
            end => {
                state.fault.get_or_insert(end);
            }
        });
    }

    pub(crate) fn mute(&self, mute: bool) {
        self.change(|state| state.muted = mute);
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

    /// What has been done to the subscription, which is woken when that changes.
    fn look(&self, cx: &Context<'_>) -> (Option<SubscriptionFault>, bool) {
        let mut state = lock(&self.state);
        state.waker = Some(cx.waker().clone());
        (state.fault.clone(), state.muted)
    }
}

/// A subscription to a shard.
pub(crate) struct Subscription {
    pub(crate) inner: Arc<Inner>,
    pub(crate) stream: Arc<Stream>,
    pub(crate) shard: Arc<Shard>,
    pub(crate) control: Arc<Control>,
    pub(crate) format: Format,
    /// The record to push next.
    pub(crate) offset: u64,
    pub(crate) waiter: u64,
    /// What is to go wrong, after so many events.
    pub(crate) planned: Option<(u64, SubscriptionFault)>,
    progress: Progress,
    /// When it ends, by the monotonic clock.
    ends: Duration,
    /// When a heartbeat is due.
    beat: Duration,
    /// The rate of a consumer, if enforced.
    pace: Option<Bucket>,
    timer: Option<(Duration, Sleep)>,
    events: u64,
    empty: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Opening,
    Running,
    Done,
}

type Item = Result<Bytes, TransportError>;

impl Subscription {
    #[allow(clippy::too_many_arguments)] // They are the subscription.
    pub(crate) fn new(
        inner: &Arc<Inner>,
        stream: Arc<Stream>,
        shard: Arc<Shard>,
        control: Arc<Control>,
        format: Format,
        offset: u64,
        planned: Option<(u64, SubscriptionFault)>,
    ) -> Self {
        let now = inner.env.monotonic();
        let settings = &inner.settings;
        Self {
            ends: now + settings.subscription_length,
            beat: now,
            pace: settings
                .enforce_limits
                .then(|| Bucket::full(limits::SHARD_READ_BYTES_PER_SECOND as f64)),
            inner: Arc::clone(inner),
            stream,
            shard,
            control,
            format,
            offset,
            waiter: inner.waiter(),
            planned,
            progress: Progress::Opening,
            timer: None,
            events: 0,
            empty: 0,
        }
    }

    fn frame(&self, event: &SubscribeEvent) -> Item {
        let frame = event.to_frame(self.format).encode();
        frame.map_err(|e| TransportError::Broken {
            source: Box::new(e),
        })
    }

    fn broken(&mut self, why: &'static str) -> Item {
        self.progress = Progress::Done;
        Err(TransportError::Broken { source: why.into() })
    }

    fn exception(&mut self, error: ApiError) -> Item {
        self.progress = Progress::Done;
        self.frame(&SubscribeEvent::Exception(error))
    }

    /// Ready when the time has come.
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

    /// What stops it now, if anything does.
    fn stopped(&mut self, fault: Option<SubscriptionFault>, now: Duration) -> Option<Option<Item>> {
        let planned = self
            .planned
            .take_if(|(after, _)| self.events >= *after)
            .map(|(_, fault)| fault);
        if let Some(SubscriptionFault::Mute) = planned {
            self.control.mute(true);
        }
        match fault.or(planned) {
            Some(SubscriptionFault::End(None)) => {
                self.progress = Progress::Done;
                return Some(None);
            }
            Some(SubscriptionFault::End(Some(error))) => return Some(Some(self.exception(error))),
            Some(SubscriptionFault::Break) => return Some(Some(self.broken("broken on command"))),
            Some(SubscriptionFault::Mute) | None => {}
        }
        if now >= self.ends {
            self.progress = Progress::Done;
            return Some(None);
        }
        None
    }

    /// The next event, if there is one to send now.
    fn event(&mut self, now_ms: u64, now: Duration) -> Option<Item> {
        let stream = Arc::clone(&self.stream);
        let state = stream.read(now_ms);
        if state.phase == Phase::Gone {
            let error = errors::stream_not_found(&stream.name, &stream.namespace.account);
            return Some(self.exception(error));
        }
        let trimmed = self.shard.trim(now_ms, state.retention_hours);
        self.inner
            .note_dropped(&stream, &self.shard, trimmed, Reason::Age);
        let max_bytes = EVENT_BYTES.min(self.inner.settings.answer_bytes);
        if let TrimmedPosition::EmptyPages(pages) = self.inner.settings.trimmed_position
            && self.offset < self.shard.log.bounds().head
            && self.empty < pages
        {
            self.empty += 1;
            let behind = retention_ms(state.retention_hours).cast_signed();
            let continuation = self.shard.before(self.offset).to_string();
            let payload =
                NumberedPage::empty().encode_event(self.format, Some(&continuation), behind, &[]);
            return Some(self.send(payload, now));
        }
        let page = self
            .shard
            .log
            .read(self.offset, limits::GET_RECORDS_ENTRIES, max_bytes);
        let refuses = self.inner.settings.trimmed_position == TrimmedPosition::Refuse;
        if refuses && self.offset < page.bounds.lost_before {
            self.ends = now;
            return None;
        }

        let ended = page.bounds.ended && page.next >= page.bounds.tail;
        self.offset = page.next;
        if page.len() == 0 && !ended && now < self.beat {
            return None;
        }
        let behind = crate::answer::millis_behind(&page, now_ms);
        let bytes = page.bytes;
        let payload = if ended {
            self.progress = Progress::Done;
            let children = state.children_of(self.shard.index);
            NumberedPage::new(&page, self.shard.numbers).encode_event(
                self.format,
                None,
                behind,
                &children,
            )
        } else {
            let encoded = NumberedPage::new(&page, self.shard.numbers);
            let continuation = encoded
                .last_sequence()
                .map_or_else(|| self.shard.before(self.offset).to_string(), str::to_owned);
            encoded.encode_event(self.format, Some(&continuation), behind, &[])
        };
        drop(state);
        if let Some(pace) = &mut self.pace {
            pace.spend(now, bytes as f64);
        }
        Some(self.send(payload, now))
    }

    fn send(&mut self, payload: Bytes, now: Duration) -> Item {
        self.events += 1;
        self.beat = now + self.inner.settings.heartbeat;
        self.frame(&SubscribeEvent::Event {
            format: self.format,
            payload,
        })
    }

    /// When it has something to do of itself: end, beat, or see that the stream has changed.
    fn wake_at(&self, now_ms: u64, now: Duration, muted: bool) -> Duration {
        let due_ms = self.stream.read(now_ms).due_ms();
        let changes = match due_ms {
            u64::MAX => self.ends,
            due_ms => now + Duration::from_millis(due_ms.saturating_sub(now_ms)),
        };
        let beat = if muted { self.ends } else { self.beat };
        self.ends.min(changes).min(beat)
    }
}

impl Frames for Subscription {
    type Item = Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let this = self.get_mut();
        match this.progress {
            Progress::Opening => {
                this.progress = Progress::Running;
                return Poll::Ready(Some(this.frame(&SubscribeEvent::InitialResponse)));
            }
            Progress::Done => return Poll::Ready(None),
            Progress::Running => {}
        }
        // Each round either returns or has found a timer that is up.
        loop {
            let (now_ms, now) = (this.inner.env.now_ms(), this.inner.env.monotonic());
            let (fault, _) = this.control.look(cx);
            if let Some(end) = this.stopped(fault, now) {
                return Poll::Ready(end);
            }
            let (_, muted) = this.control.look(cx);
            let paid = this
                .pace
                .as_mut()
                .map_or(Duration::ZERO, |pace| pace.wait(now));
            let at = if muted {
                this.wake_at(now_ms, now, true)
            } else if paid > Duration::ZERO {
                this.ends.min(now + paid)
            } else {
                if let Some(item) = this.event(now_ms, now) {
                    return Poll::Ready(Some(item));
                }
                if this
                    .shard
                    .log
                    .poll_readable(this.waiter, this.offset, cx)
                    .is_ready()
                {
                    continue;
                }
                this.wake_at(now_ms, now, false)
            };
            if this.poll_until(at, now, cx).is_pending() {
                return Poll::Pending;
            }
            this.timer = None;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shard.log.remove_waiter(self.waiter);
        self.inner.faults.unwatch(self.waiter);
    }
}
