//! What people do wrong with files and folders.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;

use crate::small::Small;

const ENTRIES: &str = "allowed _environment.yaml, and REGION.yaml for each region";
const FOLDERS: &str = "allowed a folder for each environment, and nothing else";
const READABLE: &str = "allowed files and folders that can be read";
const NAME: &str = "allowed a name: a small letter, then small letters, digits and hyphens, at most 40, no hyphen at the end";

#[track_caller]
fn told(small: &Small, expected: &[&str]) {
    assert_eq!(small.wrong(), expected);
}

#[test]
fn another_ending() {
    let small = Small::new();
    fs::rename(small.at("production/us.yaml"), small.at("production/us.yml")).unwrap();
    let expected = format!("production/us.yml: found the ending .yml; {ENTRIES}; rename it to us.yaml");
    told(&small, &[&expected]);
}

#[test]
fn a_region_with_both_endings() {
    let small = Small::new();
    fs::copy(small.at("production/us.yaml"), small.at("production/us.yml")).unwrap();
    let expected = format!(
        "production/us.yml: found the ending .yml; {ENTRIES}; us.yaml is there, too: take one of them away"
    );
    told(&small, &[&expected]);
}

#[test]
fn a_hidden_region() {
    let small = Small::new();
    small.write("production/.asia.yaml", "");
    let expected = format!("production/.asia.yaml: found a hidden file; {ENTRIES}; rename it to asia.yaml");
    told(&small, &[&expected]);
}

#[test]
fn hidden_files_that_are_no_yaml_do_not_matter() {
    let small = Small::new();
    small.write("production/.us.yaml.swp", [0xff, 0xfe]);
    small.write(".gitkeep", "");
    told(&small, &[]);
}

#[test]
fn a_misspelt_environment_file() {
    let small = Small::new();
    fs::rename(small.at("qa/_environment.yaml"), small.at("qa/_enviroment.yaml")).unwrap();
    let expected = format!(
        "qa/_enviroment.yaml: found the name `_enviroment.yaml`; {ENTRIES}; rename it to _environment.yaml"
    );
    told(&small, &[&expected]);
}

#[test]
fn other_files_and_folders() {
    let small = Small::new();
    small.write("production/notes.txt", "");
    small.write("production/old/eu.yaml", "");
    small.write("README.md", "");
    small.write("us.yaml", "");
    told(
        &small,
        &[
            &format!("README.md: found the file `README.md`; {FOLDERS}"),
            &format!("production/notes.txt: found the file `notes.txt`; {ENTRIES}"),
            &format!("production/old: found the folder `old`; {ENTRIES}"),
            &format!(
                "us.yaml: found the file `us.yaml`; {FOLDERS}; move it into the folder of its environment"
            ),
        ],
    );
}

#[test]
fn an_environment_without_a_region() {
    let small = Small::new();
    fs::remove_file(small.at("qa/west.yaml")).unwrap();
    told(
        &small,
        &["qa: found no region; allowed one file for each region; add REGION.yaml, or take the folder away"],
    );
}

#[test]
fn an_empty_folder_for_an_environment() {
    let small = Small::new();
    fs::create_dir(small.at("staging")).unwrap();
    told(
        &small,
        &[
            "staging: found no _environment.yaml; allowed _environment.yaml in the folder of each environment",
            "staging: found no region; allowed one file for each region; add REGION.yaml, or take the folder away",
        ],
    );
}

#[test]
fn names_of_files_and_folders() {
    let small = Small::new();
    fs::rename(small.at("production/us.yaml"), small.at("production/US.yaml")).unwrap();
    fs::rename(small.at("qa"), small.at("q_a")).unwrap();
    told(
        &small,
        &[
            &format!("production/US.yaml: found the name `US`; {NAME}; rename the file"),
            &format!("q_a: found the name `q_a`; {NAME}"),
        ],
    );
}

#[test]
fn names_that_google_refuses_once_they_are_derived() {
    let small = Small::new();
    let long = format!("production/{}.yaml", "u".repeat(25));
    fs::rename(small.at("production/us.yaml"), small.at(&long)).unwrap();
    let cluster = format!("meridian-production-{}", "u".repeat(25));
    let account = format!("nodes-{}", "u".repeat(25));
    told(
        &small,
        &[
            &format!(
                "{long}: found a name that makes `{cluster}` (45 characters) of its cluster; allowed at most 40 \
                 characters there; rename the file"
            ),
            &format!(
                "{long}: found a name that makes `{account}` (31 characters) of the service account of its nodes; \
                 allowed at most 30 characters there; rename the file"
            ),
        ],
    );
}

#[test]
fn a_name_that_is_not_utf_8() {
    let small = Small::new();
    let name = std::ffi::OsStr::from_bytes(b"u\xff.yaml");
    fs::write(small.at("production").join(name), "").unwrap();
    let expected = "production/u\u{fffd}.yaml: found a name that is not UTF-8; allowed names of small letters, digits and hyphens";
    told(&small, &[expected]);
}

