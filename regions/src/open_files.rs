//! As many open files as the system lets this process have: a command holds several connections to each region, and the
//! usual 1024 are used up by some two hundred regions.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for all that may be had without a privilege. Where that is refused, what there is has to do.
pub(crate) fn allow() {
    if let Some(more) = more(&getrlimit(Resource::Nofile)) {
        let _ = setrlimit(Resource::Nofile, more);
    }
}

/// The limit to set; nothing where it is as high as it may be.
fn more(now: &Rlimit) -> Option<Rlimit> {
    // Nothing stands for no limit.
    let raised = Rlimit { current: now.maximum, maximum: now.maximum };
    let higher = match (now.current, now.maximum) {
        (Some(current), Some(maximum)) => current < maximum,
        (current, _) => current.is_some(),
    };
    higher.then_some(raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_where_it_may_be_and_no_further() {
        let limit = |current, maximum| Rlimit { current, maximum };
        let (low, high) = (Some(1024), Some(1_048_576));
        assert_eq!(more(&limit(low, high)), Some(limit(high, high)));
        assert_eq!(more(&limit(low, None)), Some(limit(None, None)));
        assert_eq!(more(&limit(high, high)), None);
        assert_eq!(more(&limit(None, None)), None);
        allow();
        let now = getrlimit(Resource::Nofile);
        assert_eq!(now.current, now.maximum);
    }
}
