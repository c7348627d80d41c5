//! `regions validate`: everything that is wrong with the catalogue, or what is in it.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::catalogue::Catalogue;
use crate::print;

/// Checks the catalogue and prints the result.
pub fn run(folder: &Path, json: bool) -> ExitCode {
    match Catalogue::load(folder) {
        Ok(catalogue) if json => {
            print::json(&json!({"valid": true, "errors": [], "environments": catalogue.environments()}));
        }
        Ok(catalogue) => print::result(&table(&catalogue, folder)),
        Err(invalid) => {
            if json {
                print::json(&json!({"valid": false, "errors": invalid}));
            } else {
                print::complaint(&invalid);
            }
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// What is in a catalogue: environments in the order of promotion, and the regions of each by wave.
fn table(catalogue: &Catalogue, folder: &Path) -> String {
    let mut rows = vec![["ENVIRONMENT", "WAVE", "REGION", "LOCATION", "RANGE", "POOLS"].map(str::to_owned)];
    for environment in catalogue.environments() {
        for wave in environment.waves() {
            for region in wave.regions {
                let pools = region.pools.value.iter().map(|(name, pool)| {
                    let spot = if pool.spot { " spot" } else { "" };
                    format!("{name} {}-{}{spot}", pool.min, pool.max)
                });
                rows.push([
                    environment.name.clone(),
                    wave.name.to_string(),
                    region.name.clone(),
                    region.location.to_string(),
                    region.range.to_string(),
                    pools.collect::<Vec<_>>().join(", "),
                ]);
            }
        }
    }
    let regions = rows.len() - 1;
    let mut text = print::columns(&rows);
    let environments: Vec<&str> = catalogue.environments().iter().map(|one| one.name.as_str()).collect();
    let _ =
        writeln!(text, "{}: no errors; {regions} regions in {}", folder.display(), environments.join(" → "));
    text
}
