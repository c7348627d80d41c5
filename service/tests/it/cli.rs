//! The command line: what is said, and the exit codes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn service(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).output().unwrap()
}

fn with_file(content: &str, check: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("service.toml");
    fs::write(&file, content).unwrap();
    check(&file);
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn check_config_accepts_a_good_file_and_tells_everything_wrong_with_a_bad_one() {
    with_file("[http]\nbody_limit = 4096\n", |file| {
        let output = service(&["check-config", "--config", file.to_str().unwrap()], &[]);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    });
    with_file("[http]\nbody_limit = 1\nheader_timeout = \"soon\"\n[publik]\n", |file| {
        let output = service(&["--config", file.to_str().unwrap(), "check-config"], &[]);
        let told = told(&output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        for expected in [
            "service.toml: http.body_limit: expected 64",
            "service.toml: http.header_timeout: expected",
            "`publik`",
        ] {
            assert!(told.contains(expected), "wanted {expected:?} in {told}");
        }
        assert_eq!(told.lines().count(), 3, "{told}");
    });
}

#[test]
fn the_environment_wins_over_the_file_and_errors_name_the_variable() {
    with_file("[http]\nbody_limit = 1\n", |file| {
        let arguments = ["check-config", "--config", file.to_str().unwrap()];
        let output =
            service(&arguments, &[("SERVICE__HTTP__BODY_LIMIT", "4096"), ("SERVICE__IDENTITY__POD", "1.10")]);
        assert_eq!(output.status.code(), Some(0), "{}", told(&output));
        let output = service(&arguments, &[("SERVICE__HTTP__BODY_LIMIT", "canary")]);
        let told = told(&output);
        assert!(
            told.contains("environment variable SERVICE__HTTP__BODY_LIMIT: expected a whole number"),
            "{told}"
        );
        assert!(!told.contains("canary"), "{told}");
    });
    let unknown = told(&service(&["check-config"], &[("SERVICE__HTTP__BODI_LIMIT", "1")]));
    assert!(unknown.contains("environment variable SERVICE__HTTP__BODI_LIMIT: unknown key"), "{unknown}");
    // Faults on purpose are of a build of their own.
    let faults = told(&service(&["check-config"], &[("SERVICE__FAULTS__ERRORS", "0.05")]));
    assert!(faults.contains("environment variable SERVICE__FAULTS: unknown key `faults`"), "{faults}");
    let v6 = service(&["check-config"], &[("SERVICE__PUBLIC__LISTEN", "[::1]:8080")]);
    assert_eq!(v6.status.code(), Some(0), "{}", told(&v6));
}

#[test]
fn a_missing_file_and_a_wrong_argument_are_configuration_errors() {
    let output = service(&["--config", "/nonexistent/service.toml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told(&output).contains("/nonexistent/service.toml: the file cannot be read"),
        "{}",
        told(&output)
    );
    assert_eq!(service(&["--no-such-flag"], &[]).status.code(), Some(2));
}

#[test]
fn a_taken_port_is_told_with_its_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output =
        service(&[], &[("SERVICE__PUBLIC__LISTEN", &address), ("SERVICE__ADMIN__LISTEN", "127.0.0.1:0")]);
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    assert!(
        told.contains(&format!("listen on {address} (public.listen)")) && told.contains("in use"),
        "{told}"
    );
}

#[test]
fn the_help_has_an_example_and_the_exit_codes() {
    let output = service(&["--help"], &[]);
    let help = String::from_utf8_lossy(&output.stdout);
    for expected in ["curl -u development:development-only", "Exit codes:", "SERVICE__SHUTDOWN__ACCEPT_FOR"] {
        assert!(help.contains(expected), "wanted {expected:?} in {help}");
    }
}
