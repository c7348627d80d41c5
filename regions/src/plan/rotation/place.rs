//! How far each region is in a rotation, what must be written again there, and what stands in the way.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::facts::{Content, Facts, Fingerprint};
use super::kind;
use super::mark::Phase;
use super::recipe::Source;
use super::refusals::stepped_back;
use super::standing::{Course, Standing};
use super::times;
use super::{Observed, Refusal, Request};

/// Finds out how far each region is. Gives what stands in the way.
pub(super) fn place(course: &mut Course<'_>, going: bool) -> Vec<Refusal> {
    let mut refused = Vec::new();
    let mut stages = Vec::new();
    for region in &course.regions {
        stages.push(stage(course, region).unwrap_or_else(|refusal| {
            refused.push(refusal);
            None
        }));
    }
    for (region, stage) in course.regions.iter_mut().zip(&stages) {
        region.stage = stage.unwrap_or(0);
    }
    if !refused.is_empty() {
        return refused;
    }
    if course.back && course.retired() {
        if !going_back(course) {
            let why = format!(
                "it is too late to take {} back: what was there before is gone in some region already",
                course.id
            );
            let on = Request { abort: false, ..course.request.clone() };
            return vec![on.refuse(why, &[("finish it", ""), ("then begin a new one", "--again")])];
        }
        refused.extend(course.regions.iter().filter_map(|region| without_former(course, region)));
        if !refused.is_empty() {
            return refused;
        }
    }
    refused.extend(course.regions.iter().filter_map(|region| handed_out_only(course, region)));
    mend(course, &stages, &mut refused);
    if refused.is_empty() {
        refused.extend(disagreement(course, going));
    }
    refused
}

/// Why a region cannot go back where others have: each has its own document, and the region's former one is gone.
fn without_former(course: &Course<'_>, region: &Standing<'_>) -> Option<Refusal> {
    let (request, kind) = (course.request, kind::of(course.request.kind));
    let name = region.name();
    if kind.alike()
        || region.stage > 0
        || request.overwrite.contains(name)
        || !kind.has_let_go(region, course)
    {
        return None;
    }
    let why = format!(
        "{name}: no former version of {} is left there to go back to, and other regions have gone back; write it again \
         there by hand",
        request.secret
    );
    let keep = format!("--overwrite {name}");
    Some(request.refuse(why, &[("or keep there what the rotation has written", &keep)]))
}

/// Whether any region has begun to go back, whatever was written over that since.
fn going_back(course: &Course<'_>) -> bool {
    course.regions.iter().any(|region| written(course, region) > 0)
}

/// How many phases a region has behind it; nothing where its document is not one of this rotation's, or what it began
/// from.
fn stage(course: &Course<'_>, region: &Standing<'_>) -> Result<Option<usize>, Refusal> {
    let request = course.request;
    let flagged = request.restored.contains(region.name()) || request.overwrite.contains(region.name());
    let refuse = |why: String| {
        let flag = format!("--overwrite {}", region.name());
        let why = format!("{}: {why}", region.name());
        let back = format!("--abort {flag}");
        request.refuse(why, &[("put the rotation's own document over it", &flag), ("go back", &back)])
    };
    let Some((version, facts)) = region.current else {
        return match region.stored().current {
            _ if flagged => Ok(None),
            0 => Err(refuse(format!("it has no {} (regions bootstrap)", request.secret))),
            number => Err(refuse(format!("the current version {number} of {} is deleted", request.secret))),
        };
    };
    if let Content::Broken(why) = facts.content
        && !flagged
    {
        return Err(refuse(format!("version {} of {}: {why}", version.version, request.secret)));
    }
    let Some(mark) = facts.mark.as_ref().filter(|mark| mark.id == course.id) else {
        return match foreign(course, region, facts) {
            Some(_) if flagged => Ok(None),
            Some(why) => Err(refuse(why)),
            None => Ok(Some(0)),
        };
    };
    let Some(phase) = mark.phase() else {
        return Err(refuse(format!(
            "{mark} is a phase that this version of regions does not know; use a newer one"
        )));
    };
    Ok(Some(course.phases.iter().position(|own| *own == phase).map_or(0, |place| place + 1)))
}

