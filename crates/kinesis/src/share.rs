//! Connections shared out among outputs: each has an equal part of them for itself, so that outputs that never answer leave
//! the others theirs.

use std::sync::{Arc, Mutex, MutexGuard};

use distributary_core::sync::lock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Writes that one output has under way at most, however few outputs there are.
const MOST: usize = 64;

/// So many slots for all outputs of a program.
#[derive(Debug)]
pub struct Shares {
    slots: usize,
    members: Mutex<Vec<Arc<Member>>>,
}

impl Shares {
    /// `slots` for all together. With more outputs than slots each still has one.
    pub fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self {
            slots,
            members: Mutex::default(),
        })
    }

    /// One more to share with, until it is dropped.
    pub(crate) fn join(self: &Arc<Self>) -> Share {
        let member = Arc::new(Member {
            slots: Semaphore::new(0),
            size: Mutex::default(),
        });
        let mut members = self.members();
        members.push(Arc::clone(&member));
        self.divide(&members);
        Share {
            of: Arc::clone(self),
            member,
        }
    }

    fn members(&self) -> MutexGuard<'_, Vec<Arc<Member>>> {
        // Each change is one push or retain: a panic leaves nothing half done.
        lock(&self.members)
    }

    fn divide(&self, members: &[Arc<Member>]) {
        let each = (self.slots / members.len().max(1)).clamp(1, MOST);
        for member in members {
            member.resize(each);
        }
    }
}

#[derive(Debug)]
struct Member {
    slots: Semaphore,
    size: Mutex<Size>,
}

/// How many slots a member has, and how many of those in use are to go when they are given back.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    slots: usize,
    owed: usize,
}

impl Member {
    fn size(&self) -> MutexGuard<'_, Size> {
        // Two numbers, set together by code that cannot panic.
        lock(&self.size)
    }

    fn resize(&self, slots: usize) {
        let mut size = self.size();
        if slots < size.slots {
            let less = size.slots - slots;
            size.owed += less - self.slots.forget_permits(less);
        } else {
            let more = slots - size.slots;
            let forgiven = more.min(size.owed);
            size.owed -= forgiven;
            self.slots.add_permits(more - forgiven);
        }
        size.slots = slots;
    }
}

/// The part of one output.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Shares>,
    member: Arc<Member>,
}

impl Share {
    /// A slot, when one is free; in the order of asking.
    pub(crate) async fn slot(&self) -> Slot<'_> {
        // It is never closed.
        let permit = self.member.slots.acquire().await.ok();
        Slot {
            member: &self.member,
            permit,
        }
    }

    /// How many slots it has.
    pub(crate) fn size(&self) -> usize {
        self.member.size().slots
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut members = self.of.members();
        members.retain(|member| !Arc::ptr_eq(member, &self.member));
        self.of.divide(&members);
    }
}

/// A slot in use.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    member: &'a Member,
    permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut size = self.member.size();
        if size.owed > 0
            && let Some(permit) = self.permit.take()
        {
            size.owed -= 1;
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

    fn take(share: &Share, at_most: usize) -> Vec<Slot<'_>> {
        std::iter::from_fn(|| now(share.slot()))
            .take(at_most)
            .collect()
    }

    #[test]
    fn one_that_never_gives_back_leaves_the_others_theirs() {
        let shares = Shares::new(100);
        let silent: Vec<Share> = (0..9).map(|_| shares.join()).collect();
        let _taken: Vec<_> = silent.iter().map(|share| take(share, usize::MAX)).collect();
        let healthy = shares.join();
        assert_eq!(healthy.size(), 10);
        assert_eq!(take(&healthy, usize::MAX).len(), 10);
    }

    #[test]
    fn few_have_no_more_than_64_and_many_have_one() {
        let shares = Shares::new(512);
        let first = shares.join();
        assert_eq!(take(&first, usize::MAX).len(), MOST);
        let others: Vec<Share> = (0..999).map(|_| shares.join()).collect();
        assert!(
            others
                .iter()
                .all(|share| take(share, usize::MAX).len() == 1)
        );
    }

    #[test]
    fn a_part_shrinks_by_what_is_given_back_and_grows_again() {
        let shares = Shares::new(60);
        let first = shares.join();
        let mut held = take(&first, 50);
        let second = shares.join();
        assert_eq!((first.size(), second.size()), (30, 30));
        // It holds 20 more than its part: as many come back to nobody.
        held.truncate(30);
        assert!(now(first.slot()).is_none());
        held.truncate(29);
        held.extend(take(&first, usize::MAX));
        assert_eq!(held.len(), 30);
        drop(second);
        held.extend(take(&first, usize::MAX));
        assert_eq!(held.len(), 60);
        // Grown again before what was owed came back.
        let second = shares.join();
        held.truncate(45);
        drop(second);
        held.extend(take(&first, usize::MAX));
        assert_eq!(held.len(), 60);
    }
}
