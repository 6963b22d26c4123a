//! The locks of the shard's core. Its model test puts others in their place, which try every order of threads.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};