/// Why a region's document is not what the rotation began from; nothing where it is.
fn foreign(course: &Course<'_>, region: &Standing<'_>, facts: &Facts) -> Option<String> {
    let (version, _) = region.current?;
    let by = match &facts.mark {
        None => "was written by hand".to_owned(),
        Some(mark) => format!("was written by the rotation {mark}"),
    };
    let told = format!("version {} of {} {by}", version.version, course.request.secret);
    if region.stored().history().any(|(_, facts)| course.wrote(facts)) {
        return Some(format!("{told}, after {} had come to the region", course.id));
    }
    let begun = course.regions.iter().filter_map(|other| began(course, other));
    let begun: Vec<_> = begun.collect();
    if !kind::of(course.request.kind).alike() {
        let first = begun.iter().map(|(at, _)| *at).min()?;
        return (version.created_time > first).then(|| format!("{told}, while {} was under way", course.id));
    }
    let bases: Vec<Fingerprint> = begun.iter().filter_map(|(_, base)| *base).collect();
    if bases.is_empty() || bases.contains(&facts.body) {
        return None;
    }
    Some(format!("{told}, and is not what {} began from in the other regions", course.id))
}

/// When a rotation came to a region first, and what was there before.
fn began(course: &Course<'_>, region: &Standing<'_>) -> Option<(Timestamp, Option<Fingerprint>)> {
    let (first, before) = region.came(course)?;
    Some((first.created_time, before.map(|(_, facts)| facts.body)))
}

/// Which regions have to be written again before they count, and at which stage.
fn mend(course: &mut Course<'_>, stages: &[Option<usize>], refused: &mut Vec<Refusal>) {
    // What was written over counts by what it had been: where every region's is, nothing else tells how far it was.
    let reached = stages.iter().zip(&course.regions);
    let reached: Vec<usize> =
        reached.map(|(stage, region)| stage.unwrap_or_else(|| written(course, region))).collect();
    let most = reached.iter().copied().max().unwrap_or(0);
    for (place, (stage, reached)) in stages.iter().zip(reached).enumerate() {
        let region = &course.regions[place];
        let restored = course.is_restored(region);
        // Wherever a phase was begun, every region had the one before.
        let least = if restored { most.saturating_sub(1).max(1) } else { 1 }.min(most);
        let to = match stage {
            Some(stage) if is_another(course, region, *stage) => *stage,
            Some(_) if !restored => continue,
            Some(_) => {
                let behind = stepped_back(course.request, region.observed).is_some();
                if !behind && reached >= least {
                    continue;
                }
                least.max(reached)
            }
            None => least.max(reached),
        };
        if to == 0 {
            // Taking back begins from what is there; what is begun only now is copied to it in its turn.
            if course.back && !adds_nothing(course, region) {
                let forward = kind::of(course.request.kind).forward();
                refused.extend(unmendable(course, region, forward));
            }
            continue;
        }
        // Where the rotation has ended already, only its last document is left. And what each region makes of its own
        // is no other's.
        let kind = course.request.kind;
        let there = |stage: &usize| {
            let phase = course.phase(*stage).filter(|phase| !kind::of_its_own(kind, *phase));
            phase.is_some_and(|phase| course.marked(phase).is_ok())
        };
        let to = (to..=most).find(there).unwrap_or(to);
        let phase = course.phase(to).into_iter().collect::<Vec<_>>();
        // What it had made of its own it makes again.
        let differs = |phase: &Phase| course.differs(*phase) && course.marked_for(region, *phase).is_err();
        let against = unmendable(course, region, &phase);
        // And each withdraws from what it has: another's may lack a key that has signed here.
        let may_withdraw = || match restored {
            true => has_more(course, region),
            false => against.is_none() || adds_nothing(course, region),
        };
        let withdraws = phase == [Phase::Withdraw] && may_withdraw();
        if phase.iter().any(differs) || withdraws {
            course.regions[place].stage = to - 1;
            continue;
        }
        refused.extend(against);
        course.regions[place].mend = Some(to);
        course.regions[place].stage = to;
    }
}

/// Whether a region that is to be overwritten has another document of its phase than the others: regions that did not
/// see each other may each have made one.
fn is_another(course: &Course<'_>, region: &Standing<'_>, stage: usize) -> bool {
    let kind = course.request.kind;
    if !course.request.overwrite.contains(region.name()) || !kind::of(kind).alike() {
        return false;
    }
    let phase = course.phase(stage).filter(|phase| !kind::of_its_own(kind, *phase));
    let source = phase.and_then(|phase| course.marked(phase).ok());
    let facts = source.as_ref().and_then(|source| course.at(source));
    facts.is_some_and(|facts| region.current.is_none_or(|(_, own)| own.body != facts.body))
}

