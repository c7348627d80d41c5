//! A chain of the kernel's packet filter, in a network namespace.

use std::path::Path;

use crate::platform::{Error, run};

/// A chain that is looked at before all others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub(super) name: &'static str,
    /// The chains that lead to it.
    pub(super) hooks: &'static [&'static str],
}

impl Chain {
    /// Adds a rule, after making the chain where it is missing.
    pub(super) fn add(&self, space: &Path, rule: &[&str]) -> Result<(), Error> {
        if !iptables(space, &["-S"])?.lines().any(|line| line == format!("-N {}", self.name)) {
            iptables(space, &["-N", self.name])?;
            for hook in self.hooks {
                iptables(space, &["-I", hook, "-j", self.name])?;
            }
        }
        iptables(space, &[&["-A", self.name], rule].concat()).map(drop)
    }

    /// Takes away the rules in which one of these words stands; all where there are no words.
    pub(super) fn clear(&self, space: &Path, words: &[&str]) -> Result<(), Error> {
        let listed = iptables(space, &["-S"])?;
        let own = format!("-A {} ", self.name);
        for rule in listed.lines().filter(|line| line.starts_with(&own)) {
            let rule: Vec<&str> = rule.split_whitespace().skip(1).collect();
            if words.is_empty() || rule.iter().any(|word| words.contains(word)) {
                iptables(space, &[&["-D"], rule.as_slice()].concat())?;
            }
        }
        Ok(())
    }
}

fn iptables(space: &Path, arguments: &[&str]) -> Result<String, Error> {
    let net = format!("--net={}", space.display());
    run("nsenter", &[&[&*net, "--", "iptables", "-w", "5"], arguments].concat())
}
