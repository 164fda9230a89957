//! The topics of all routes of an app, before one of them runs.

use super::AppHandle;
use crate::error::Result;
use crate::runtime::{RouteTopics, check_sources, prepare_topics};

impl AppHandle {
    /// Does what a start does to the topics of its routes, and no more: checks every route and creates its group's topics, and
    /// its source topic where `auto_create` says so. What a start would do: [`RouteTopics::plan`].
    ///
    /// One route may read what another writes, so those that read another's own topic (its dead letters, say) come last:
    /// it exists then with the partitions it should have.
    ///
    /// # Errors
    /// What a backend cannot keep; missing source topics, all of them; topics that do not fit; the backend's.
    pub async fn prepare_topics(&self) -> Result<()> {
        let routes: Vec<RouteTopics> = self.routes.iter().map(|route| route.topics()).collect();
        check_sources(&routes).await?;
        let reads_own_topic = |route: &&RouteTopics| {
            let own = routes.iter().flat_map(|other| other.topology.own_topics());
            own.into_iter().any(|topic| *topic == route.topology.source)
        };
        let (last, first): (Vec<_>, Vec<_>) = routes.iter().partition(reads_own_topic);
        for route in first.into_iter().chain(last) {
            prepare_topics(route).await?;
        }
        Ok(())
    }
}
