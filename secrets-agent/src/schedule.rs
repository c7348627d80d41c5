//! When to renew, and when to try again. Pure: time and chance come from the caller.

use std::time::Duration;

/// The shortest wait before another try, so that a draw near zero cannot make a busy loop.
const SHORTEST_RETRY: Duration = Duration::from_millis(50);
/// The first retry is drawn from up to this long.
const FIRST_RETRY: Duration = Duration::from_millis(500);
/// The first wait after a refused login.
const FIRST_REFUSED: Duration = Duration::from_secs(1);
/// While Vault cannot be used, a nudge shortens the wait to this and no further.
const NUDGED_RETRY: Duration = Duration::from_secs(1);

/// How long to wait before renewing a token that lives for `remaining` more, or `None` if there is nothing
/// to renew: it cannot be renewed, or it never ends (Vault gives such a token a life of zero).
///
/// Gives 60 % to 75 % of what remains, spread by `draw` (0 to 1): late enough to be rare, early enough to
/// leave room for retries, and not at the same moment in every pod.
pub fn renew_in(remaining: Duration, renewable: bool, draw: f64) -> Option<Duration> {
    if !renewable || remaining.is_zero() {
        return None;
    }
    Some(remaining.mul_f64(0.60 + 0.15 * draw.clamp(0.0, 1.0)))
}

/// How long to wait before the retry after `failures` failures in a row (from 1): exponential with full
/// jitter by `draw` (0 to 1), never over `longest`. What the server asked for by Retry-After is a floor, with
/// the jitter on top of it, so that those whom it told the same do not come back at the same moment.
pub fn retry_in(failures: u32, longest: Duration, retry_after: Option<Duration>, draw: f64) -> Duration {
    let doubled =
        FIRST_RETRY.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX));
    let ceiling = doubled.min(longest);
    let jittered = ceiling.mul_f64(draw.clamp(0.0, 1.0)).max(SHORTEST_RETRY.min(longest));
    retry_after.unwrap_or_default().saturating_add(jittered)
}

/// How long to wait before the login after `refusals` refused ones in a row (from 1): doubling from a second,
/// half of it spread by `draw` (0 to 1), never over six times `longest`. Slower than [`retry_in`], since the
/// same credentials are seldom taken later, and Vault locks a role out after a few refusals.
pub fn refused_login_in(refusals: u32, longest: Duration, draw: f64) -> Duration {
    let doubled = FIRST_REFUSED
        .saturating_mul(1_u32.checked_shl(refusals.saturating_sub(1)).unwrap_or(u32::MAX))
        .min(longest.saturating_mul(6));
    doubled.mul_f64(0.5 + 0.5 * draw.clamp(0.0, 1.0))
}

/// What remains of the wait `retry` when a nudge comes, from the failure on: a second at most, but never less
/// than the server asked for.
pub fn nudged_retry_in(retry: Duration, retry_after: Option<Duration>) -> Duration {
    retry.min(NUDGED_RETRY.max(retry_after.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_without_an_end_is_never_renewed() {
        assert_eq!(renew_in(Duration::ZERO, true, 0.5), None);
        assert_eq!(renew_in(Duration::from_secs(60), false, 0.5), None);
    }

    proptest! {
        #[test]
        fn renewal_leaves_a_quarter_of_the_life_for_retries(
            millis in 1_u64..10_000_000_000, draw in 0.0_f64..=1.0
        ) {
            let remaining = Duration::from_millis(millis);
            let wait = renew_in(remaining, true, draw).unwrap();
            prop_assert!(wait <= remaining.mul_f64(0.7501));
            prop_assert!(wait >= remaining.mul_f64(0.5999));
        }

        #[test]
        fn renewals_alone_never_let_a_token_end(ttl in 1_u64..100_000, draws in proptest::collection::vec(0.0_f64..=1.0, 1..50)) {
            // Each renewal gives the whole life again; the walk never meets the end.
            let ttl = Duration::from_secs(ttl);
            let mut now = Duration::ZERO;
            let mut end = ttl;
            for draw in draws {
                now += renew_in(end - now, true, draw).unwrap();
                prop_assert!(now < end);
                end = now + ttl;
            }
        }

        #[test]
        fn retries_stay_between_their_bounds(
            failures in 0_u32..10_000,
            longest in 1_u64..100_000,
            after in proptest::option::of(0_u64..100_000),
            draw in 0.0_f64..=1.0,
        ) {
            let longest = Duration::from_millis(longest);
            let after = after.map(Duration::from_millis);
            let wait = retry_in(failures, longest, after, draw);
            prop_assert!(wait >= after.unwrap_or_default());
            prop_assert!(wait <= after.unwrap_or_default() + longest);
            prop_assert!(wait >= SHORTEST_RETRY.min(longest));
        }

        #[test]
        fn refused_logins_grow_rarer_and_never_stop(
            refusals in 1_u32..10_000, longest in 200_u64..100_000, draw in 0.0_f64..=1.0,
        ) {
            let longest = Duration::from_millis(longest);
            let wait = refused_login_in(refusals, longest, draw);
            prop_assert!(wait >= FIRST_REFUSED.min(longest * 6) / 2);
            prop_assert!(wait <= longest * 6);
            prop_assert!(refused_login_in(refusals + 1, longest, draw) >= wait);
        }

        #[test]
        fn a_nudge_only_shortens_and_never_below_what_the_server_asked_for(
            failures in 1_u32..100, after in proptest::option::of(0_u64..100_000), draw in 0.0_f64..=1.0,
        ) {
            let after = after.map(Duration::from_millis);
            let retry = retry_in(failures, Duration::from_secs(10), after, draw);
            let nudged = nudged_retry_in(retry, after);
            prop_assert!(nudged <= retry);
            prop_assert!(nudged >= after.unwrap_or_default());
            prop_assert!(nudged <= NUDGED_RETRY.max(after.unwrap_or_default()));
        }

        #[test]
        fn the_same_failure_spreads_over_the_whole_interval(failures in 1_u32..20) {
            let longest = Duration::from_secs(10);
            let early = retry_in(failures, longest, None, 0.1);
            let late = retry_in(failures, longest, None, 1.0);
            prop_assert!(late >= early * 5);
        }
    }
}
