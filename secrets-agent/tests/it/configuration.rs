//! Configurations that are refused, each with its place and what is allowed.

use std::process::{Command, Output};

const GOOD: &str = r#"
[vault]
address = "https://vault.example:8200"
ca_file = "/etc/ca.pem"
[auth.kubernetes]
role = "service"
jwt_file = "/var/run/token"
"#;

fn check(text: &str, environment: &[(&str, &str)]) -> std::io::Result<Output> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, text)?;
    Command::new(env!("CARGO_BIN_EXE_secrets-agent"))
        .env_clear()
        .envs(environment.iter().copied())
        .args(["check-config", "--config"])
        .arg(&file)
        .output()
}

fn refused(text: &str, environment: &[(&str, &str)]) -> String {
    let output = check(text, environment).expect("the agent is built and runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

#[test]
fn a_good_one_is_shown_with_the_place_of_each_value() {
    let files = "[files]\ndir = \"/s\"\nfile = [{name = \"x\", secret = \"config\", format = \"json\"}]\n";
    let environment =
        [("AGENT__KV__POLL", "60s"), ("AGENT__POD__NAME", "0123"), ("AGENT__SOCKET__ALLOW_UIDS", "[7, 8]")];
    let output = check(&format!("{GOOD}{files}"), &environment).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let place = |key: &str| {
        let line = said.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap_or_default();
        line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")
    };
    for (key, shown) in [
        ("kv.poll", r#""1m" # AGENT__KV__POLL"#),
        ("kv.max_size", r#""1MiB" # default"#),
        ("pod.name", r#""0123" # AGENT__POD__NAME"#),
        ("socket.allow_uids", "[7,8] # AGENT__SOCKET__ALLOW_UIDS"),
    ] {
        assert_eq!(place(key), shown, "{said}");
    }
    for key in ["vault.address", "auth.kubernetes.role", "files.file.0.name"] {
        assert!(place(key).ends_with("/agent.toml"), "{key} in {said}");
    }
    assert!(said.ends_with("agent.toml: nothing is wrong\n"), "{said}");
}

#[test]
fn each_mistake_is_named_with_its_place_and_what_is_allowed() {
    let approle = "[vault]\naddress = \"https://v:1\"\nca_file = \"/ca\"\n[auth.approle]\nrole_id = \"r\"\n";
    let with = |more: &str| format!("{GOOD}{more}");
    for (text, expected) in [
        (
            with("[kv]\nsecret = []\n"),
            "agent.toml: kv.secret: unknown key `secret`; allowed: mount, path, secrets, poll, spacing, max_size",
        ),
        (
            with("[sokcet]\n"),
            "unknown key `sokcet`; allowed: pod, vault, auth, kv, socket, admin, floor, files, log",
        ),
        (
            with("[kv]\npoll = \"soon\"\n"),
            "agent.toml: kv.poll: expected a duration such as \"5s\" or \"10m\"",
        ),
        (
            with("[kv]\npoll = 5\n"),
            "kv.poll: expected a duration such as \"5s\" or \"10m\", found a whole number",
        ),
        (with("[kv]\npoll = \"1ms\"\n"), "kv.poll: expected at least 100ms"),
        (with("[kv]\nmax_size = \"1 MB\"\n"), "kv.max_size: expected a size such as \"1MiB\""),
        (with("[kv]\nsecrets = []\n"), "kv.secrets: expected at least one name"),
        (with("[kv]\nsecrets = [\"a\", \"a\"]\n"), "kv.secrets: a name stands twice"),
        (with("[kv]\nsecrets = [\"../a\"]\n"), "kv.secrets: expected names of lower-case letters"),
        (with("[socket]\nallow_uids = [-1]\n"), "socket.allow_uids.0: expected u32"),
        (with("[admin]\nlisten = \"9091\"\n"), "admin.listen: is not valid here"),
        (with("[log]\nlevel = \"loud\"\n"), "log.level: is not one of error, warn, info, debug, trace"),
        (
            GOOD.replace("https://", "http://"),
            "vault.address: expected an address such as https://vault.example:8200",
        ),
        (GOOD.replace("ca_file", "#ca_file"), "ca_file is missing"),
        (
            GOOD.replace("[auth.kubernetes]", "[auth.cubernetes]"),
            "is not one of approle, kubernetes, jwt, token",
        ),
        ("[vault]\naddress = \"https://v:1\"\nca_file = \"/ca\"\n".to_owned(), "auth is missing"),
        (
            approle.to_owned(),
            "auth.approle: expected exactly one of secret_id_file and wrapped_secret_id_file",
        ),
        (
            approle.replace("role_id = \"r\"", "secret_id_file = \"/s\""),
            "auth.approle: expected exactly one of role_id and role_id_file",
        ),
        (
            format!("{approle}wrapped_secret_id_file = \"/w\"\n"),
            "auth.approle.role: is needed with wrapped_secret_id_file",
        ),
        (
            with(
                "[files]\ndir = \"/s\"\nfile = [{name = \"../x\", secret = \"config\", format = \"json\"}]\n",
            ),
            "expected a plain file name",
        ),
        (
            with("[files]\ndir = \"/s\"\nfile = [{name = \"x\", secret = \"other\", format = \"json\"}]\n"),
            "files.file.secret: is not one of kv.secrets",
        ),
        (
            with("[files]\ndir = \"/s\"\nfile = [{name = \"x\", secret = \"config\", format = \"raw\"}]\n"),
            "files.file.key: is needed with format = \"raw\"",
        ),
        (
            with("[files]\ndir = \"/s\"\nnotify = \"http://example.com/\"\nfile = []\n"),
            "files.notify: expected an address such as http://127.0.0.1:8080/reload",
        ),
        (with("[kv\n"), "cannot be parsed at line"),
    ] {
        let said = refused(&text, &[]);
        assert!(said.contains(expected), "wanted {expected:?} in {said:?} for:\n{text}");
    }
}

#[test]
fn the_environment_lies_over_the_file_and_is_named_as_the_place() {
    let said = refused(GOOD, &[("AGENT__KV__POLL", "canary-soon")]);
    assert!(said.starts_with("AGENT__KV__POLL: kv.poll: expected a duration such as"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    let said = refused(GOOD, &[("AGENT__VAULT__ADRESS", "x")]);
    assert!(
        said.starts_with("AGENT__VAULT__ADRESS: vault.adress: unknown key `adress`; allowed: address"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_secrets-agent"))
        .args(["check-config", "--config", "/nowhere/agent.toml"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr)
            .contains("/nowhere/agent.toml: no such file; name one with --config")
    );
}
