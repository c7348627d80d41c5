//! Gates for people.

use std::fmt;

use super::{Breach, Gate, Reading};

impl Gate {
    /// What its bad ones are.
    fn bad(self) -> &'static str {
        match self {
            Self::ServerErrors => "answers had a status of 500 or above",
            Self::ClientErrors => "answers had a status from 400 to 499",
            Self::Latency => "answers were slower than latency_p99",
            Self::Transactions => "own transactions failed",
            Self::TransactionLatency => "own transactions were slower than latency_p99",
        }
    }

    /// In few letters, for a line of progress.
    pub fn short(self) -> &'static str {
        match self {
            Self::ServerErrors => "5xx",
            Self::ClientErrors => "4xx",
            Self::Latency => "slow",
            Self::Transactions => "own failed",
            Self::TransactionLatency => "own slow",
        }
    }
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gate, bad, total, limit, former } = self;
        write!(f, "{} of {total} {} ({bad})", percent(self.share()), gate.bad())?;
        if let Some(limit) = limit {
            write!(f, "; {} are borne", percent(*limit))?;
        }
        if former.1 > 0 {
            write!(f, "; of the former release's {} it is {}", former.1, percent(ratio(*former)))?;
        }
        Ok(())
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over(reading) => reading.fmt(f),
            Self::Undecided(reading) => write!(f, "{reading}; more answers did not settle it in time"),
            Self::Samples { seen, needed, after_s } => {
                write!(f, "only {seen} of the {needed} answers that a bake needs came in {after_s} s")
            }
        }
    }
}

fn ratio((bad, total): (u64, u64)) -> f64 {
    if total == 0 { 0.0 } else { bad as f64 / total as f64 }
}

/// A share with two digits that count.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        0.0 => "0 %".into(),
        small if small < 0.095 => format!("{small:.3} %"),
        small if small < 0.95 => format!("{small:.2} %"),
        small if small < 9.95 => format!("{small:.1} %"),
        _ => format!("{percent:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_digits_that_count() {
        let shown = [0.0, 0.000_123, 0.005, 0.0512, 0.51, 1.0].map(percent);
        assert_eq!(shown, ["0 %", "0.012 %", "0.50 %", "5.1 %", "51 %", "100 %"]);
    }

    #[test]
    fn a_breach_says_what_was_found_and_what_is_borne() {
        let reading =
            Reading { gate: Gate::ServerErrors, bad: 31, total: 612, limit: Some(0.01), former: (1, 20_000) };
        assert_eq!(
            Breach::Over(reading).to_string(),
            "5.1 % of 612 answers had a status of 500 or above (31); 1.0 % are borne; of the former release's 20000 it is \
             0.005 %"
        );
        let samples = Breach::Samples { seen: 12, needed: 100, after_s: 70 };
        assert_eq!(samples.to_string(), "only 12 of the 100 answers that a bake needs came in 70 s");
    }
}
