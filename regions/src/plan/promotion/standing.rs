//! How a region stands, from its release records: what a run that goes on with another's work begins with.

use crate::plan::Stored;
use crate::plan::record::{Record, State, Wanted};

use super::Standing;

/// Why what a failed promotion left has to go.
pub const HAD_FAILED: &str = "the promotion had failed before this run";

/// Why what an unfinished promotion left has to go.
pub const UNFINISHED: &str = "the promotion was left unfinished, and not every gate had passed";

/// The promotion that is open: one whose newest record anywhere is of a release, in a region, that is wanted there.
/// `regions` has the records of each, newest first, and what is wanted there.
pub fn open<'a>(regions: impl IntoIterator<Item = (&'a [Stored], &'a Wanted)>) -> Option<String> {
    let newest = regions.into_iter().filter_map(|(records, wanted)| {
        let newest = &records.first()?.record;
        (newest.state.is_open() && newest.is_for(wanted)).then_some(newest)
    });
    newest.max_by_key(|record| record.started).and_then(|record| record.promotion.clone())
}

/// Whether a promotion has failed: it is being undone, or was undone, in some region, whatever came there since.
pub fn failed<'a>(regions: impl IntoIterator<Item = &'a [Stored]>, promotion: &str) -> bool {
    let mut own = regions.into_iter().flatten().map(|stored| &stored.record);
    own.any(|record| is_of(record, promotion) && matches!(record.state, State::Undoing | State::Undone))
}

/// How a region stands in the promotion that goes on. `writes` is whether anything of the release is still to be
/// written, `failed` whether the promotion has failed.
pub fn of(records: &[Stored], wanted: &Wanted, promotion: &str, writes: bool, failed: bool) -> Standing {
    let newest = records.first().map(|stored| &stored.record).filter(|record| record.is_for(wanted));
    let Some(record) = part_of(records, promotion).filter(|record| record.is_for(wanted)) else {
        let runs = newest.is_some_and(|record| record.state == State::Applied) && !writes;
        return if runs { Standing::Runs } else { Standing::Untouched };
    };
    match record.state {
        State::Undone if failed => Standing::Undone,
        state if failed && state.is_open() => {
            Standing::Bad(record.failure.clone().unwrap_or(HAD_FAILED.into()))
        }
        State::Baking if writes => Standing::Begun,
        State::Baking if record.passed.is_some() => Standing::Passed,
        State::Baking => Standing::Baking,
        State::Applied if writes => Standing::Untouched,
        State::Applied => Standing::Done,
        State::Applying | State::Undoing => Standing::Begun,
        State::Failed | State::Undone => Standing::Untouched,
    }
}

/// How a region stands in which the release cannot be applied, since something speaks against it: what the promotion
/// has begun there goes all the same.
pub fn refused(records: &[Stored], promotion: &str, why: String) -> Standing {
    match part_of(records, promotion) {
        Some(record) if record.state.is_open() => Standing::Bad(why),
        _ => Standing::Refused(why),
    }
}

/// The newest record of a region, where it is of this promotion.
fn part_of<'a>(records: &'a [Stored], promotion: &str) -> Option<&'a Record> {
    let newest = &records.first()?.record;
    is_of(newest, promotion).then_some(newest)
}

fn is_of(record: &Record, promotion: &str) -> bool {
    record.promotion.as_deref() == Some(promotion)
}

/// The record of what a region runs when nothing is left open there.
pub fn before(records: &[Stored]) -> Option<&Record> {
    let newest = &records.first()?.record;
    if newest.state == State::Applied {
        return Some(newest);
    }
    former(records, newest)
}

/// The record of what ran before another.
fn former<'a>(records: &'a [Stored], of: &Record) -> Option<&'a Record> {
    records.iter().map(|stored| &stored.record).find(|record| Some(record.number) == of.former)
}

/// The record of what a region runs: where the newest was undone, the one before it.
fn runs(records: &[Stored]) -> Option<&Record> {
    let newest = &records.first()?.record;
    if newest.state != State::Undone {
        return Some(newest);
    }
    former(records, newest)
}

