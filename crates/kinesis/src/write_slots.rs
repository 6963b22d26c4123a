//! The slots for requests that write, divided equally among the outputs, so that an output whose
//! server never answers leaves the other outputs their slots.

use std::sync::{Arc, Mutex, MutexGuard};

use distributary_core::sync::lock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Writes in flight of one output at most, however few outputs there are.
const SLOTS_OF_AN_OUTPUT_MAX: usize = 64;

/// The slots of all outputs of a program: each slot is one write in flight.
#[derive(Debug)]
pub struct WriteSlots {
    total: usize,
    outputs: Mutex<Vec<Arc<Part>>>,
}

impl WriteSlots {
    /// `total` slots for all outputs together. With more outputs than slots each output has one.
    pub fn new(total: usize) -> Arc<Self> {
        Arc::new(Self {
            total,
            outputs: Mutex::default(),
        })
    }

    /// Adds an output, until the returned part is dropped.
    pub(crate) fn join(self: &Arc<Self>) -> OutputSlots {
        let part = Arc::new(Part {
            slots: Semaphore::new(0),
            size: Mutex::default(),
        });
        let mut outputs = self.outputs();
        outputs.push(Arc::clone(&part));
        self.divide(&outputs);

        OutputSlots {
            all: Arc::clone(self),
            part,
        }
    }

    fn outputs(&self) -> MutexGuard<'_, Vec<Arc<Part>>> {
        // Each change is one push or retain: a panic leaves no half-made change.
        lock(&self.outputs)
    }

    fn divide(&self, outputs: &[Arc<Part>]) {
        let each = (self.total / outputs.len().max(1)).clamp(1, SLOTS_OF_AN_OUTPUT_MAX);
        for part in outputs {
            part.resize(each);
        }
    }
}

#[derive(Debug)]
struct Part {
    slots: Semaphore,
    size: Mutex<Size>,
}

/// The size of a part.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    slots: usize,
    /// Slots in use beyond the size: each is removed when the request ends.
    excess: usize,
}

impl Part {
    fn size(&self) -> MutexGuard<'_, Size> {
        // Two numbers, set together by code that cannot panic.
        lock(&self.size)
    }

    fn resize(&self, slots: usize) {
        let mut size = self.size();
        if slots < size.slots {
            let fewer = size.slots - slots;
            size.excess += fewer - self.slots.forget_permits(fewer);
        } else {
            let more = slots - size.slots;
            let kept = more.min(size.excess);
            size.excess -= kept;
            self.slots.add_permits(more - kept);
        }

        size.slots = slots;
    }
}

/// The slots of one output.
#[derive(Debug)]
pub(crate) struct OutputSlots {
    all: Arc<WriteSlots>,
    part: Arc<Part>,
}

impl OutputSlots {
    /// Waits for a free slot; requests get slots in the order of these calls.
    pub(crate) async fn acquire(&self) -> WriteSlot<'_> {
        // Acquiring fails only on a closed semaphore, and no code closes this one.
        let permit = self.part.slots.acquire().await.ok();
        WriteSlot {
            part: &self.part,
            permit,
        }
    }

    /// The number of slots.
    pub(crate) fn size(&self) -> usize {
        self.part.size().slots
    }
}

impl Drop for OutputSlots {
    fn drop(&mut self) {
        let mut outputs = self.all.outputs();
        outputs.retain(|part| !Arc::ptr_eq(part, &self.part));
        self.all.divide(&outputs);
    }
}

/// A slot in use.
#[derive(Debug)]
pub(crate) struct WriteSlot<'a> {
    part: &'a Part,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for WriteSlot<'_> {
    fn drop(&mut self) {
        let mut size = self.part.size();
        if size.excess > 0
            && let Some(permit) = self.permit.take()
        {
            size.excess -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn now<F: Future>(future: F) -> Option<F::Output> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    fn take(output: &OutputSlots, at_most: usize) -> Vec<WriteSlot<'_>> {
        std::iter::from_fn(|| now(output.acquire()))
            .take(at_most)
            .collect()
    }

    #[test]
    fn an_output_that_never_frees_its_slots_leaves_the_others_their_slots() {
        let slots = WriteSlots::new(100);
        let silent: Vec<OutputSlots> = (0..9).map(|_| slots.join()).collect();
        let _taken: Vec<_> = silent
            .iter()
            .map(|output| take(output, usize::MAX))
            .collect();
        let healthy = slots.join();
        assert_eq!(healthy.size(), 10);
        assert_eq!(take(&healthy, usize::MAX).len(), 10);
    }

    #[test]
    fn few_outputs_have_at_most_64_slots_and_many_have_one() {
        let slots = WriteSlots::new(512);
        let first = slots.join();
        assert_eq!(take(&first, usize::MAX).len(), SLOTS_OF_AN_OUTPUT_MAX);
        let others: Vec<OutputSlots> = (0..999).map(|_| slots.join()).collect();
        assert!(
            others
                .iter()
                .all(|output| take(output, usize::MAX).len() == 1)
        );
    }

    #[test]
    fn a_part_shrinks_as_slots_are_freed_and_grows_again() {
        let slots = WriteSlots::new(60);
        let first = slots.join();
        let mut held = take(&first, 50);
        let second = slots.join();
        assert_eq!((first.size(), second.size()), (30, 30));
        // The first output holds 20 slots beyond its part: these are removed when freed.
        held.truncate(30);
        assert!(now(first.acquire()).is_none());
        held.truncate(29);
        held.extend(take(&first, usize::MAX));
        assert_eq!(held.len(), 30);
        drop(second);
        held.extend(take(&first, usize::MAX));
        assert_eq!(held.len(), 60);
        // The part grows again before the excess slots were freed.
        let second = slots.join();
        held.truncate(45);
        drop(second);
        held.extend(take(&first, usize::MAX));
        assert_eq!(held.len(), 60);
    }
}
