//! The faults of a fake service: moods of the whole service, and the fate of each request.

use std::time::Duration;

use crate::output::TroubleKind;

use super::{MillisRange, Rng};

/// The behaviour of a service towards all requests alike, until it is set again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// Each request has the fate that the faults give.
    #[default]
    Well,
    /// Nothing is answered and nothing is written.
    Held,
    /// Every request is rejected with this kind of trouble.
    Rejects(TroubleKind),
    /// Each request takes this long.
    Crawls(Duration),
    /// Each request panics: a bug in an output.
    Panics,
}

/// The outcome of one request at the service, and the part of it that the sender learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Written and answered.
    Well,
    /// Nothing is written, and the answer says so.
    Rejected(TroubleKind),
    /// This many of a thousand entries are not taken.
    Partial(u32),
    /// Everything is written, and the answer is lost.
    AnswerLost,
    /// Some entries are written, and the answer is lost.
    Cut,
    /// Nothing is written, and the answer is lost.
    RequestLost,
    /// The connection breaks at once; the records are written this much later.
    Late(Duration),
    /// No answer by the deadline; nothing is written.
    Held,
    /// No answer by the deadline; everything is written.
    Hangs,
    /// The write does not end at the deadline; everything is written after the deadline.
    Stuck,
    /// Everything is written, and the answer has too few entries.
    Garbled,
}

/// The frequency of each fate, out of a thousand requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputFaults {
    /// Time until the records are written, and the same again until the answer.
    pub latency: MillisRange,
    /// [`Fate::Rejected`], with a kind of trouble that passes by itself.
    pub rejected: u32,
    /// [`Fate::Partial`].
    pub partial: u32,
    /// Of each request without another fate, this many of a thousand entries fail.
    pub entries: u32,
    /// [`Fate::AnswerLost`].
    pub answer_lost: u32,
    /// [`Fate::Cut`].
    pub cut: u32,
    /// [`Fate::RequestLost`].
    pub request_lost: u32,
    /// [`Fate::Late`].
    pub late: u32,
    /// [`Fate::Hangs`].
    pub hangs: u32,
    /// [`Fate::Stuck`].
    pub stuck: u32,
    /// [`Fate::Garbled`].
    pub garbled: u32,
    /// Questions for room that are answered with less than all.
    pub holds: u32,
}

impl Fate {
    pub(super) fn draw(faults: &OutputFaults, rng: &mut Rng) -> Self {
        let kind = *rng.pick(&[
            TroubleKind::Unavailable,
            TroubleKind::Throttled,
            TroubleKind::Unintelligible,
        ]);
        let late = Duration::from_millis(rng.between(1, 20_000));
        // One entry in eight, one in two, all but a few.
        let share = *rng.pick(&[125, 500, 950]);

        let all = [
            (faults.rejected, Self::Rejected(kind)),
            (faults.partial, Self::Partial(share)),
            (faults.answer_lost, Self::AnswerLost),
            (faults.cut, Self::Cut),
            (faults.request_lost, Self::RequestLost),
            (faults.late, Self::Late(late)),
            (faults.hangs, Self::Hangs),
            (faults.stuck, Self::Stuck),
            (faults.garbled, Self::Garbled),
        ];
        let drawn = all.into_iter().find(|(share, _)| rng.per_mille(*share));
        drawn.map_or(Self::of_entries(faults.entries), |(_, fate)| fate)
    }

    fn of_entries(share: u32) -> Self {
        if share == 0 {
            Self::Well
        } else {
            Self::Partial(share)
        }
    }

    /// The name in the counts of faults; `None` for a fate that is no fault.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Well => None,
            Self::Rejected(_) => Some("a request was rejected"),
            Self::Partial(_) => Some("a request failed in part"),
            Self::AnswerLost => Some("written, and the answer lost"),
            Self::Cut => Some("written in part, and the answer lost"),
            Self::RequestLost => Some("a request was lost"),
            Self::Late(_) => Some("an abandoned request that is written late"),
            Self::Held => Some("a request was held"),
            Self::Hangs => Some("written, and no answer by the deadline"),
            Self::Stuck => Some("a request that outlives its deadline"),
            Self::Garbled => Some("an answer of the wrong length"),
        }
    }
}
