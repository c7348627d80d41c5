//! Keeps what gates see, look by look, to judge the gates themselves by: after an abort that somebody doubts, and in
//! `make gates`.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use tracing::warn;

use crate::plan::gate::sample::{Look, Sample};

/// A file that looks are appended to.
#[derive(Debug)]
pub struct Recorder {
    /// Nothing once it could not be written to: a promotion does not fail for it.
    file: RefCell<Option<File>>,
}

impl Recorder {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// It cannot be written to; which, and why.
    pub fn open(path: &Path) -> Result<Self, String> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|error| format!("write {} (--record-looks): {error}", path.display()))?;
        Ok(Self { file: RefCell::new(Some(file)) })
    }

    /// Appends a look, as a line of JSON.
    pub fn keep(&self, region: &str, sample: &Sample) {
        let look = Look { at: Timestamp::now(), region: region.to_owned(), sample: sample.clone() };
        let Ok(line) = serde_json::to_string(&look) else { return };
        let mut file = self.file.borrow_mut();
        let Some(open) = file.as_mut() else { return };
        if let Err(error) = open.write_all(format!("{line}\n").as_bytes()) {
            warn!(%error, "what gates see is kept no longer");
            *file = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::gate::sample::{Counts, Own, Pod};

    #[test]
    fn looks_come_back_as_they_were_and_are_appended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("looks.jsonl");
        let counts = Counts { answers: 7, known: 7, slow: 1, timed: 7, ..Counts::default() };
        let pod = Pod { uid: "u".into(), release: Some("sha256:ab".into()), counts };
        let sample = Sample { pods: vec![pod], own: Own { made: 6, failed: 0, slow: 1 } };
        Recorder::open(&path).unwrap().keep("eu", &sample);
        Recorder::open(&path).unwrap().keep("us", &Sample::default());
        let text = std::fs::read_to_string(&path).unwrap();
        let looks: Vec<Look> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(looks.iter().map(|look| look.region.as_str()).collect::<Vec<_>>(), ["eu", "us"]);
        assert_eq!(looks[0].sample, sample);
    }

    #[test]
    fn a_disk_that_is_full_ends_the_record_and_nothing_else() {
        let recorder = Recorder::open(Path::new("/dev/full")).unwrap();
        recorder.keep("eu", &Sample::default());
        recorder.keep("eu", &Sample::default());
        assert!(recorder.file.borrow().is_none());
    }
}
