//! Which rotation is going on, or is to be begun.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::clients::PENDING;
use super::facts::{Content, Facts};
use super::kind;
use super::mark::{Mark, Phase};
use super::place::place;
use super::refusals::stepped_back;
use super::standing::{Course, Standing};
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
