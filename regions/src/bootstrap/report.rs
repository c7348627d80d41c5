//! What a bootstrap did, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use crate::catalogue::Environment;
use crate::catalogue::region::Region;
use crate::ending::Ending;

/// What a bootstrap did.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The region.
    pub region: String,
    /// Where its Vault is.
    pub address: String,
    /// How it ended.
    pub outcome: Ending,
    /// The region that documents were copied from.
    pub from: Option<String>,
    /// Whether the Vault was initialised by this run.
    pub initialised: bool,
    /// Its shares in base64, encrypted to the OpenPGP keys in their order; empty otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub encrypted_shares: Vec<String>,
    /// How many mounts, policies, roles and the like were written.
    pub objects: usize,
    /// The secrets that were written.
    pub copied: Vec<String>,
    /// The secrets that were there already.
    pub kept: Vec<String>,
    /// What would be done, with `--dry-run`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreseen: Vec<String>,
    /// What to know.
    pub notes: Vec<String>,
    /// What to do next.
    pub next: Vec<String>,
    /// Why it ended early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Report {
    /// The report of a run that has not begun.
    pub(super) fn new(region: &str, address: &str) -> Self {
        Self {
            region: region.into(),
            address: address.into(),
            outcome: Ending::Refused,
            from: None,
            initialised: false,
            encrypted_shares: Vec::new(),
            objects: 0,
            copied: Vec::new(),
            kept: Vec::new(),
            foreseen: Vec::new(),
            notes: Vec::new(),
            next: Vec::new(),
            error: None,
        }
    }

    /// It, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{} ({})", self.region, self.address);
        for line in &self.foreseen {
            let _ = writeln!(text, "  would {line}");
        }
        let planned = self.outcome == Ending::Planned;
        let of = |done: &'static str, would: &'static str| if planned { would } else { done };
        if self.initialised {
            text.push_str("  initialised\n");
        }
        if self.objects > 0 {
            let _ = writeln!(
                text,
                "  {} {} mounts, policies, auth methods, roles, quotas and settings",
                of("wrote", "would write"),
                self.objects
            );
        }
        let from = self.from.as_deref().unwrap_or("nowhere");
        if !self.copied.is_empty() {
            let _ =
                writeln!(text, "  {} from {from}: {}", of("copied", "would copy"), self.copied.join(", "));
        }
        if !self.kept.is_empty() {
            let _ = writeln!(text, "  there already: {}", self.kept.join(", "));
        }
        for note in &self.notes {
            let _ = writeln!(text, "  note: {note}");
        }
        if let Some(error) = &self.error {
            let _ = writeln!(text, "{error}");
        }
        text.push_str(match self.outcome {
            Ending::Done => "done\n",
            Ending::NoChange => "no change\n",
            Ending::Planned => "nothing was changed\n",
            Ending::Refused | Ending::Misconfigured => "refused; nothing was changed\n",
            Ending::Incomplete => "incomplete; run it again\n",
            Ending::Locked => "locked by another\n",
        });
        for (number, step) in (1..).zip(&self.next) {
            let _ = writeln!(text, "next {number}. {step}");
        }
        text
    }
}

/// What comes after a bootstrap.
pub(super) fn next(environment: &Environment, region: &Region, copied: bool) -> Vec<String> {
    let name = &environment.name;
    let mut next = Vec::new();
    if !copied {
        let secrets = environment.settings.secrets.keys().map(|secret| format!("service/{secret}"));
        next.push(format!(
            "this is the first region of {name}: write its documents (vault kv put -mount=kv service/NAME @FILE.json): {}",
            secrets.collect::<Vec<_>>().join(", ")
        ));
    }
    next.push(format!(
        "commit {}/{}.yaml where that has not been done; rotations stop at a region that their catalogue lacks",
        name, region.name
    ));
    next.push(format!(
        "regions promote --env {name} --release RELEASE, with the release that runs in {name}"
    ));
    next.push("the root token is gone; for another: vault operator generate-root, with the shares".into());
    next
}
