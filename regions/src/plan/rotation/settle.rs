//! `--settle`: what somebody wrote by hand into every region ends the rotations that were under way.
//!
//! Regions that did not see each other may each have begun a rotation, and put its own into use. Then neither's document
//! can take the place of the other's, and only a person can say what is to stand. Once that stands in every region, has
//! all that is in use, and every pod was seen to use it, each rotation is noted as ended.

use std::collections::BTreeSet;

use super::clients::unneeded;
use super::facts::Content;
use super::kind;
use super::mark::{Mark, Phase};
use super::notes::Note;
use super::open::{ended, found};
use super::standing::{Course, Standing};
use super::steps::progress;
use super::{Held, Observed, Plan, Progress, Refusal, Request, Step, Waiting};

/// The phase that a document by hand is told as: it has taken the place of the former.
const BY_HAND: Phase = Phase::Write;

/// What is left until the rotations have ended; nothing where none is under way.
pub(super) fn plan(request: &Request, regions: &[Observed]) -> Plan {
    let taking: Vec<(&Observed, &Held)> =
        regions.iter().filter_map(|region| Some((region, region.vault.as_ref().ok()?))).collect();
    let course = found(request, String::new(), false, taking);
    if course.regions.iter().all(|region| under_way(region).is_empty()) {
        return Plan::default();
    }
    let refused = in_the_way(&course);
    if !refused.is_empty() {
        return Plan { refused, ..Plan::default() };
    }
    let waits: Vec<Waiting> =
        course.regions.iter().filter_map(|region| course.awaited(region, BY_HAND)).collect();
    let steps = match waits.is_empty() {
        true => course.regions.iter().flat_map(under_way).collect(),
        false => Vec::new(),
    };
    let by_hand = |region| Progress { phase: Some(BY_HAND), ..progress(&course, region) };
    let progress = course.regions.iter().map(by_hand).collect();
    Plan { steps, waits, progress, ..Plan::default() }
}

/// What has to be done in a region until no rotation is under way there.
fn under_way(region: &Standing<'_>) -> Vec<Step> {
    let mut steps = unneeded(region);
    let number = region.stored().current;
    if let Some(mark) = last(region).filter(|mark| !ended(region.held, &mark.id, None)) {
        steps.push(Step::Note {
            region: region.name().to_owned(),
            note: Note::Ended(mark.id.clone(), number),
        });
    }
    steps
}

/// The mark of the newest version that a rotation wrote in a region.
fn last<'a>(region: &Standing<'a>) -> Option<&'a Mark> {
    region.stored().history().find_map(|(_, facts)| facts.mark.as_ref())
}

/// Why what stands cannot be the end.
fn in_the_way(course: &Course<'_>) -> Vec<Refusal> {
    let request = course.request;
    if !request.without.is_empty() {
        return vec![request.refuse("a rotation is ended in every region, and none can be left out", &[])];
    }
    let mut refused: Vec<Refusal> =
        course.regions.iter().filter_map(|region| not_by_hand(region, request)).collect();
    if refused.is_empty() {
        refused.extend(not_the_same(course));
        refused.extend(course.regions.iter().filter_map(|region| lacking(region, course)));
    }
    refused
}

fn not_by_hand(region: &Standing<'_>, request: &Request) -> Option<Refusal> {
    let what = match region.current {
        None => "has no version that can be read".to_owned(),
        Some((version, facts)) => match (&facts.mark, &facts.content) {
            (Some(mark), _) => format!("version {} was written by the rotation {mark}", version.version),
            (None, Content::Broken(why)) => format!("version {}: {why}", version.version),
            (None, _) => return None,
        },
    };
    let why = format!(
        "{}: {what}; write what is to stand by hand into every region (vault kv put), with all that is in use in any \
         (docs/rotate.md)",
        region.name()
    );
    Some(request.refuse(why, &[]))
}

fn not_the_same(course: &Course<'_>) -> Option<Refusal> {
    let mut regions =
        course.regions.iter().filter_map(|region| Some((region.name(), region.current?.1.body)));
    let (first, body) = regions.next()?;
    let (other, _) = regions.find(|(_, own)| *own != body)?;
    if !kind::of(course.request.kind).alike() {
        return None;
    }
    let why = format!(
        "the documents of {first} and {other} are not the same, and must be; write the same into both"
    );
    Some(course.request.refuse(why, &[]))
}

/// What a region has had that is in use, and the document that is to stand there has not.
fn lacking(region: &Standing<'_>, course: &Course<'_>) -> Option<Refusal> {
    let (_, stands) = region.current?;
    let kind = kind::of(course.request.kind);
    let lost: BTreeSet<String> = course
        .regions
        .iter()
        .flat_map(|other| {
            let history = other.stored().history();
            history.flat_map(move |(version, facts)| {
                let told = move |what| format!("{what} of version {} in {}", version.version, other.name());
                kind.lost(facts, stands, course).into_iter().map(told)
            })
        })
        .collect();
    if lost.is_empty() {
        return None;
    }
    let lost: Vec<String> = lost.into_iter().collect();
    let why = format!(
        "{}: what was written by hand lacks what may be in use: {}; put it in as well",
        region.name(),
        lost.join(", ")
    );
    Some(course.request.refuse(why, &[]))
}
