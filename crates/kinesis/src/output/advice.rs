//! Advice for the user of an output that has too few shards.

use std::fmt;

use distributary_core::output::Demand;

use super::history::Recent;
use super::shard_rate::Amount;

/// A smaller part of refused records is a burst, and no reason for advice.
const NOTEWORTHY_REFUSED: f64 = 0.01;
/// A smaller part of requests that used up a shard's room is no reason for advice either.
const NOTEWORTHY_EXHAUSTED: f64 = 0.1;

/// The number of shards that a throttled stream has and would need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// Open shards of the stream.
    pub shards: u32,
    /// The number of shards that would take the records of the source, with keys spread evenly.
    /// Where the source's rate is not known: the records of the last minute, and at most twice as
    /// many shards as there are.
    pub needed: u32,
    /// Percent of the records of the last minute that were refused.
    pub refused_percent: u32,
    /// The one shard that refused most of the records although the others have room.
    pub hottest: Option<String>,
    /// True if the stream is on demand, and adds shards by itself.
    pub on_demand: bool,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.refused_percent {
            0 => f.write_str(
                "written at the pace that its shards allow, which is less than the source brings; ",
            )?,
            percent => write!(
                f,
                "throttled: {percent} % of its records in the last minute; "
            )?,
        }
        let plural = if self.shards == 1 { "" } else { "s" };
        write!(f, "it has {} shard{plural}", self.shards)?;

        let needed = self.needed;
        match &self.hottest {
            Some(shard) => write!(
                f,
                ", of which {shard} gets more than it can take: split that one, or spread the \
                 partition keys"
            ),
            None if self.on_demand => write!(
                f,
                " and would need about {needed}: being on demand it grows by itself, sooner with \
                 warm throughput"
            ),
            None => write!(f, " and would need about {needed} (UpdateShardCount)"),
        }
    }
}

/// The open shards of a stream, for [`advise`].
pub(super) struct OpenShards<'a> {
    pub(super) ids: Vec<&'a str>,
    pub(super) on_demand: bool,
}

/// The advice after `recent`, where the source brings `demand`; `None` if the stream has enough
/// shards, or no shard is known.
pub(super) fn advise(
    recent: &Recent,
    stream: &OpenShards<'_>,
    demand: Option<Demand>,
) -> Option<Advice> {
    let shards = stream.ids.len();
    let shards = u32::try_from(shards).ok();
    let shards = shards.filter(|n| *n > 0)?;
    let refusing = is_noteworthy(recent.refused.all, recent.records, NOTEWORTHY_REFUSED);
    let exhausted = is_noteworthy(recent.exhausted.all, recent.counted, NOTEWORTHY_EXHAUSTED);
    if !refusing && !exhausted {
        return None;
    }

    let enough = enough_shards(recent, demand);
    let hottest = recent.hottest().filter(|_| shards > 1 && enough <= shards);
    let hottest = hottest.and_then(|shard| stream.ids.get(shard));
    if !refusing && hottest.is_none() && demand.is_some() && enough <= shards {
        // The shards take the records of the source; older records are caught up with in time.
        return None;
    }

    let most = match demand {
        Some(_) => u32::MAX,
        None => shards * 2,
    };
    Some(Advice {
        shards,
        needed: enough.clamp(shards + 1, most),
        refused_percent: refused_percent(recent),
        hottest: hottest.map(|id| (*id).to_owned()),
        on_demand: stream.on_demand,
    })
}

fn is_noteworthy(count: u64, all: u64, part: f64) -> bool {
    count > 0 && count as f64 >= all as f64 * part
}

/// The number of shards for `demand`, or for the records of the last minute.
fn enough_shards(recent: &Recent, demand: Option<Demand>) -> u32 {
    let shards = match demand {
        Some(Demand { records, bytes }) => Amount { records, bytes }.shard_seconds(),
        None => recent.offered_shards(),
    };
    // A small number, and never negative.
    shards.ceil() as u32
}

fn refused_percent(recent: &Recent) -> u32 {
    if !is_noteworthy(recent.refused.all, recent.records, NOTEWORTHY_REFUSED) {
        return 0;
    }
    let percent = (recent.refused.all * 100).div_ceil(recent.records.max(1));
    // At most a hundred.
    percent.min(100) as u32
}
