//! Evidence that a share is over its limit, gathered round by round, and good at every moment.
//!
//! It is a betting game that nobody can win on average while the share is at most the limit: each round stakes a
//! part of the capital on the round's share being above it. Ville's inequality then bounds the chance that the
//! capital is ever multiplied by `1 / alpha`, however often it is looked at, by `alpha`. A round is a share and
//! not its single answers, so answers that fail together count once; and what one round can win is bounded, so
//! that a moment's stall decides nothing.

/// How boldly it is bet, as parts of the boldest bet that never loses all. Small bets find small excesses.
const BETS: [f64; 6] = [0.02, 0.08, 0.2, 0.4, 0.6, 0.8];

/// Rounds that a decision takes at least.
pub const LEAST_ROUNDS: f64 = 6.0;

/// The part of the chance of a false alarm that the first game has; each that is begun again has half of what is left.
const FIRST: f64 = 0.9;

/// A share that is watched against a limit.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// Logarithm of what each bet has made of its capital.
    capital: [f64; BETS.len()],
    /// The chance of a false alarm that games to come may have.
    left: f64,
    /// Logarithm of the capital at which it is decided.
    decides: f64,
    decided: bool,
    bad: u64,
    total: u64,
}

impl Evidence {
    /// None yet. While the share is at most the limit, it decides with a chance of at most `alpha`, ever.
    pub fn new(alpha: f64) -> Self {
        let capital = [0.0; BETS.len()];
        let (left, decides) = ((1.0 - FIRST) * alpha, decides(FIRST * alpha));
        Self { capital, left, decides, decided: false, bad: 0, total: 0 }
    }

    /// Begins a game anew. What was good for long has lost the capital by which an excess would be found soon, so whoever
    /// goes on watching what has proved good asks for this. The chances of all games together stay below `alpha`.
    pub fn again(&mut self) {
        self.left /= 2.0;
        (self.capital, self.decides) = ([0.0; BETS.len()], decides(self.left));
    }

    /// One round: so many of so many were bad, and `limit`, fixed before the round, is the share that is borne.
    pub fn round(&mut self, bad: u64, total: u64, limit: f64) {
        if total == 0 {
            return;
        }
        let bad = bad.min(total);
        self.bad = self.bad.saturating_add(bad);
        self.total = self.total.saturating_add(total);
        if !(limit > 0.0 && limit < 1.0) {
            return;
        }
        let share = bad as f64 / total as f64;
        let most = self.decides / LEAST_ROUNDS;
        for (capital, bet) in self.capital.iter_mut().zip(BETS) {
            let growth = 1.0 + bet / limit * (share - limit);
            *capital += growth.ln().min(most);
        }
        self.decided |= self.mixture() >= self.decides;
    }

    /// Whether what was seen speaks for an excess at all: whoever bet on it has more than in the beginning. A stall of
    /// a moment is forgotten after some good rounds, though it weighs in the share for long.
    pub fn leans(&self) -> bool {
        self.mixture() > 0.0
    }

    /// Whether the share is over the limit.
    pub fn decided(&self) -> bool {
        self.decided
    }

    /// Bad ones, of how many.
    pub fn seen(&self) -> (u64, u64) {
        (self.bad, self.total)
    }

    /// The share so far.
    pub fn share(&self) -> Option<f64> {
        (self.total > 0).then(|| self.bad as f64 / self.total as f64)
    }

    /// Logarithm of the mean capital.
    fn mixture(&self) -> f64 {
        let most = self.capital.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.capital.iter().map(|capital| (capital - most).exp()).sum();
        most + (sum / BETS.len() as f64).ln()
    }
}

/// Logarithm of the capital that decides with a chance of `alpha` at most.
fn decides(alpha: f64) -> f64 {
    -alpha.clamp(f64::MIN_POSITIVE, 1.0).ln()
}

