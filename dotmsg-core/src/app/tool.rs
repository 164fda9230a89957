//! An app for a tool that does not have the handlers: what the configuration itself describes.

use super::{Adapters, App, AppHandle, running};
use crate::config::Explained;
use crate::error::{Error, ErrorKind, Result};

impl<R: Adapters> App<(), R> {
    /// [`App::open`], for the routes that the configuration describes in full (a topic and a group in `[routes.<name>]`), without
    /// their handlers. The other tables of `[routes]` are left out.
    ///
    /// # Errors
    /// As [`App::open`].
    pub async fn open_configured(self) -> Result<AppHandle> {
        let resolved = self.whole_config(&R::registry()).resolve_configured()?;
        running::open_resolved(&self, &resolved).await
    }

    /// [`App::open`], for one backend by its name in the configuration, and no routes.
    ///
    /// # Errors
    /// As [`App::open`]; there is no such backend.
    pub async fn open_backend(self, name: &str) -> Result<AppHandle> {
        let mut resolved = self.whole_config(&R::registry()).resolve_configured()?;
        resolved.routes.clear();
        resolved.backends.retain(|backend| backend.name == name);
        if resolved.backends.is_empty() {
            let message = "the configuration has no such backend";
            return Err(
                Error::new(ErrorKind::Config, "open backend", message).with("backend", name)
            );
        }
        running::open_resolved(&self, &resolved).await
    }

    /// [`App::explain`], for the routes that the configuration describes in full.
    ///
    /// # Errors
    /// Everything wrong with the configuration at once.
    pub fn explain_configured(&self) -> Result<Explained> {
        Ok(self.whole_config(&R::registry()).explain_configured()?)
    }
}
