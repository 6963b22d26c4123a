//! Consumers with enhanced fan-out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_wire::arn::ConsumerArn;
use distributary_wire::types::{self, ConsumerStatus, Timestamp};

use crate::push::Control;

/// A registered consumer of a stream.
#[derive(Debug)]
pub(crate) struct Consumer {
    pub(crate) arn: ConsumerArn,
    pub(crate) created_ms: u64,
    /// When CREATING ends.
    pub(crate) active_ms: u64,
    /// When DELETING ends and the consumer is removed; `None` unless DELETING.
    pub(crate) gone_ms: Option<u64>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) policy: Option<String>,
    /// The last subscription to each shard, by the shard's number.
    pub(crate) subscriptions: BTreeMap<u32, LastSubscription>,
}

/// The last accepted subscription of a consumer to a shard.
#[derive(Debug)]
pub(crate) struct LastSubscription {
    /// Time of the call, by the monotonic clock.
    pub(crate) at: Duration,
    pub(crate) control: Arc<Control>,
}

impl Consumer {
    pub(crate) fn is_gone(&self, now_ms: u64) -> bool {
        self.gone_ms.is_some_and(|at| at <= now_ms)
    }

    /// When the consumer is removed; `u64::MAX` unless DELETING.
    pub(crate) fn due_ms(&self) -> u64 {
        self.gone_ms.unwrap_or(u64::MAX)
    }

    pub(crate) fn status(&self, now_ms: u64) -> ConsumerStatus {
        match self.gone_ms {
            Some(_) => ConsumerStatus::Deleting,
            None if now_ms < self.active_ms => ConsumerStatus::Creating,
            None => ConsumerStatus::Active,
        }
    }

    pub(crate) fn describe(&self, now_ms: u64) -> types::Consumer {
        types::Consumer {
            consumer_name: self.arn.name.clone(),
            consumer_arn: self.arn.to_string(),
            consumer_status: self.status(now_ms),
            consumer_creation_timestamp: Timestamp(self.created_ms.cast_signed()),
        }
    }
}