/// What a promotion left that was killed or cancelled: its name, and how each region stands when it is settled.
/// Nothing where none is open. `regions` has the records of each, newest first.
pub fn settle(regions: &[impl AsRef<[Stored]>]) -> Option<(String, Vec<Standing>)> {
    let newest = || regions.iter().filter_map(|records| Some(&records.as_ref().first()?.record));
    let open = newest().filter(|record| record.state.is_open()).max_by_key(|record| record.started)?;
    let promotion = open.promotion.clone()?;
    let good = |record: &Record| {
        is_of(record, &promotion)
            && (record.state == State::Applied || (record.state == State::Baking && record.passed.is_some()))
    };
    // What ran the release before is as good as what got it.
    let stays = |records: &[Stored]| {
        runs(records).is_some_and(|record| {
            good(record) || (record.state == State::Applied && record.release.digest == open.release.digest)
        })
    };
    let passed = regions.iter().all(|records| stays(records.as_ref()));
    let standings = regions.iter().map(|records| {
        let Some(record) = records.as_ref().first().map(|stored| &stored.record) else {
            return Standing::Untouched;
        };
        let own = is_of(record, &promotion);
        match record.state {
            state if own && state.is_open() && passed => Standing::Passed,
            state if own && state.is_open() => {
                Standing::Bad(record.failure.clone().unwrap_or_else(|| UNFINISHED.into()))
            }
            State::Undone if own => Standing::Undone,
            State::Applied if own => Standing::Done,
            _ if passed => Standing::Runs,
            _ => Standing::Untouched,
        }
    });
    let standings = standings.collect::<Vec<_>>();
    Some((promotion, standings))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::record::{Intent, Provenance, Release, Run, samples};
    use jiff::Timestamp;

    fn release(digest: &str) -> Release {
        samples::release(digest, "1")
    }

    fn wanted(digest: &str) -> Wanted {
        Wanted {
            release: release(digest),
            values_sha256: "v".into(),
            manifest_sha256: "m".into(),
            provenance: Provenance::default(),
            intent: Intent::Run(Run::default()),
        }
    }

    fn stored(digest: &str, promotion: &str, state: State) -> Stored {
        let promotion = Some(promotion.into());
        let record = Record { promotion, former: Some(1), ..samples::record(2, release(digest), state) };
        Stored { record, resource_version: "1".into() }
    }

    fn passed(digest: &str, promotion: &str) -> Stored {
        let mut stored = stored(digest, promotion, State::Baking);
        stored.record.passed = Some(Timestamp::UNIX_EPOCH);
        stored
    }

    #[test]
    fn a_run_goes_on_where_the_one_before_was_killed() {
        let want = wanted("a");
        let of = |stored: Stored, writes| of(&[stored], &want, "p", writes, false);
        assert_eq!(of(stored("a", "p", State::Applying), true), Standing::Begun);
        assert_eq!(of(stored("a", "p", State::Baking), false), Standing::Baking);
        assert_eq!(of(stored("a", "p", State::Baking), true), Standing::Begun, "somebody changed it since");
        assert_eq!(of(passed("a", "p"), false), Standing::Passed);
        assert_eq!(of(passed("a", "p"), true), Standing::Begun, "what was judged is not what is there");
        assert_eq!(of(stored("a", "p", State::Applied), false), Standing::Done);
        assert_eq!(of(stored("a", "other", State::Applied), false), Standing::Runs);
        assert_eq!(of(stored("a", "other", State::Applied), true), Standing::Untouched);
        assert_eq!(of(stored("b", "other", State::Applied), true), Standing::Untouched);
        assert_eq!(of(stored("a", "p", State::Undone), true), Standing::Untouched, "it is tried anew");
    }

    #[test]
    fn an_undo_that_was_killed_is_gone_on_with() {
        let (eu, us) = (vec![stored("a", "p", State::Undone)], vec![passed("a", "p")]);
        let want = wanted("a");
        assert_eq!(open([(&eu[..], &want), (&us[..], &want)]).as_deref(), Some("p"));
        assert!(failed([&eu[..], &us[..]], "p"));
        assert_eq!(of(&eu, &want, "p", true, true), Standing::Undone);
        assert_eq!(of(&us, &want, "p", false, true), Standing::Bad(HAD_FAILED.into()));
        // What another promotion has begun there since hides nothing.
        let over = vec![stored("b", "q", State::Applying), stored("a", "p", State::Undone)];
        assert!(failed([&over[..], &us[..]], "p"));
        assert_eq!(of(&over, &want, "p", true, true), Standing::Untouched);
        // Once all is undone, nothing is open, and another run begins anew.
        assert_eq!(open([(&eu[..], &want)]), None);
        assert_eq!(open([(&us[..], &wanted("b"))]), None, "another release is wanted");
    }

    #[test]
    fn what_was_left_stays_only_when_every_gate_had_passed() {
        let settled = |regions: &[Vec<Stored>]| settle(regions).map(|(_, standings)| standings);
        let done = || vec![stored("a", "p", State::Applied)];
        assert_eq!(settled(&[done(), vec![passed("a", "p")]]), Some(vec![Standing::Done, Standing::Passed]));
        let before = vec![stored("a", "o", State::Applied)];
        assert_eq!(
            settled(&[before.clone(), vec![passed("a", "p")]]),
            Some(vec![Standing::Runs, Standing::Passed])
        );
        let old = || vec![stored("b", "o", State::Applied)];
        assert_eq!(
            settled(&[vec![passed("a", "p")], old()]),
            Some(vec![Standing::Bad(UNFINISHED.into()), Standing::Untouched])
        );
        assert_eq!(
            settled(&[vec![passed("a", "p")], vec![stored("a", "p", State::Baking)]]),
            Some(vec![Standing::Bad(UNFINISHED.into()), Standing::Bad(UNFINISHED.into())])
        );
        assert_eq!(
            settled(&[vec![stored("a", "p", State::Undone)], vec![stored("a", "p", State::Undoing)]]),
            Some(vec![Standing::Undone, Standing::Bad(UNFINISHED.into())])
        );
        assert_eq!(settled(&[old(), vec![]]), None);
    }

    #[test]
    fn what_ran_before_another_promotion_was_undone_counts_as_what_runs() {
        let mut undone = stored("c", "q", State::Undone);
        (undone.record.number, undone.record.former) = (3, Some(2));
        let settled = |below: Stored| {
            let eu = [undone.clone(), below];
            settle(&[&eu[..], &[passed("a", "p")][..]]).map(|(_, standings)| standings)
        };
        let stays = Some(vec![Standing::Runs, Standing::Passed]);
        assert_eq!(settled(stored("a", "p", State::Applied)), stays);
        let goes = Some(vec![Standing::Untouched, Standing::Bad(UNFINISHED.into())]);
        assert_eq!(settled(stored("b", "o", State::Applied)), goes);
    }

    #[test]
    fn what_ran_before_is_what_was_applied_or_what_the_open_record_names() {
        let number =
            |number: u64, stored: Stored| Stored { record: Record { number, ..stored.record }, ..stored };
        let applied = || number(1, stored("b", "o", State::Applied));
        let of = |records: &[Stored]| before(records).map(|record| record.number);
        for state in [State::Applying, State::Baking, State::Undoing, State::Undone] {
            assert_eq!(of(&[stored("a", "p", state), applied()]), Some(1), "{state:?}");
        }
        assert_eq!(of(&[stored("a", "p", State::Applied), applied()]), Some(2));
        assert_eq!(of(&[stored("a", "p", State::Applying)]), None, "its record was dropped");
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn what_was_begun_goes_where_something_speaks_against_the_release() {
        let why = || "a conflict".to_owned();
        let refused = |stored: Stored| refused(&[stored], "p", why());
        assert_eq!(refused(stored("a", "p", State::Baking)), Standing::Bad(why()));
        assert_eq!(refused(stored("a", "p", State::Undone)), Standing::Refused(why()));
        assert_eq!(refused(stored("a", "other", State::Baking)), Standing::Refused(why()));
    }
}