/// Whether somebody who wrote over the rotation's document in a region left nothing there that the rotation does not
/// know: then it can be withdrawn from as well as from the rotation's own.
fn adds_nothing(course: &Course<'_>, region: &Standing<'_>) -> bool {
    let Some((_, there)) = region.current else { return false };
    let kind = kind::of(course.request.kind);
    let mut own = region.stored().history().filter(|(_, facts)| course.wrote(facts));
    own.any(|(_, facts)| kind.lost(there, facts, course).is_empty())
}

/// Whether a snapshot brought back a document of the rotation's own that has what may be in use, and the one that others
/// withdraw from has not: where they were left out, nobody but this region may know the new key.
fn has_more(course: &Course<'_>, region: &Standing<'_>) -> bool {
    let own = region.current.is_some_and(|(_, there)| course.wrote(there));
    let others = course.marked_for(region, Phase::Withdraw);
    own && others.is_ok_and(|others| !course.lost(region, &others).is_empty())
}

/// The last stage that a region had before somebody else wrote.
fn written(course: &Course<'_>, region: &Standing<'_>) -> usize {
    let of = |facts: &Facts| {
        let mark = facts.mark.as_ref().filter(|mark| mark.id == course.id)?;
        course.phases.iter().position(|phase| Some(*phase) == mark.phase()).map(|place| place + 1)
    };
    region.stored().history().find_map(|(_, facts)| of(facts)).unwrap_or(0)
}

/// Why a region's document cannot be written over by that of one of these phases; nothing where it can.
fn unmendable(course: &Course<'_>, region: &Standing<'_>, phases: &[Phase]) -> Option<Refusal> {
    let request = course.request;
    let Some(source) = phases.iter().find_map(|phase| course.marked_for(region, *phase).ok()) else {
        let why = format!(
            "{}: no region has a document of {} that could take the place of its own; write it there by hand",
            region.name(),
            course.id
        );
        return Some(request.refuse(why, &[]));
    };
    // A restored Vault does not tell what is in use, but its pods do.
    if course.is_restored(region) {
        return shown_only(course, region, &source);
    }
    let lost = lost(course, region, &source);
    if lost.is_empty() {
        return None;
    }
    let why = format!(
        "{}: its document has what the rotation's own has not, and it may be in use: {}; put it into every region \
         first",
        region.name(),
        lost.join(", ")
    );
    let mut ways = vec![request.settling()];
    if !request.overwrite.is_empty() {
        let kept = Request { overwrite: BTreeSet::new(), ..request.clone() };
        let kept = kept.refuse("", &[("or leave what is there, and see how else it can go on", "")]);
        ways.splice(0..0, kept.ways);
    }
    Some(Refusal { why, ways, may_pass: false })
}

/// Why the document that a restored region's pods use cannot go, where a rotation wrote it that no Vault knows any more:
/// clients may have found there what no other document takes. Nothing where that is not so.
///
/// Only a person can know whether they have.
fn handed_out_only(course: &Course<'_>, region: &Standing<'_>) -> Option<Refusal> {
    let request = course.request;
    if !course.is_restored(region) || !kind::of(request.kind).is_found() {
        return None;
    }
    let pods = region.observed.view.as_ref().map(|view| view.pods.as_slice()).unwrap_or_default();
    let secrets = pods.iter().filter_map(|pod| pod.agent.as_ref()).flat_map(|status| &status.secrets);
    let used = secrets.filter(|secret| secret.name == request.secret);
    let lost: BTreeSet<&String> = used
        .filter_map(|secret| secret.rotation_id.as_ref())
        .filter(|id| !course.regions.iter().any(|other| other.knows(id)) && !request.give_up.contains(*id))
        .collect();
    if lost.is_empty() {
        return None;
    }
    let told: Vec<&str> = lost.iter().map(|id| id.as_str()).collect();
    let why = format!(
        "{}: its pods use what {} wrote, and no Vault knows that any more: the restore lost the only copy. Clients that \
         have found their new secrets there would be turned away",
        region.name(),
        told.join(", ")
    );
    let what =
        "write the document by hand with what they have found; or let it go, once they have other secrets";
    Some(request.refuse(why, &[(what, giving_up(&lost).as_str())]))
}

