//! `clients`: hashes of clients' secrets. Each client is taken with its former and with its new secret, from before
//! it can find the new one until after it must have found it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::facts::{Content, Facts, Stored};
use super::kind::{Kind, Wait};
use super::mark::{Mark, Phase};
use super::recipe::{Change, Recipe, Source};
use super::standing::{Course, Standing};
use super::times::Times;
use super::{Request, Step};

/// Folder of the secrets that clients find.
pub const CLIENT: &str = "client";

/// Folder of the secrets that nobody has yet.
pub const PENDING: &str = "client-pending";

#[derive(Debug)]
pub(super) struct Clients;

impl Kind for Clients {
    fn forward(&self) -> &'static [Phase] {
        &[Phase::Publish, Phase::Hand, Phase::Retire]
    }

    fn back(&self) -> &'static [Phase] {
        &[Phase::Withdraw, Phase::Return, Phase::Remove]
    }

    fn alike(&self) -> bool {
        true
    }

    fn unfit(&self, content: &Content, course: &Course<'_>) -> Option<String> {
        fit(content, course).err()
    }

    fn recipe(&self, phase: Phase, region: &Standing<'_>, course: &Course<'_>) -> Result<Recipe, String> {
        let mark = Mark::new(&course.id, phase);
        let (version, _) = region.current.ok_or("it has no current version")?;
        let mut sources = vec![region.source(version)];
        let change = match phase {
            Phase::Publish => Change::AddHashes(new_hashes(course)?),
            Phase::Retire => Change::KeepHashes(new_hashes(course)?),
            Phase::Return => {
                sources = both(course).map_or(sources, |both| vec![both]);
                Change::Same
            }
            Phase::Withdraw => {
                sources = vec![course.withdrawn(region, version)];
                Change::Same
            }
            Phase::Remove if course.retired() => Change::KeepHashes(new_hashes(course)?),
            Phase::Remove if published(course) => Change::DropHashes(new_hashes(course)?),
            _ => Change::Same,
        };
        Ok(Recipe { sources, change, mark })
    }

    fn errands(&self, phase: Phase, region: &Standing<'_>, course: &Course<'_>) -> Result<Vec<Step>, String> {
        match phase {
            Phase::Publish => {
                Ok(course.clients.iter().filter_map(|client| pend(client, region, course)).collect())
            }
            Phase::Hand => {
                let handed = course.clients.iter().map(|client| hand(client, region, course));
                Ok(handed.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
            }
            Phase::Return if !course.retired() && published(course) => {
                Ok(course.clients.iter().filter_map(|client| take_back(client, region, course)).collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn is_blind(&self, phase: Phase, course: &Course<'_>) -> bool {
        phase == Phase::Return && !course.retired() && !published(course)
    }

    fn wait(&self, phase: Phase, course: &Course<'_>, times: Times, request: &Request) -> Wait {
        let found = phase == Phase::Hand || (phase == Phase::Return && handed(course));
        if !found {
            return Wait::NONE;
        }
        // A client asks for a token at least this often, and looks for its secret then.
        let long = request.grace.unwrap_or(times.token_life + times.skew);
        Wait { long, why: "until every client has looked for its secret again (grace)" }
    }

    fn stays(&self, course: &Course<'_>) -> Vec<String> {
        course.clients.iter().map(|client| path(CLIENT, client)).collect()
    }

    fn leftovers(&self, region: &Standing<'_>, course: &Course<'_>) -> Vec<Step> {
        let mut steps = unneeded(region);
        for client in &course.clients {
            let own = path(CLIENT, client);
            let former = region.held.stored.get(&own).map(Stored::former).unwrap_or_default();
            steps.extend(region.destroy(&own, former));
        }
        steps
    }

    fn lost(&self, there: &Facts, instead: &Facts, course: &Course<'_>) -> Vec<String> {
        let (Content::Clients(there), Content::Clients(_)) = (&there.content, &instead.content) else {
            return vec!["a document that cannot be read".into()];
        };
        let lost = there.iter().filter(|(client, hashes)| {
            hashes.iter().any(|hash| !takes(instead, client, hash) && !is_only_pending(client, hash, course))
        });
        lost.map(|(client, _)| format!("a secret of the client {client}")).collect()
    }

    fn is_found(&self) -> bool {
        true
    }

    fn breaks(&self, times: Times) -> String {
        format!(
            "clients that have not looked for their new secret when the former one goes get no token until they do \
             (otherwise they have {} s for it)",
            (times.token_life + times.skew).as_secs()
        )
    }
}

/// What goes of all that is pending in a region once no rotation is under way there: nobody uses it, so its current version
/// goes as well, whichever rotation it came of. A write may come after its rotation's end.
pub(super) fn unneeded(region: &Standing<'_>) -> Vec<Step> {
    let pending = region.held.stored.iter().filter(|(path, _)| path.starts_with(PENDING));
    let steps = pending.filter_map(|(path, stored)| {
        let current = stored.readable().filter(|(_, facts)| facts.mark.is_some());
        let mut versions = stored.former();
        versions.extend(current.map(|(version, _)| version));
        region.destroy(path, versions)
    });
    steps.collect()
}

fn path(folder: &str, client: &str) -> String {
    format!("{folder}/{client}")
}

/// Whether a secret is one that no client could find yet.
fn is_only_pending(client: &str, hash: &String, course: &Course<'_>) -> bool {
    is_in(PENDING, client, hash, course) && !is_in(CLIENT, client, hash, course)
}

/// Whether a client's secret is, or was, in a folder of any region.
fn is_in(folder: &str, client: &str, hash: &String, course: &Course<'_>) -> bool {
    let path = path(folder, client);
    let stored = course.regions.iter().filter_map(|region| region.held.stored.get(&path));
    let mut all = stored.flat_map(Stored::history);
    all.any(|(_, facts)| matches!(&facts.content, Content::Secret(known) if known == hash))
}

/// Every client that changes must be there, with one secret.
fn fit(content: &Content, course: &Course<'_>) -> Result<(), String> {
    let Content::Clients(known) = content else { return Err("its document cannot be read".into()) };
    for client in &course.clients {
        match known.get(client).map(Vec::len) {
            None => {
                let known: Vec<&str> = known.keys().map(String::as_str).collect();
                return Err(format!("there is no client {client}; there are {}", known.join(", ")));
            }
            Some(1) => {}
            Some(count) => {
                return Err(format!(
                    "the client {client} has {count} secrets already; take one away by hand, or leave the client out \
                     (--client)"
                ));
            }
        }
    }
    Ok(())
}

/// Makes a client's new secret, or copies it from the region that has it.
fn pend(client: &str, region: &Standing<'_>, course: &Course<'_>) -> Option<Step> {
    let path = path(PENDING, client);
    let mark = Mark::new(&course.id, Phase::Publish);
    if region.has(&path, &mark) {
        return None;
    }
    let recipe = match new_secret(client, course) {
        Some((source, _)) => Recipe { sources: vec![source], change: Change::Same, mark },
        None => Recipe { sources: Vec::new(), change: Change::Pending { client: client.to_owned() }, mark },
    };
    Some(region.write(path, recipe))
}

/// Puts a client's new secret where the client finds it.
fn hand(client: &str, region: &Standing<'_>, course: &Course<'_>) -> Result<Option<Step>, String> {
    let own = path(CLIENT, client);
    let mark = Mark::new(&course.id, Phase::Hand);
    let (new, hash) = new_secret(client, course).ok_or_else(|| {
        format!("the new secret of the client {client} is gone from every region; take the rotation back (--abort)")
    })?;
    // Where a region that is left out has another one, this may be what no document takes.
    if !is_in(CLIENT, client, hash, course) && taken_at(client, hash, course).is_none() {
        return Err(format!(
            "{}: no document in sight takes the new secret of the client {client} that is pending there; the one that they \
             take is in a region that is left out: go on once that is back, or take the rotation back (--abort)",
            region.name()
        ));
    }
    let found = region.held.stored.get(&own).and_then(Stored::readable);
    let is_new = |facts: &Facts| matches!(&facts.content, Content::Secret(known) if known == hash);
    if found.is_some_and(|(_, facts)| facts.mark.as_ref() == Some(&mark) && is_new(facts)) {
        return Ok(None);
    }
    let mut sources = vec![new];
    sources.extend(found.map(|(version, _)| region.source_of(&own, version)));
    Ok(Some(region.write(own, Recipe { sources, change: Change::Hand, mark })))
}

/// Lets a client find its former secret again. Where it still finds that, it is written once more: a write of the new one
/// that comes late is refused from then on.
fn take_back(client: &str, region: &Standing<'_>, course: &Course<'_>) -> Option<Step> {
    let (own, mark) = (path(CLIENT, client), Mark::new(&course.id, Phase::Return));
    let stored = region.held.stored.get(&own)?;
    let (version, _) = stored.readable()?;
    if region.has(&own, &mark) {
        return None;
    }
    match stored.history().find(|(_, facts)| !course.wrote(facts)) {
        Some((former, _)) => {
            let sources = vec![region.source_of(&own, former)];
            Some(region.write(own, Recipe { sources, change: Change::Same, mark }))
        }
        None => region.destroy(&own, vec![version]),
    }
}

/// The hash of each client's new secret.
fn new_hashes(course: &Course<'_>) -> Result<BTreeMap<String, String>, String> {
    let hash = |client: &String| match new_secret(client, course) {
        Some((_, hash)) => Ok((client.clone(), hash.clone())),
        None => Err(format!("the new secret of the client {client} is gone from every region")),
    };
    course.clients.iter().map(hash).collect()
}

/// A document that takes clients with their former and with their new secrets: one with those that count, where regions that
/// did not see each other have each made their own.
fn both(course: &Course<'_>) -> Option<Source> {
    let phases = [Phase::Hand, Phase::Publish];
    let new = new_hashes(course);
    let takes_all = |facts: &Facts| match &new {
        Ok(new) => new.iter().all(|(client, hash)| takes(facts, client, hash)),
        Err(_) => false,
    };
    let marked = |phase: Phase| {
        let mark = Mark::new(&course.id, phase);
        course.regions.iter().find_map(|region| {
            let (version, _) = region.stored().marked(&mark).filter(|(_, facts)| takes_all(facts))?;
            Some(region.source(version))
        })
    };
    let any = || phases.into_iter().find_map(|phase| course.marked(phase).ok());
    phases.into_iter().find_map(marked).or_else(any)
}

/// Where a client's new secret is, and its hash. Of regions that did not see each other each may have made one: the
/// one that counts is one that the client may have found, and is taken where the rotation is farthest.
fn new_secret<'c>(client: &str, course: &'c Course<'_>) -> Option<(Source, &'c String)> {
    let places = [(PENDING, Phase::Publish), (CLIENT, Phase::Hand)];
    let found = places.into_iter().flat_map(|(folder, phase)| {
        let (path, mark) = (path(folder, client), Mark::new(&course.id, phase));
        course.regions.iter().filter_map(move |region| {
            let (version, facts) = region.held.stored.get(&path)?.marked(&mark)?;
            let Content::Secret(hash) = &facts.content else { return None };
            Some((region.source_of(&path, version), hash))
        })
    });
    // The first, where several are taken equally far.
    found.min_by_key(|(_, hash)| {
        Reverse((is_in(CLIENT, client, hash, course), taken_at(client, hash, course)))
    })
}

/// Whether a document takes a client with a secret.
fn takes(facts: &Facts, client: &str, hash: &String) -> bool {
    let Content::Clients(clients) = &facts.content else { return false };
    clients.get(client).is_some_and(|hashes| hashes.contains(hash))
}

/// The last stage whose document takes a client with a secret; nothing where none does. What somebody wrote over it counts
/// by what it had been.
fn taken_at(client: &str, hash: &String, course: &Course<'_>) -> Option<usize> {
    let taken = |region: &&Standing<'_>| {
        let own = region.stored().history().find(|(_, facts)| course.wrote(facts));
        own.is_some_and(|(_, facts)| takes(facts, client, hash))
    };
    course.regions.iter().filter(taken).map(|region| region.stage).max()
}

fn published(course: &Course<'_>) -> bool {
    course.marked(Phase::Publish).is_ok() || course.marked(Phase::Hand).is_ok()
}

/// Whether a client may have found its new secret.
fn handed(course: &Course<'_>) -> bool {
    let in_region = |region: &Standing<'_>| {
        course.clients.iter().any(|client| {
            let stored = region.held.stored.get(&path(CLIENT, client));
            let mut history = stored.into_iter().flat_map(Stored::history);
            history.any(|(_, facts)| course.wrote(facts))
        })
    };
    course.forgotten() || course.regions.iter().any(in_region)
}
