//! What the story plays on: the regions, the load, and what was seen so far.

use std::cell::RefCell;
use std::sync::Arc;

use anyhow::{Result, bail};
use futures_util::future::join_all;
use local_region::load::Load;
use local_region::pod::{Pod, Site};
use serde::Serialize;
use serde_json::Value;

use super::catalogue::Catalogue;
use super::checks;
use super::observer::Observer;
use super::region::Region;
use super::rotation::{Rotation, Running};
use super::timeline::Timeline;

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
    pub(crate) observer: Observer,
    pub(crate) rotations: RefCell<Vec<Rotation>>,
    pub(crate) checks: RefCell<Vec<Check>>,
    /// Whether the waits of the signing key's rotation are skipped, to see that this is noticed.
    pub(crate) without_waits: bool,
}

impl<'a> Stage<'a> {
    /// Notes a check and shows it.
    pub(crate) fn check(&self, held: bool, what: impl Into<String>) {
        let what = what.into();
        self.timeline.check(held, &what);
        self.checks.borrow_mut().push(Check { what, held });
    }

    pub(crate) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.regions.iter().flat_map(|region| &region.pods)
    }

    /// A run of `regions rotate` in every region.
    ///
    /// # Errors
    /// The command cannot be started.
    pub(crate) async fn rotating(
        &self,
        secret: &'static str,
        further: &[&str],
        document: Option<&Value>,
    ) -> Result<Running<'a>> {
        let place = (&self.catalogue, self.regions.as_slice());
        Running::start(self.timeline, place, secret, further, document).await
    }

    /// Keeps what a run came to.
    pub(crate) fn keep(&self, rotation: Rotation) {
        self.rotations.borrow_mut().push(rotation);
    }

    /// Looks whether former versions of a document are gone from every Vault and every agent.
    ///
    /// # Errors
    /// A Vault does not say what it has.
    pub(crate) async fn check_former_are_gone(&self, document: &'static str) -> Result<()> {
        let mut gone = true;
        for region in &self.regions {
            let former: Vec<u64> = (1..region.version(document).await?).collect();
            if former.is_empty() {
                bail!("{} has no former version of {document} that could be gone", region.name);
            }
            let path = format!("service/{document}");
            let reads = former.iter().map(|version| region.rotator().read("kv", &path, Some(*version)));
            gone &= join_all(reads).await.iter().all(Result::is_err);
            for pod in &region.pods {
                gone &= checks::former_is_gone(pod, document, &former).await?;
            }
        }
        self.check(
            gone,
            format!("{document}: former versions can be read neither from a Vault nor from an agent"),
        );
        Ok(())
    }
}
