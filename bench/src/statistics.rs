//! What a row of measurements comes to.

use serde::Serialize;

/// The summary of a row of measurements.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    n: usize,
    min: f64,
    median: f64,
    p95: f64,
    max: f64,
}

/// Summarises a row, rounded to three digits after the point; zeros when it is empty. The median of an even row
/// is the middle of its two middle values; p95 is the nearest value of the row.
pub(crate) fn summary(row: &[f64]) -> Summary {
    let mut sorted = row.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(place).copied().unwrap_or_default()
    };
    let middle = |place: usize| sorted.get(place).copied().unwrap_or_default();
    let median = f64::midpoint(middle(sorted.len().saturating_sub(1) / 2), middle(sorted.len() / 2));
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    Summary {
        n: sorted.len(),
        min: rounded(at(0.0)),
        median: rounded(median),
        p95: rounded(at(0.95)),
        max: rounded(at(1.0)),
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Summary { n, min, median, p95, max } = self;
        write!(f, "median {median} (min {min}, p95 {p95}, max {max}, n {n})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_of_the_sorted_row() {
        let row: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        assert_eq!(summary(&row).to_string(), "median 51 (min 1, p95 96, max 101, n 101)");
        assert_eq!(summary(&[4.0, 1.0]).to_string(), "median 2.5 (min 1, p95 4, max 4, n 2)");
        assert_eq!(summary(&[]).to_string(), "median 0 (min 0, p95 0, max 0, n 0)");
    }
}
