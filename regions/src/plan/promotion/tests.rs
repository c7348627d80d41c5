use proptest::prelude::*;

use super::*;

fn why() -> String {
    "5xx".into()
}

#[test]
fn a_good_release_goes_wave_by_wave() {
    let waves = [vec![0], vec![1, 2]];
    let mut standing = vec![Standing::Untouched; 3];
    assert_eq!(next(&waves, &standing, false), Next::Promote(vec![0]));
    standing[0] = Standing::Baking;
    assert_eq!(next(&waves, &standing, false), Next::Bake(vec![0]));
    standing[0] = Standing::Passed;
    assert_eq!(next(&waves, &standing, false), Next::Promote(vec![1, 2]));
    standing[1] = Standing::Baking;
    assert_eq!(next(&waves, &standing, false), Next::Promote(vec![2]), "a wave bakes as a whole");
    standing[2] = Standing::Baking;
    assert_eq!(next(&waves, &standing, false), Next::Bake(vec![1, 2]));
    standing[1] = Standing::Passed;
    standing[2] = Standing::Passed;
    assert_eq!(next(&waves, &standing, false), Next::Finish(vec![0, 1, 2]));
    standing.fill(Standing::Done);
    assert_eq!(next(&waves, &standing, false), Next::End(End::Done));
    standing.fill(Standing::Runs);
    assert_eq!(next(&waves, &standing, false), Next::End(End::NoChange));
}

#[test]
fn a_failure_takes_everything_back_newest_wave_first() {
    let waves = [vec![0], vec![1], vec![2]];
    let mut standing = vec![Standing::Passed, Standing::Bad(why()), Standing::Untouched];
    assert_eq!(next(&waves, &standing, false), Next::Undo(vec![1]));
    standing[1] = Standing::Undone;
    assert_eq!(next(&waves, &standing, false), Next::Undo(vec![0]));
    standing[0] = Standing::Undone;
    assert_eq!(next(&waves, &standing, false), Next::End(End::Undone));
    standing[0] = Standing::Stuck(why());
    assert_eq!(next(&waves, &standing, false), Next::End(End::Incomplete));
}

#[test]
fn what_was_refused_takes_back_the_others_and_touches_nothing_itself() {
    let waves = [vec![0], vec![1]];
    let refused = Standing::Refused("conflict".into());
    assert_eq!(next(&waves, &[Standing::Passed, refused.clone()], false), Next::Undo(vec![0]));
    assert_eq!(next(&waves, &[Standing::Runs, refused.clone()], false), Next::End(End::Refused));
    assert_eq!(next(&waves, &[refused, Standing::Untouched], false), Next::End(End::Refused));
}

#[test]
fn a_signal_ends_it_wherever_it_is() {
    for standing in [Standing::Untouched, Standing::Baking, Standing::Bad(why())] {
        assert_eq!(next(&[vec![0]], &[standing], true), Next::End(End::Incomplete));
    }
}

/// What came of one step in one region.
fn outcome(next: &Next, roll: u8) -> Standing {
    match (next, roll) {
        (Next::Promote(_), 0) => Standing::Refused(why()),
        (Next::Promote(_) | Next::Bake(_), 1) => Standing::Bad(why()),
        (Next::Promote(_), _) => Standing::Baking,
        (Next::Bake(_), _) => Standing::Passed,
        (Next::Undo(_), 0) => Standing::Stuck(why()),
        (Next::Undo(_), _) => Standing::Undone,
        _ => Standing::Done,
    }
}

proptest! {
    /// Whatever comes of each step: it ends; nothing is promoted to before all of the waves before have passed, nor
    /// once anything has failed; and at the end of a failure, nothing of it is left but where it says so.
    #[test]
    fn every_promotion_keeps_the_rules(
        sizes in prop::collection::vec(1_usize..4, 1..5),
        rolls in prop::collection::vec(0_u8..12, 64),
    ) {
        let mut places = 0..;
        let waves: Vec<Vec<usize>> = sizes.iter().map(|size| places.by_ref().take(*size).collect()).collect();
        let mut standing = vec![Standing::Untouched; sizes.iter().sum()];
        let (mut rolls, mut failed, mut touched) = (rolls.into_iter().cycle(), false, vec![false; standing.len()]);
        for step in 0.. {
            prop_assert!(step < 100);
            let next = next(&waves, &standing, false);
            let regions = match &next {
                Next::Promote(regions) => {
                    prop_assert!(!failed);
                    let wave = waves.iter().position(|wave| wave.contains(&regions[0])).unwrap();
                    let before = waves[..wave].iter().flatten();
                    prop_assert!(before.clone().all(|place| standing[*place] == Standing::Passed));
                    regions.clone()
                }
                Next::Bake(regions) => { prop_assert!(!failed); regions.clone() }
                Next::Undo(regions) => {
                    prop_assert!(failed);
                    let wave = waves.iter().position(|wave| wave.contains(&regions[0])).unwrap();
                    let later = waves[wave + 1..].iter().flatten();
                    prop_assert!(later.clone().all(|place| !standing[*place].must_go()), "newest wave first");
                    regions.clone()
                }
                Next::Finish(regions) => { prop_assert!(!failed); regions.clone() }
                Next::End(end) => {
                    let stuck = standing.iter().any(|one| matches!(one, Standing::Stuck(_)));
                    let left = standing.iter().any(Standing::must_go);
                    let expected = match (failed, stuck) {
                        (false, _) => End::Done,
                        (true, true) => End::Incomplete,
                        (true, false) if standing.contains(&Standing::Undone) => End::Undone,
                        (true, false) => End::Refused,
                    };
                    prop_assert_eq!(*end, expected);
                    prop_assert!(!left);
                    if failed && !stuck {
                        let undone = |(place, one): (usize, &Standing)| !touched[place] || *one == Standing::Undone;
                        prop_assert!(standing.iter().enumerate().all(undone));
                    }
                    return Ok(());
                }
            };
            for place in regions {
                standing[place] = outcome(&next, rolls.next().unwrap());
                touched[place] |= standing[place] != Standing::Refused(why());
                failed |= standing[place].is_failure();
            }
        }
    }
}
