//! The queue before stderr: bounded, and held only for as long as an item takes to move.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use distributary_core::sync::lock;

use super::Item;

/// Items that wait at a time.
const ITEMS_MAX: usize = 4096;
/// Bytes that wait at a time.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Items on their way to the thread that owns stderr.
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// True while the owner of stderr writes an item.
    is_writing: bool,
}

impl Item {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Block(lines) => lines.iter().map(String::len).sum(),
            Self::Keep => 0,
        }
    }
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                bytes: 0,
                is_writing: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Adds an item; returns the item if the queue is full. A block takes the place of one that is
    /// last in the queue.
    pub(super) fn put(&self, item: Item) -> Result<(), Item> {
        let mut state = lock(&self.state);
        let is_block = matches!(item, Item::Block(_));
        let last = state.items.back();
        if is_block && matches!(last, Some(Item::Block(_))) {
            state.remove_last();
        }
        if state.items.len() >= ITEMS_MAX || state.bytes + item.bytes() > BYTES_MAX {
            return Err(item);
        }

        state.bytes += item.bytes();
        state.items.push_back(item);
        self.changed.notify_all();
        Ok(())
    }

    /// Waits for the next item and passes it to `write`, whose result is returned.
    pub(super) fn take<T>(&self, write: impl FnOnce(Item) -> T) -> T {
        let item = self.next();
        let written = write(item);
        lock(&self.state).is_writing = false;
        self.changed.notify_all();
        written
    }

    fn next(&self) -> Item {
        let mut state = lock(&self.state);
        loop {
            if let Some(item) = state.items.pop_front() {
                state.bytes -= item.bytes();
                state.is_writing = true;
                return item;
            }
            let waiting = self.changed.wait(state);
            state = waiting.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Waits until every item is written, for `longest` at most.
    pub(super) fn drain(&self, longest: Duration) {
        let is_busy = |state: &mut State| state.is_writing || !state.items.is_empty();
        let state = lock(&self.state);
        // The result tells only whether time ran out, and then text is left over.
        let _ = self.changed.wait_timeout_while(state, longest, is_busy);
    }
}

impl State {
    fn remove_last(&mut self) {
        if let Some(item) = self.items.pop_back() {
            self.bytes -= item.bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: usize) -> Item {
        Item::Text(vec![b'x'; bytes])
    }

    #[test]
    fn the_queue_is_bounded_in_items_and_bytes() {
        let queue = Queue::new();
        let taken = (0..2 * ITEMS_MAX).take_while(|_| queue.put(text(1)).is_ok());
        assert_eq!(taken.count(), ITEMS_MAX);

        let queue = Queue::new();
        assert!(queue.put(text(BYTES_MAX)).is_ok());
        assert!(queue.put(text(1)).is_err());
        queue.take(|_| ());
        assert!(queue.put(text(1)).is_ok());
    }

    #[test]
    fn drawings_that_were_not_written_are_replaced() {
        let queue = Queue::new();
        for i in 0..10 * ITEMS_MAX {
            assert!(queue.put(Item::Block(vec![i.to_string()])).is_ok());
        }
        assert_eq!(lock(&queue.state).items.len(), 1);
        assert_eq!(lock(&queue.state).bytes, 5);
    }

    #[test]
    fn draining_does_not_wait_for_ever() {
        let queue = Queue::new();
        assert!(queue.put(text(1)).is_ok());
        queue.drain(Duration::from_millis(1));
        queue.take(|_| ());
        queue.drain(Duration::MAX);
    }
}