/// Between which shares the true one lies, each side missed with a chance of at most `alpha` (the bound of
/// Bernstein with the variance that was seen).
pub fn between(bad: u64, total: u64, alpha: f64) -> (f64, f64) {
    if total < 2 {
        return (0.0, 1.0);
    }
    let (count, share) = (total as f64, bad.min(total) as f64 / total as f64);
    let weight = (2.0 / alpha.clamp(f64::MIN_POSITIVE, 1.0)).ln();
    let about = (2.0 * share * (1.0 - share) * weight / count).sqrt() + 7.0 * weight / (3.0 * (count - 1.0));
    ((share - about).max(0.0), (share + about).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_moment_decides_nothing_and_what_stays_bad_is_found() {
        let mut evidence = Evidence::new(1e-4);
        for round in 1..=6 {
            evidence.round(50, 50, 0.01);
            assert!(!evidence.decided(), "after {round} rounds");
        }
        evidence.round(50, 50, 0.01);
        evidence.round(50, 50, 0.01);
        assert!(evidence.decided());
        assert_eq!(evidence.seen(), (400, 400));
    }

    #[test]
    fn nothing_bad_never_decides() {
        let mut evidence = Evidence::new(0.5);
        (0..100_000).for_each(|_| evidence.round(0, 1, 0.001));
        assert!(!evidence.decided());
        assert_eq!(evidence.share(), Some(0.0));
    }

    #[test]
    fn once_decided_it_stays_so() {
        let mut evidence = Evidence::new(1e-3);
        (0..20).for_each(|_| evidence.round(9, 10, 0.01));
        (0..1000).for_each(|_| evidence.round(0, 1000, 0.01));
        assert!(evidence.decided());
    }

    #[test]
    fn an_excess_after_a_long_good_time_is_found_soon_by_a_new_game_alone() {
        let rounds = |again: bool| {
            let mut evidence = Evidence::new(1e-4);
            (0..3_600).for_each(|_| evidence.round(0, 4, 0.01));
            if again {
                evidence.again();
            }
            (1..).find(|round| {
                evidence.round(u64::from(round % 5 == 0), 4, 0.01);
                evidence.decided()
            })
        };
        let (new, old) = (rounds(true).unwrap_or(0), rounds(false).unwrap_or(0));
        assert!(new < 120 && old > 5 * new, "{new} rounds, {old} without");
    }

    #[test]
    fn all_games_together_have_the_chance_of_one() {
        let mut evidence = Evidence::new(0.01);
        let mut chances = (-evidence.decides).exp();
        for _ in 0..60 {
            evidence.again();
            chances += (-evidence.decides).exp();
        }
        assert!(chances <= 0.01 + 1e-12 && chances > 0.0099, "{chances}");
    }

    #[test]
    fn what_is_known_of_a_share_narrows() {
        let width = |total: u64| {
            let (low, high) = between(total / 50, total, 1e-4);
            assert!(low <= 0.02 && high >= 0.02);
            high - low
        };
        assert!(width(100_000) < width(1_000) && width(100_000) < 0.01);
        assert_eq!(between(0, 1, 1e-4), (0.0, 1.0));
    }

    proptest! {
        /// Better rounds never make more evidence.
        #[test]
        fn evidence_grows_with_what_is_bad(
            rounds in prop::collection::vec((0_u64..50, 1_u64..50), 1..60),
            better in prop::collection::vec(0_u64..50, 60),
            limit in 0.001_f64..0.9,
        ) {
            let (mut one, mut other) = (Evidence::new(1e-3), Evidence::new(1e-3));
            for ((bad, total), less) in rounds.into_iter().zip(better) {
                one.round(bad, total, limit);
                other.round(bad.min(total).saturating_sub(less), total, limit);
            }
            prop_assert!(one.mixture() >= other.mixture() && (one.decided() || !other.decided()));
        }

        /// No numbers break it.
        #[test]
        fn any_numbers_are_borne(
            rounds in prop::collection::vec((any::<u64>(), any::<u64>(), any::<f64>()), 0..40),
            alpha in any::<f64>(),
        ) {
            let mut evidence = Evidence::new(alpha);
            for (bad, total, limit) in rounds {
                evidence.round(bad, total, limit);
            }
            prop_assert!(!evidence.mixture().is_nan());
            let (bad, total) = evidence.seen();
            prop_assert!(bad <= total);
        }
    }
}
