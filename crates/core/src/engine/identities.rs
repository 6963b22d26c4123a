//! The streams behind the outputs: a stream that was deleted and created again has none of the
//! records that the old one got.

use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::Position;
use crate::output::{Output, TroubleKind};
use crate::source::StreamIdentity;
use crate::store::{OutputId, OutputIdentity};

use super::mutation::{Mutation, on};
use super::settings::OnRecreated;
use super::world::World;
use super::{OutputSpec, Shared, Start, lock};

/// Looks at an output that is missing so many times within [`Settings::identity_refresh`].
///
/// [`Settings::identity_refresh`]: super::Settings::identity_refresh
const LOOKS: u32 = 12;

/// Asks for the identity of `id` until the output is removed.
pub(crate) async fn watch(shared: Arc<Shared>, id: OutputId) {
    let settings = &shared.settings;
    let step = settings.identity_refresh / LOOKS;
    let mut waited = Duration::ZERO;
    loop {
        shared.clock.sleep(step).await;
        waited += step;
        let Some((output, is_missing)) = lock(&shared.world).watched(&id) else {
            return;
        };
        if waited < settings.identity_refresh && !is_missing {
            continue;
        }

        waited = Duration::ZERO;
        let looked = shared.clock.timeout(settings.read_deadline, output.look());
        // A failure shows in the writes as well.
        if let Some(Ok(Some(identity))) = looked.await {
            let mut world = lock(&shared.world);
            world.on_identity(&id, &identity, settings.on_recreated);
            drop(world);
            shared.news.notify_one();
        }
    }
}

impl World {
    /// The output `id`, and whether a lane found it missing.
    fn watched(&self, id: &OutputId) -> Option<(Arc<dyn Output>, bool)> {
        let entry = self.outputs.get(id)?;
        let mut is_missing = false;
        for cell in self.shards.values() {
            if cell.last_trouble(id) == Some(TroubleKind::Missing) {
                is_missing = true;
                break;
            }
        }
        let output = Arc::clone(&entry.spec.output);
        Some((output, is_missing))
    }

    /// Compares the stream behind an output that was just added with that of the store.
    pub(crate) fn recognise(
        &mut self,
        spec: &OutputSpec,
        stored: Vec<OutputIdentity>,
        reaction: OnRecreated,
    ) {
        let Some(entry) = self.outputs.get_mut(&spec.id) else {
            return;
        };
        entry.identity = None;
        for row in stored {
            if row.output == spec.id {
                entry.identity = Some(row.identity);
                break;
            }
        }

        if let Some(identity) = spec.identity() {
            self.on_identity(&spec.id, &identity, reaction);
        }
    }

    /// The stream behind the output `id` is `now`. `reaction`: to a stream that was created again.
    pub(crate) fn on_identity(
        &mut self,
        id: &OutputId,
        now: &StreamIdentity,
        reaction: OnRecreated,
    ) {
        let Some(entry) = self.outputs.get_mut(id) else {
            return;
        };
        let known = entry.current.replace(now.clone());
        if entry.awaits_user || on(Mutation::RecreationIgnored) {
            return;
        }
        let before = entry.identity.clone().or(known);
        if !before.is_some_and(|before| before.is_recreated_as(now)) {
            return;
        }

        match reaction {
            OnRecreated::Restart => self.restart(id, now),
            OnRecreated::Continue => tracing::warn!(
                output = %id,
                "the output {} was deleted and created again; it goes on where it was, so earlier \
                 records are not in the new one",
                now.arn
            ),
            OnRecreated::Stop => self.stop(id, now),
        }
    }

    /// The output begins again at its start, also in shards that it had read to the end.
    fn restart(&mut self, id: &OutputId, now: &StreamIdentity) {
        let Some(entry) = self.outputs.get_mut(id) else {
            return;
        };
        let position = match (entry.spec.start, now.created) {
            (Start::At(at), _) => Position::At(at),
            (Start::Latest, Some(created)) => Position::At(created),
            (Start::TrimHorizon | Start::Latest, _) => Position::TrimHorizon,
        };
        tracing::warn!(
            output = %id,
            start = %position,
            "the output {} was deleted and created again; it begins again at its start",
            now.arn
        );
        for cell in self.shards.values() {
            if let Some(counts) = cell.restart_lane(&entry.spec, &position) {
                entry.past.add(&counts);
            }
        }
        // Written with the new starts, in one transaction.
        entry.identity = None;
    }

    /// The output stops. The store keeps the old identity, so that the next start stops as well.
    fn stop(&mut self, id: &OutputId, now: &StreamIdentity) {
        let reason = format!(
            "the output {} was deleted and created again (on-recreated is stop): restart the output \
             to copy everything again, or resume it to go on where it was",
            now.arn
        );
        tracing::error!(output = %id, "{reason}");
        if let Some(entry) = self.outputs.get_mut(id) {
            entry.awaits_user = true;
        }
        for cell in self.shards.values() {
            cell.stop_lane(id, &reason);
        }
    }
}
