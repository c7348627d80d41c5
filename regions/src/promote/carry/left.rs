//! What other promotions left open. A promotion that goes back leaves each region with what was applied there last, so
//! nothing that was begun before it may stay half done: regions would run different releases for good.

use super::{Aim, Carry, Ends, Fate, Outcome};
use crate::plan::Stored;
use crate::plan::promotion::{End, Standing, standing};
use crate::promote::region::Region;

impl<R: Region> Carry<'_, R> {
    /// Writes that other promotions are over where all of their gates had passed and only that was left to do; whether
    /// anything was written. What goes back later goes back to the same release everywhere then.
    pub(super) async fn finish_others(&self, records: &[Vec<Stored>]) -> bool {
        let Some((_, standings)) = standing::settle(records) else { return false };
        let passed: Vec<usize> =
            (0..standings.len()).filter(|place| standings[*place] == Standing::Passed).collect();
        if passed.is_empty() {
            return false;
        }
        self.progress
            .note("another promotion had passed all of its gates, and is written down as over first");
        self.finish(&passed).await;
        true
    }

    /// Whether the run is over with this end. Where it is not, what another promotion left open is gone on with.
    pub(super) async fn is_all(&self, end: End) -> bool {
        let goes_on = match self.job.aim {
            Aim::Release => end == End::Undone,
            Aim::Settle => end != End::Incomplete,
            Aim::Back { .. } => false,
        };
        if !goes_on {
            return true;
        }
        let records = match self.records().await {
            Ok(records) => records,
            Err(error) => {
                let why = format!("it is not known whether another promotion is open there: {error}");
                self.ends(Ends::HeldBack(why));
                return false;
            }
        };
        let Some((promotion, standings)) = standing::settle(&records) else { return true };
        // Once is enough for each: what is open all the same is not ended by trying for ever.
        if !self.ended.borrow_mut().insert(promotion.clone()) {
            self.ends(Ends::HeldBack(format!(
                "the promotion {promotion} is open still; see `regions history`"
            )));
            return false;
        }
        self.progress.note("an earlier promotion was left open, and is ended too");
        let fates = self.fates.replace(vec![Fate::new(); self.job.regions.len()]);
        self.over.borrow_mut().push((end, fates));
        self.take_up(promotion, standings);
        false
    }

    /// What came of the whole run, whose last promotion ends like this.
    pub(super) fn outcome(&self, end: End) -> Outcome {
        let ends = self.over.borrow().iter().map(|(end, _)| *end).fold(end, worse);
        Outcome::Ended(ends, self.fates())
    }

    /// What became of each region in the whole run.
    pub(super) fn fates(&self) -> Vec<Fate> {
        let over = self.over.borrow();
        let fates = over.iter().map(|(_, fates)| fates.clone()).chain([self.fates.borrow().clone()]);
        fates.reduce(newest).unwrap_or_default()
    }
}

/// The end that tells more of what did not come about.
fn worse(one: End, other: End) -> End {
    let rank = |end| match end {
        End::NoChange => 0,
        End::Done => 1,
        End::Refused => 2,
        End::Undone => 3,
        End::Incomplete => 4,
    };
    if rank(one) >= rank(other) { one } else { other }
}

/// What became of each region last: what the later promotion had nothing to do with stands as the earlier left it.
fn newest(earlier: Vec<Fate>, later: Vec<Fate>) -> Vec<Fate> {
    let one = |(earlier, later): (Fate, Fate)| {
        if matches!(later.standing, Standing::Untouched | Standing::Runs) { earlier } else { later }
    };
    earlier.into_iter().zip(later).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_of_several_promotions_ends_as_the_worst_and_each_region_as_the_last_that_came_there() {
        assert_eq!(worse(End::Undone, End::Done), End::Undone);
        assert_eq!(worse(End::Done, End::Incomplete), End::Incomplete);
        assert_eq!(worse(End::NoChange, End::Done), End::Done);
        let fate = |standing| Fate { standing, ..Fate::new() };
        let (undone, done) = (fate(Standing::Undone), fate(Standing::Done));
        let came = newest(
            vec![undone.clone(), fate(Standing::Untouched), undone.clone()],
            vec![fate(Standing::Untouched), done.clone(), fate(Standing::Runs)],
        );
        assert_eq!(came, [undone.clone(), done, undone]);
    }
}
