//! Which rotation is going on, or is to be begun, and how far each region is in it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::clients::PENDING;
use super::facts::{Content, Facts, Fingerprint};
use super::kind;
use super::mark::{Mark, Phase};
use super::recipe::Source;
use super::refusals::stepped_back;
use super::standing::{Course, Standing};
use super::times;
use super::{Held, Observed, Refusal, Request};
use crate::catalogue::types::SecretKind;

/// A rotation that ended so long ago at most is taken for the one that is asked for: its command was killed when all
/// was done, or was given twice.
pub(super) const JUST_NOW: SignedDuration = SignedDuration::from_mins(10);

/// The rotation that is meant; nothing where there is nothing to do.
pub(super) fn course<'a>(
    request: &'a Request,
    regions: &'a [Observed],
) -> Result<Option<Course<'a>>, Vec<Refusal>> {
    let taking: Vec<(&Observed, &Held)> = regions
        .iter()
        .filter(|region| !request.without.contains(&region.region))
        .filter_map(|region| Some((region, region.vault.as_ref().ok()?)))
        .collect();
    let (id, going) = match going(request, &taking)? {
        Some(id) => (id, true),
        None => match begin(request, &taking) {
            Some(id) => (id, false),
            None => return Ok(None),
        },
    };
    let mut course = found(request, id, going, taking);
    let refused = place(&mut course, going);
    if refused.is_empty() { Ok(Some(course)) } else { Err(refused) }
}

/// The rotations that have written in a region and have not ended there, each with how far it came.
fn open_in<'a>(request: &Request, held: &'a Held) -> BTreeMap<&'a str, usize> {
    let kind = kind::of(request.kind);
    let phases: Vec<Phase> = kind.forward().iter().chain(kind.back()).copied().collect();
    let mut open = BTreeMap::new();
    let mut history = held.document().history();
    let newest =
        history.next().and_then(|(version, facts)| Some((Some(version.version), facts.mark.as_ref()?)));
    // A person may have written over what a rotation had written.
    let mark = newest.or_else(|| history.find_map(|(_, facts)| Some((None, facts.mark.as_ref()?))));
    if let Some((_, mark)) = mark.filter(|(version, mark)| !ended(held, &mark.id, *version)) {
        let place = phases.iter().position(|phase| Some(*phase) == mark.phase());
        open.insert(mark.id.as_str(), place.map_or(0, |place| place + 1));
    }
    // What is pending goes at the end of its rotation, and is there before its first document. A write that came after
    // that end has begun nothing.
    let pending = held.stored.iter().filter(|(path, _)| path.starts_with(PENDING));
    let marks = pending.filter_map(|(_, stored)| stored.readable()?.1.mark.as_ref());
    for mark in marks.filter(|mark| !ended(held, &mark.id, None)) {
        open.entry(mark.id.as_str()).or_insert(0);
    }
    open
}

/// Which rotation is going on.
fn going(request: &Request, taking: &[(&Observed, &Held)]) -> Result<Option<String>, Vec<Refusal>> {
    let mut open: BTreeMap<&str, Open<'_>> = BTreeMap::new();
    for (region, held) in taking {
        for (id, stage) in open_in(request, held) {
            if request.restored.contains(&region.region) && is_past(id, held, taking) {
                continue;
            }
            let open = open.entry(id).or_default();
            open.stage = open.stage.max(stage);
            open.regions.insert(&region.region);
        }
    }
    let farthest = |ids: &[&str]| ids.iter().copied().max_by_key(|id| open[id].stage).map(str::to_owned);
    // What is to be overwritten counts only where nothing else is there, and only by what has a document.
    let kept = |id: &&str| open[id].regions.iter().any(|region| !request.overwrite.contains(*region));
    let ids: Vec<&str> = open.keys().copied().collect();
    let counted: Vec<&str> = ids.iter().copied().filter(kept).collect();
    // Where everything is to be overwritten, only its name tells which is meant.
    let meant = request.id.clone().filter(|id| open.contains_key(id.as_str()));
    let id = match counted[..] {
        [] => meant.or_else(|| farthest(&ids)),
        [id] if open[id].has_document() || !open.values().any(Open::has_document) => Some(id.to_owned()),
        _ => return Err(vec![several(request, &open, &farthest(&counted).unwrap_or_default())]),
    };
    let held: Vec<&Held> = taking.iter().map(|(_, held)| *held).collect();
    id.as_deref().map_or(Ok(()), |id| going_on(request, id, &held))?;
    Ok(id)
}