/// Why keys that a restored region's pods show, and a document has not, cannot go; nothing where there are none.
///
/// Only a person can know whether a token of such a key is left.
fn shown_only(course: &Course<'_>, region: &Standing<'_>, source: &Source) -> Option<Refusal> {
    let request = course.request;
    let kept = course.kids(source)?;
    let pods = region.observed.view.as_ref().map(|view| view.pods.as_slice()).unwrap_or_default();
    let shown = pods.iter().filter_map(|pod| pod.service.as_ref()?.kids.as_ref()).flatten();
    let lost: BTreeSet<&String> =
        shown.filter(|kid| !kept.contains(*kid) && !request.give_up.contains(*kid)).collect();
    if lost.is_empty() {
        return None;
    }
    let told: Vec<&str> = lost.iter().map(|kid| kid.as_str()).collect();
    let told = told.join(", ");
    let held = lost.iter().any(|kid| course.regions.iter().any(|other| other.holds(kid)));
    let observed: Vec<&Observed> = course.regions.iter().map(|region| region.observed).collect();
    let long = times::in_effect(request.ceilings, &observed).token().as_secs();
    let because = match held {
        true => "the rotation's own document has not",
        false => "no Vault has any more: the restore lost the only copy",
    };
    let why = format!(
        "{}: its pods show {told}, which {because}. Tokens of it may be left until {long} s after it last signed \
         (service_tokens_issued_total of those pods, by kid)",
        region.name()
    );
    let what = format!(
        "let it go once none is left; while it still signs, drain {} and wait for that long first",
        region.name()
    );
    Some(request.refuse(why, &[(what.as_str(), giving_up(&lost).as_str())]))
}

/// The flags with which all of this is let go.
fn giving_up(lost: &BTreeSet<&String>) -> String {
    lost.iter().map(|what| format!("--give-up {what}")).collect::<Vec<_>>().join(" ")
}

/// What a region's document has that is in use, and another has not. What the rotation wrote itself it knows, unless it
/// made two documents of one phase.
fn lost(course: &Course<'_>, region: &Standing<'_>, source: &Source) -> Vec<String> {
    let mark = course.at(source).and_then(|facts| facts.mark.as_ref());
    let own = region.current.is_some_and(|(_, there)| course.wrote(there));
    if own && region.mark() != mark { Vec::new() } else { course.lost(region, source) }
}

/// The command that puts a document, wherever it is, over every other of its stage.
fn put_over(course: &Course<'_>, stage: usize, body: Fingerprint) -> String {
    let there = course.regions.iter().filter(|region| region.stage == stage && region.mend.is_none());
    let (stay, go): (Vec<&Standing<'_>>, Vec<&Standing<'_>>) =
        there.partition(|region| region.current.is_some_and(|(_, facts)| facts.body == body));
    let names = |regions: &[&Standing<'_>]| regions.iter().map(|region| region.name().to_owned()).collect();
    let (stay, go): (Vec<String>, Vec<String>) = (names(&stay), names(&go));
    let request = Request { overwrite: go.iter().cloned().collect(), ..course.request.clone() };
    format!("put the document of {} over that of {}: {}", stay.join(", "), go.join(", "), request.command(""))
}

/// Regions at the same stage whose documents should be the same and are not.
fn disagreement(course: &Course<'_>, going: bool) -> Option<Refusal> {
    if !kind::of(course.request.kind).alike() {
        return None;
    }
    let mut seen: BTreeMap<usize, (&str, Fingerprint)> = BTreeMap::new();
    for region in course.regions.iter().filter(|region| region.mend.is_none()) {
        let Some((_, facts)) = region.current else { continue };
        if region.stage == 0 && course.is_restored(region) {
            continue;
        }
        // Each region withdraws from where it is.
        if course.phase(region.stage) == Some(Phase::Withdraw) || (course.back && region.stage == 0) {
            continue;
        }
        let (other, body) = *seen.entry(region.stage).or_insert((region.name(), facts.body));
        if body != facts.body {
            let begun = going && region.stage > 0;
            let what = if begun { course.id.as_str() } else { course.request.secret.as_str() };
            let why = format!(
                "the documents of {other} and {} are not the same, and must be ({what}); make them the same, or begin \
                 again from one of them (regions bootstrap says how they differ)",
                region.name()
            );
            let ways = match begun {
                true => [body, facts.body].map(|stays| put_over(course, region.stage, stays)).to_vec(),
                false => Vec::new(),
            };
            return Some(Refusal { why, ways, may_pass: false });
        }
    }
    None
}