#[test]
fn empty_files() {
    let small = Small::new();
    small.write("production/us.yaml", "");
    small.write("production/eu.yaml", "# yaml-language-server: $schema=../../schema/region.schema.json\n\n");
    small.write("qa/west.yaml", "# yaml-language-server: $schema=../../schema/region.schema.json\n{}\n");
    let keys =
        "allowed the keys geo, kubernetes, location, monitoring, pools, range, vault, watcher, wave, zones";
    told(
        &small,
        &[
            &format!("production/eu.yaml: found comments alone; {keys}"),
            &format!("production/us.yaml: found an empty file; {keys}"),
            "qa/west.yaml:2: location: found nothing; allowed a Google region, such as europe-west4",
            "qa/west.yaml:2: pools: found nothing; allowed a map of one or more names; give pools here, or under \
             `defaults` in _environment.yaml",
            "qa/west.yaml:2: range: found nothing; allowed a private IPv4 range with a prefix of /12 to /16, such as \
             10.4.0.0/14",
            "qa/west.yaml:2: wave: found nothing; allowed a name of small letters, digits and hyphens, at most 40, no \
             hyphen at either end",
        ],
    );
}

#[test]
fn bytes_that_are_no_text() {
    let small = Small::new();
    small.write("production/us.yaml", b"# yaml\nlocation: caf\xe9\n");
    told(&small, &["production/us.yaml:2: found the byte 0xe9, which is not UTF-8; allowed text in UTF-8"]);
}

#[test]
fn line_feeds_of_windows_are_read() {
    let small = Small::new();
    let text = fs::read_to_string(small.at("production/us.yaml")).unwrap();
    small.write("production/us.yaml", text.replace('\n', "\r\n"));
    told(&small, &[]);
}

#[test]
fn a_huge_file() {
    let small = Small::new();
    small.write("production/us.yaml", "# \n".repeat(30_000));
    told(&small, &["production/us.yaml: found more than 16 KiB; allowed a small file of YAML"]);
}

#[test]
fn more_entries_than_any_catalogue_has() {
    let small = Small::new();
    for index in 0..1000 {
        small.write(&format!("production/r{index}.yaml"), "");
    }
    told(
        &small,
        &["production: found more than 1000 entries; allowed at most 1000; is it the catalogue's folder?"],
    );
}

#[test]
fn links_are_followed() {
    let small = Small::new();
    fs::rename(small.at("production/us.yaml"), small.at("../elsewhere.yaml")).unwrap();
    symlink("../../elsewhere.yaml", small.at("production/us.yaml")).unwrap();
    told(&small, &[]);
}

#[test]
fn links_to_themselves_and_to_nowhere() {
    let small = Small::new();
    symlink("asia.yaml", small.at("production/asia.yaml")).unwrap();
    symlink("nowhere", small.at("production/africa.yaml")).unwrap();
    symlink("loop", small.at("loop")).unwrap();
    told(
        &small,
        &[
            &format!(
                "loop: found what cannot be read: Too many levels of symbolic links (os error 40); {READABLE}"
            ),
            &format!(
                "production/africa.yaml: found what cannot be read: No such file or directory (os error 2); {READABLE}"
            ),
            &format!(
                "production/asia.yaml: found what cannot be read: Too many levels of symbolic links (os error 40); \
                 {READABLE}"
            ),
        ],
    );
}

#[test]
fn a_pipe_is_not_waited_for() {
    let small = Small::new();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, small.at("production/asia.yaml"), kind, mode, 0).unwrap();
    told(&small, &["production/asia.yaml: found something that is no file; allowed a file"]);
}

#[test]
fn a_folder_in_the_place_of_a_file() {
    let small = Small::new();
    fs::create_dir(small.at("production/asia.yaml")).unwrap();
    told(&small, &["production/asia.yaml: found a folder; allowed a file"]);
}

#[test]
fn no_catalogue_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let told = |path: &std::path::Path| {
        let invalid = regions::catalogue::Catalogue::load(path).unwrap_err();
        invalid.to_string().replace(&folder.path().display().to_string(), "")
    };
    assert_eq!(
        told(folder.path()),
        ": found no environment; allowed a folder for each environment, with _environment.yaml in it; name the \
         catalogue's folder with --catalogue DIR\n1 error in 1 file"
    );
    assert_eq!(
        told(&folder.path().join("nowhere")),
        format!(
            "/nowhere: found what cannot be read: No such file or directory (os error 2); {READABLE}; name the \
             catalogue's folder with --catalogue DIR\n1 error in 1 file"
        )
    );
}

#[test]
fn everything_that_depends_on_a_broken_file_is_not_guessed() {
    let small = Small::new();
    small.write("production/_environment.yaml", "x");
    // Waves, pools and the domain are not known any more, but ranges are.
    small.edit("production/us.yaml", "10.4.0.0/14", "10.0.0.0/14");
    told(
        &small,
        &[
            "production/_environment.yaml:1: found `x`; allowed a map with the keys approle, bake, ceilings, \
             defaults, domain, freezes, gates, order, pipeline, project, secrets, signers, waves, workload",
            "production/_environment.yaml:1: found no line that names the schema; allowed # yaml-language-server: \
             $schema=PATH, where PATH leads from the file to environment.schema.json",
            "production/us.yaml:4: range: found `10.0.0.0/14`, which overlaps `10.0.0.0/14` (production/eu.yaml:4); \
             allowed a range apart from those of the environment's other regions",
        ],
    );
}