/// Whether what a snapshot brought back is of a rotation that is long over: none begins before the one before it has
/// ended everywhere, and one that came later has ended somewhere.
fn is_past(id: &str, held: &Held, taking: &[(&Observed, &Held)]) -> bool {
    let written =
        held.document().history().find(|(_, facts)| facts.mark.as_ref().is_some_and(|mark| mark.id == id));
    let written = written.map(|(version, _)| version.created_time);
    taking
        .iter()
        .filter_map(|(_, held)| held.notes.ended.as_ref())
        .any(|ended| ended.id == id || written.is_some_and(|written| written < ended.at))
}

/// A rotation that has not ended.
#[derive(Default)]
struct Open<'a> {
    stage: usize,
    regions: BTreeSet<&'a str>,
}

impl Open<'_> {
    /// Whether it has written its document anywhere, and not only what goes before that.
    fn has_document(&self) -> bool {
        self.stage > 0
    }
}

/// Whether a rotation has ended in a region; where its document is still the current one, with that version.
pub(super) fn ended(held: &Held, id: &str, version: Option<u64>) -> bool {
    let ended = held.notes.ended.as_ref().filter(|ended| ended.id == id);
    ended.is_some_and(|ended| version.is_none_or(|version| version == ended.version))
}

/// Whether what is asked for is the rotation that is going on.
fn going_on(request: &Request, id: &str, heard: &[&Held]) -> Result<(), Vec<Refusal>> {
    let own = Request { id: Some(id.to_owned()), ..request.clone() };
    let refuse = |why: String, ways: &[(&str, &str)]| Err(vec![own.refuse(why, ways)]);
    if request.id.as_ref().is_some_and(|wanted| wanted != id) {
        let why = format!("the rotation {id} of {} has not ended yet", request.secret);
        return refuse(why, &[("finish it", ""), ("take it back", "--abort")]);
    }
    let write = Mark::new(id, Phase::Write);
    let written = heard.iter().find_map(|held| held.document().marked(&write));
    if let (Some(input), Some((_, facts))) = (request.input, written)
        && facts.body != input
    {
        let why =
            format!("the rotation {id} of {} has not ended yet, and writes another document", request.secret);
        return refuse(why, &[("finish it", ""), ("take it back", "--abort")]);
    }
    Ok(())
}

/// The rotation that is farther stays; what the other has only published was never used.
fn several(request: &Request, open: &BTreeMap<&str, Open<'_>>, farthest: &str) -> Refusal {
    let told = open
        .iter()
        .map(|(id, open)| format!("{id} in {}", open.regions.iter().copied().collect::<Vec<_>>().join(", ")));
    let why = format!(
        "several rotations of {} are under way, each begun while the others' regions were away: {}",
        request.secret,
        told.collect::<Vec<_>>().join("; ")
    );
    // The one that is farther first; whatever is chosen, nothing that is in use is written over.
    // One that has no document yet has none to put over others.
    let mut ids: Vec<&str> = open.keys().copied().filter(|id| open[id].has_document()).collect();
    if ids.is_empty() {
        ids.extend(open.keys());
    }
    ids.sort_by_key(|id| *id != farthest);
    let ways = ids.into_iter().map(|stays| {
        let others = open.iter().filter(|(id, _)| **id != stays).flat_map(|(_, open)| &open.regions);
        let flags: BTreeSet<String> = others.map(|region| format!("--overwrite {region}")).collect();
        let flags = flags.into_iter().collect::<Vec<_>>().join(" ");
        let flags = format!("--rotation {stays} {flags}");
        (format!("go on with {stays}, and put its document over the others'"), flags)
    });
    let ways: Vec<(String, String)> = ways.collect();
    let ways: Vec<(&str, &str)> = ways.iter().map(|(what, flags)| (what.as_str(), flags.as_str())).collect();
    Request { id: None, ..request.clone() }.refuse(why, &ways)
}

