//! Outputs for dead letters, shared by all outputs of the process that name the same place: a file
//! has one writer.

use std::sync::{Arc, Weak};

use distributary_adapters::kind::{BuildContext, BuildError};
use distributary_adapters::outputs::{BuiltOutput, OutputSettings};
use distributary_core::output::Output;
use tokio::sync::Mutex;

/// The outputs for dead letters that are in use. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct DeadLetterOutputs {
    // The lock is held while an output is built, so that a place is never opened twice.
    kept: Arc<Mutex<Vec<Kept>>>,
}

/// An output that is in use as long as an engine holds the output.
struct Kept {
    settings: OutputSettings,
    output: Weak<dyn Output>,
    identity: String,
}

impl Kept {
    fn of(settings: &OutputSettings, built: &BuiltOutput) -> Self {
        Self {
            settings: settings.clone(),
            output: Arc::downgrade(&built.output),
            identity: built.identity.clone(),
        }
    }

    fn built(&self) -> Option<BuiltOutput> {
        Some(BuiltOutput {
            output: self.output.upgrade()?,
            pump: None,
            identity: self.identity.clone(),
        })
    }
}

impl DeadLetterOutputs {
    /// The output with these settings: one that is in use, or a new one.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn get(
        &self,
        settings: &OutputSettings,
        context: &BuildContext,
    ) -> Result<BuiltOutput, BuildError> {
        let mut kept = self.kept.lock().await;
        kept.retain(|one| one.output.strong_count() > 0);
        let same = kept.iter().find(|one| one.settings == *settings);
        if let Some(built) = same.and_then(Kept::built) {
            return Ok(built);
        }

        let built = settings.build(context).await?;
        let one = Kept::of(settings, &built);
        kept.push(one);
        Ok(built)
    }
}
