//! From an event to an answer.

use std::sync::Mutex;
use std::time::Duration;

use distributary_core::clock::{Clock, Instant, Millis};
use distributary_core::text::chain;
use lambda_runtime::Diagnostic;
use serde_json::Value;

use crate::answer::answer;
use crate::delivery::Delivery;
use crate::event::{AnswerForm, BadEvent, Event, Group};
use crate::fleet::Fleet;
use crate::progress::{Open, Progress};

/// Time between the end of a delivery and the deadline of the event, for the answer.
const MARGIN: Duration = Duration::from_millis(500);

/// A function, ready for events.
pub struct Function {
    clock: Clock,
    fleets: Vec<Fleet>,
    progress: Mutex<Progress>,
}

/// The reason why an event is answered with an error: all of the event comes again.
#[derive(Debug, thiserror::Error)]
pub enum InvocationError {
    /// The event cannot be used.
    #[error("the event cannot be used")]
    Event(#[from] BadEvent),
    /// No fan-out takes records of this source.
    #[error(
        "no fan-out has the source {0}: remove the mapping, or name the stream with the key from"
    )]
    NoFanOut(String),
    /// The outputs are not known, or one of them is the source.
    #[error("{0}")]
    Outputs(String),
    /// Some messages are not durable, and the topic knows no partial answer.
    #[error("some messages are not durable at every output; the log has the reasons")]
    NotDurable,
}

impl From<InvocationError> for Diagnostic {
    fn from(error: InvocationError) -> Self {
        let error_type = match &error {
            InvocationError::Event(_) => "Distributary.BadEvent",
            InvocationError::NoFanOut(_) => "Distributary.NoFanOut",
            InvocationError::Outputs(_) => "Distributary.Outputs",
            InvocationError::NotDurable => "Distributary.NotDurable",
        };
        Self {
            error_type: error_type.to_owned(),
            error_message: chain(&error),
        }
    }
}

impl Function {
    pub(crate) fn new(clock: Clock, fleets: Vec<Fleet>) -> Self {
        Self {
            clock,
            fleets,
            progress: Mutex::default(),
        }
    }

    /// Delivers the records of an event, and answers before `deadline`.
    ///
    /// # Errors
    /// [`InvocationError`].
    pub async fn handle(&self, payload: &str, deadline: Millis) -> Result<Value, InvocationError> {
        let deadline = self.end_of_delivery(deadline);
        let event = Event::parse(payload)?;

        let mut open = Vec::with_capacity(event.groups.len());
        for group in &event.groups {
            let of_group = self.deliver(group, event.answer, deadline).await?;
            open.push(of_group);
        }
        answer(&event, &open).map_err(|_| InvocationError::NotDurable)
    }

    /// The moment at which deliveries end.
    fn end_of_delivery(&self, deadline: Millis) -> Instant {
        let left = deadline.since(self.clock.wall());
        let margin = MARGIN.min(left / 2);
        self.clock.now().plus(left.saturating_sub(margin))
    }

    /// Delivers a group to the outputs of every fan-out that takes records of the source.
    async fn deliver(
        &self,
        group: &Group,
        answer: AnswerForm,
        deadline: Instant,
    ) -> Result<Vec<Open>, InvocationError> {
        let mut members = Vec::new();
        let mut fleets = self
            .fleets
            .iter()
            .filter(|fleet| fleet.reads(&group.source));
        let first = fleets.next();
        let Some(first) = first else {
            let source = group.source.to_string();
            return Err(InvocationError::NoFanOut(source));
        };
        for fleet in std::iter::once(first).chain(fleets) {
            let of_fleet = fleet.members(&group.source, deadline).await;
            members.extend(of_fleet.map_err(InvocationError::Outputs)?);
        }

        let delivery = Delivery {
            clock: &self.clock,
            deadline,
            progress: &self.progress,
        };
        Ok(delivery.deliver(group, answer, members).await)
    }
}
