//! Whatever a file holds, reading it ends soon, without a panic, and what is told names the file.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::small::Small;

/// No file may take longer, whatever it holds.
const SOON: Duration = Duration::from_secs(1);

const ENVIRONMENT: &str = "production/_environment.yaml";
const REGION: &str = "production/us.yaml";

/// Pieces that YAML and the catalogue's shapes give a meaning to.
const PIECES: [&str; 44] = [
    "location: ",
    "wave: ",
    "range: ",
    "pools:\n",
    "zones: [",
    "defaults:\n",
    "secrets: {",
    "  ",
    "\n",
    "\t",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ",",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: *a\n",
    "!!str ",
    "!!binary ",
    "---\n",
    "...\n",
    "? ",
    "| \n",
    ">-\n",
    "# ",
    "%YAML 1.1\n",
    "0x1F",
    "1e999",
    "-0",
    "99999999999999999999",
    "10.0.0.0/14",
    "255.255.255.255/12",
    "2026-11-23",
    "on",
    "~",
    "\u{feff}",
    "é",
    "\u{2028}",
    "\0",
];

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => proptest::sample::select(&PIECES[..]).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z0-9./:-]{1,12}",
    ]
}

/// Loads the small catalogue with another content of one file. Gives whether it was taken.
fn loads(file: &str, content: &[u8]) -> Result<bool, TestCaseError> {
    let small = Small::new();
    small.write(file, content);
    let began = Instant::now();
    let told = small.wrong();
    prop_assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    for problem in &told {
        prop_assert!(problem.contains(": found "), "{problem}");
    }
    // What is wrong is wrong there; or, where a region names what its environment has no more, in the region.
    let in_it = |problem: &String| problem.starts_with(file) || file == ENVIRONMENT;
    let named = told.is_empty() || told.iter().any(in_it);
    prop_assert!(named, "{told:?}");
    Ok(told.is_empty())
}

/// A text with something else in the place of a part of it.
fn changed(text: &str, at: usize, length: usize, with: &str) -> String {
    let boundary =
        |at: usize| (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (start, end) = (boundary(at), boundary(at.saturating_add(length)));
    format!("{}{with}{}", &text[..start], &text[end..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_file_is_read_or_refused(
        of_region in any::<bool>(), at in 0usize..700, length in 0usize..40, pieces in prop::collection::vec(piece(), 0..8),
    ) {
        let file = if of_region { REGION } else { ENVIRONMENT };
        let text = std::fs::read_to_string(Small::new().at(file)).unwrap();
        loads(file, changed(&text, at % (text.len() + 1), length, &pieces.concat()).as_bytes())?;
    }

    #[test]
    fn a_file_of_pieces_is_read_or_refused(pieces in prop::collection::vec(piece(), 0..60)) {
        prop_assert!(!loads(REGION, pieces.concat().as_bytes())?, "nothing of this is a region");
    }

    #[test]
    fn bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(!loads(REGION, &bytes)?);
    }
}

#[test]
fn what_grows_when_it_is_read_is_refused_soon() {
    let laughs = (1..30)
        .map(|level| format!("l{level}: &l{level} [{}]\n", vec![format!("*l{}", level - 1); 9].join(", ")));
    let laughs = format!("l0: &l0 [x]\n{}", laughs.collect::<String>());
    let deep = |open: &str, close: &str| format!("zones: {}{}", open.repeat(4000), close.repeat(4000));
    let nested: String = (0..150).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    let keys: String = (0..1500).map(|key| format!("k{key}: 1\n")).collect();
    let merges = format!("a: &a {{ b: 1 }}\n{}", "<<: *a\n".repeat(2000));
    let quotes = format!("wave: \"{}", "\\u00e9".repeat(2500));
    for content in [
        laughs,
        deep("[", "]"),
        deep("{a: ", "}"),
        deep("[", ""),
        nested,
        keys,
        merges,
        quotes,
        "- ".repeat(8000),
    ] {
        assert!(!loads(REGION, content.as_bytes()).unwrap(), "{}", &content[..80]);
    }
}
