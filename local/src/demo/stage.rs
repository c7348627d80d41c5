//! What the story plays on: the regions, the load, and what was seen so far.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::{join_all, try_join_all};
use local_region::load::Load;
use local_region::pod::{Pod, Site};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};

use super::catalogue::Catalogue;
use super::documents::Rotation;
use super::region::Region;
use super::timeline::Timeline;
use super::watcher::{self, Change, Moment};

/// A thing that must hold, and whether it did.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Check {
    pub(crate) what: String,
    pub(crate) held: bool,
}

/// The regions, the load, and what was seen so far.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) timeline: &'a Timeline,
    pub(crate) site: Site<'a>,
    pub(crate) catalogue: Catalogue,
    pub(crate) regions: Vec<Region>,
    pub(crate) load: Arc<Load>,
    pub(crate) changes: Vec<Change>,
    pub(crate) checks: Vec<Check>,
    /// Whether the waits of the rotation are skipped, to see that this is noticed.
    pub(crate) without_waits: bool,
}

impl Stage<'_> {
    /// Notes a check and shows it.
    pub(crate) fn check(&mut self, held: bool, what: impl Into<String>) {
        let what = what.into();
        self.timeline.check(held, &what);
        self.checks.push(Check { what, held });
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.regions.iter().flat_map(|region| &region.pods)
    }

    /// Writes a document in every region at once, nudges, and returns when every instance of every pod says
    /// that it uses it.
    ///
    /// # Errors
    /// A Vault refused, or a pod does not use the version in time.
    pub(crate) async fn roll_out(
        &mut self,
        rotation: Rotation,
        document: &'static str,
        content: &Value,
    ) -> Result<()> {
        let rollouts = self.regions.iter_mut().map(async |region| {
            let written = Moment::now();
            let kv = region.write(document, content).await?;
            let pods = region.pods.iter().map(async |pod| {
                let (until_delivered, until_adopted, delivered, adopted) =
                    watcher::adopted(pod, document, &kv, written).await?;
                anyhow::Ok(Change {
                    document,
                    rotation: rotation.id,
                    phase: rotation.phase,
                    region: pod.region.clone(),
                    pod: pod.name.clone(),
                    version: kv.version,
                    write_to_delivered_ms: until_delivered,
                    write_to_adopted_ms: until_adopted,
                    delivered,
                    adopted,
                })
            });
            try_join_all(pods).await
        });
        let changes: Vec<Change> = try_join_all(rollouts).await?.into_iter().flatten().collect();
        let slowest = changes.iter().map(|change| change.write_to_adopted_ms).fold(0.0, f64::max);
        let versions: Vec<String> = self
            .regions
            .iter()
            .map(|region| format!("{} v{}", region.name, region.version(document)))
            .collect();
        self.timeline.say(
            document,
            &format!(
                "{} ({}): adopted by {} of {} pods, the last after {slowest:.0} ms",
                rotation.phase,
                versions.join(", "),
                changes.len(),
                self.pods().count(),
            ),
        );
        self.changes.extend(changes);
        Ok(())
    }

    /// Destroys the former versions of a document in every region, and waits until no agent serves one.
    ///
    /// # Errors
    /// A Vault refused.
    pub(crate) async fn destroy_former(&mut self, document: &'static str) -> Result<()> {
        let mut gone = true;
        for region in &self.regions {
            let former = region.destroy_former(document).await?;
            let numbers: Vec<String> = former.iter().map(ToString::to_string).collect();
            self.timeline
                .say(document, &format!("destroyed in {}: version {}", region.name, numbers.join(", ")));
            let path = format!("service/{document}");
            let reads = former.iter().map(|version| region.rotator().read("kv", &path, Some(*version)));
            gone &= join_all(reads).await.iter().all(Result::is_err);
            let current = region.version(document);
            for pod in &region.pods {
                watcher::nudge(pod, document, Some(current)).await?;
            }
            for pod in &region.pods {
                gone &= super::checks::former_is_gone(pod, document, &former).await?;
            }
        }
        self.check(
            gone,
            format!("{document}: former versions can be read neither from a Vault nor from an agent"),
        );
        Ok(())
    }

    /// Lets time pass that the rotation needs, and says why.
    pub(crate) async fn wait_out(&self, span: Duration, why: &str) {
        if self.without_waits {
            return self.timeline.say("wait", &format!("SKIPPED: {:.1} s {why}", span.as_secs_f64()));
        }
        let end = Instant::now() + span;
        self.timeline.say("wait", &format!("{:.1} s {why}", span.as_secs_f64()));
        sleep_until(end).await;
    }
}