/// The id of a rotation that is to be begun, or of the last one where a region has to be brought up to it.
fn begin(request: &Request, taking: &[(&Observed, &Held)]) -> Option<String> {
    // What a snapshot brought back says nothing of what has ended.
    let trusted = taking.iter().filter(|(region, _)| !request.restored.contains(&region.region));
    let heard: Vec<&Held> = trusted.map(|(_, held)| *held).collect();
    let ended = heard.iter().filter_map(|held| held.notes.ended.as_ref());
    let last = ended.max_by_key(|ended| ended.at);
    // A region that is to be brought up to the others is brought up to where they are, if a rotation led there.
    let there = |held: &&Held| {
        let mark = held.document().readable().and_then(|(_, facts)| facts.mark.as_ref());
        mark.zip(last).is_some_and(|(mark, last)| mark.id == last.id)
    };
    if !(request.restored.is_empty() && request.overwrite.is_empty()) && heard.iter().any(there) {
        return last.map(|ended| ended.id.clone());
    }
    if request.abort {
        return None;
    }
    let now = heard.iter().map(|held| held.now).max().unwrap_or(Timestamp::MAX);
    // What came after it ended may want another: a write by hand, or a restored Vault that no rotation's document brings
    // up to its pods.
    let behind = |(region, _): &(&Observed, &Held)| stepped_back(request, region).is_some();
    let stands = agree(request, &heard) && !taking.iter().any(behind);
    match (&request.id, last) {
        (Some(id), _) if heard.iter().any(|held| self::ended(held, id, None)) => None,
        (Some(id), _) => Some(id.clone()),
        (None, Some(ended)) if !request.again && now.duration_since(ended.at) < JUST_NOW && stands => None,
        (None, _) => Some(request.fresh.clone()),
    }
}

/// Whether regions have the same document, where they should.
fn agree(request: &Request, heard: &[&Held]) -> bool {
    let mut bodies = heard.iter().filter_map(|held| Some(held.document().readable()?.1.body));
    let first = bodies.next();
    !kind::of(request.kind).alike() || bodies.all(|body| Some(body) == first)
}

/// The rotation, with its regions not yet placed.
pub(super) fn found<'a>(
    request: &'a Request,
    id: String,
    going: bool,
    taking: Vec<(&'a Observed, &'a Held)>,
) -> Course<'a> {
    let kind = kind::of(request.kind);
    let regions: Vec<Standing<'_>> = taking
        .into_iter()
        .map(|(observed, held)| {
            let current = held.document().readable();
            Standing { observed, held, current, stage: 0, mend: None }
        })
        .collect();
    let back_phases = kind.back();
    // Once it is being taken back anywhere it is taken back everywhere, whatever was written over that.
    let back = (going && request.abort)
        || regions.iter().any(|region| {
            let marks = region.stored().history().filter_map(|(_, facts)| facts.mark.as_ref());
            let mut phases = marks.filter(|mark| mark.id == id).filter_map(Mark::phase);
            phases.any(|phase| back_phases.contains(&phase))
        });
    let phases = if back { back_phases } else { kind.forward() };
    let mut course = Course { request, id, back, phases, regions, clients: BTreeSet::new() };
    if request.kind == SecretKind::Clients {
        course.clients = clients(&course);
    }
    course
}

/// The clients whose secrets change: those that have two in the document of the first phase, or that have one pending,
/// or that are asked for.
fn clients(course: &Course<'_>) -> BTreeSet<String> {
    let publish = Mark::new(&course.id, Phase::Publish);
    let published = course.regions.iter().find_map(|region| region.stored().marked(&publish));
    if let Some((_, Facts { content: Content::Clients(clients), .. })) = published {
        return clients.iter().filter(|(_, hashes)| hashes.len() == 2).map(|(id, _)| id.clone()).collect();
    }
    let mut clients: BTreeSet<String> = BTreeSet::new();
    for region in &course.regions {
        let wrote = |path: &&String| region.has(path, &publish);
        let pending = region.held.stored.keys().filter(wrote);
        clients.extend(
            pending.filter_map(|path| Some(path.strip_prefix(PENDING)?.strip_prefix('/')?.to_owned())),
        );
    }
    if course.back {
        return clients;
    }
    match course.regions.first().and_then(|region| region.current) {
        Some((_, Facts { content: Content::Clients(known), .. })) if course.request.clients.is_empty() => {
            clients.extend(known.keys().cloned());
        }
        _ => clients.extend(course.request.clients.iter().cloned()),
    }
    clients
}

/// Finds out how far each region is. Gives what stands in the way.
fn place(course: &mut Course<'_>, going: bool) -> Vec<Refusal> {
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

fn going_back(course: &Course<'_>) -> bool {
    course.regions.iter().any(|region| region.stage > 0)
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
        let may_withdraw = || against.is_none() || adds_nothing(course, region);
        let withdraws = phase == [Phase::Withdraw] && !restored && may_withdraw();
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
