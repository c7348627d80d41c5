use secrets_agent_client::{Delivered, Secret};

use super::*;

fn configuration(text: &str) -> Result<Configuration, String> {
    let layers = Layers::of(text).map_err(|errors| told(&errors))?;
    Configuration::check(layers).map_err(|errors| told(&errors))
}

fn told(errors: &[ConfigurationError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const IN_A_POD: &str = r#"
    [identity]
    environment = "production"
    region = "eu"
    pod = "service-1"
    release = "sha256:00"
    [agent]
    socket = "/run/meridian/agent.sock"
    [ceilings]
    token_life = "3s"
    jwks_max_age = "1s"
"#;

fn document(json: &str) -> Delivered {
    Delivered {
        name: "config".to_owned(),
        path: "kv/service/config".to_owned(),
        version: 7,
        created_time: "2026-01-01T00:00:00Z".parse().unwrap(),
        rotation_id: None,
        data: Secret::from(json.as_bytes().to_vec()),
    }
}

fn with_document(json: &str) -> Result<Dynamic, String> {
    configuration(IN_A_POD)?.dynamic_with(&document(json)).map_err(|errors| told(&errors))
}

#[test]
fn nothing_configured_is_the_development_mode_on_loopback() {
    let configuration = configuration("").unwrap();
    assert_eq!(configuration.agent, None);
    assert_eq!(configuration.public.to_string(), "127.0.0.1:8080");
    assert_eq!(configuration.admin.to_string(), "127.0.0.1:9090");
    let dynamic = configuration.dynamic().unwrap();
    assert_eq!(dynamic.oauth.issuer, "http://127.0.0.1:8080");
    assert_eq!(dynamic.oauth.audience, dynamic.oauth.issuer);
}

#[test]
fn with_an_agent_the_ports_of_a_pod_are_the_default() {
    let configuration = configuration(IN_A_POD).unwrap();
    assert_eq!(configuration.public.to_string(), "0.0.0.0:8443");
    assert_eq!(configuration.admin.to_string(), "0.0.0.0:9090");
    assert_eq!(configuration.shutdown.accept_for, Duration::from_secs(8));
    assert_eq!(configuration.shutdown.drain_for, Duration::from_secs(4));
}

#[test]
fn a_zone_that_nobody_knows_is_empty() {
    let zone = |line: &str| {
        let text = IN_A_POD.replace("region = \"eu\"", &format!("region = \"eu\"\n{line}"));
        configuration(&text).map(|configuration| configuration.identity.zone)
    };
    assert_eq!(zone(""), Ok(None));
    assert_eq!(zone("zone = \"\""), Ok(None));
    assert_eq!(zone("zone = \"eu-a\""), Ok(Some("eu-a".to_owned())));
    assert!(zone("zone = \"a\\nb\"").unwrap_err().contains("identity.zone: expected a text without control"));
}

#[test]
fn broken_configurations_are_refused_with_their_place() {
    for (text, expected) in [
        (
            "[public]\nlisten = \"0.0.0.0:8080\"",
            "public.listen: without agent.socket there is no certificate",
        ),
        (
            "[public]\nlisten = \"localhost\"",
            "public.listen: expected an IP address and a port such as 0.0.0.0:8443",
        ),
        ("[public]\nlisten = 8080", "public.listen: expected an IP address and a port"),
        ("[public]\nlisten = \"127.0.0.1:9090\"", "admin.listen: is the same as public.listen"),
        ("[publik]\nlisten = \"127.0.0.1:1\"", "unknown key `publik`; allowed: identity, public"),
        ("[http]\nbody_limits = 3", "unknown key `body_limits`; allowed: handshake_timeout"),
        ("[http]\nbody_limit = 3", "http.body_limit: expected 64 to 1048576 bytes"),
        ("[http]\nheader_timeout = \"0s\"", "http.header_timeout: expected more than zero"),
        (
            "[http]\nheader_timeout = 5",
            "http.header_timeout: expected a length of time such as 250ms, 3s or 1h",
        ),
        ("[http]\nmax_connections = 0", "http.max_connections: expected at least 1"),
        ("[shutdown]\naccept_for = \"-8s\"", "shutdown.accept_for: expected a length of time"),
        ("[shutdown]\ndrain_for = \"1h\"", "shutdown.drain_for: expected at most 10m"),
        ("[agent]\nsocket = \"agent.sock\"", "agent.socket: expected an absolute path"),
        ("[agent]\nsocket = \"/a\"", "identity.region: is missing; it is required with agent.socket"),
        ("[identity]\nregion = \"\"", "identity.region: expected a text"),
        ("[log]\nlevel = \"canary\"", "log.level: is not one of error, warn, info, debug"),
        ("[log]\nformat = \"xml\"", "log.format: is not one of auto, json, text"),
        (
            "[oauth]\ntoken_life = \"2h\"",
            "oauth.token_life: is above the ceiling of 3600s (ceilings.token_life)",
        ),
        ("[oauth]\ntoken_life = \"1500ms\"", "oauth.token_life: expected whole seconds"),
        ("[oauth]\nissuer = \"https://a.example/path\"", "oauth.issuer: expected https:// and a host"),
        ("[oauth]\nissuer = \"tokens\"", "oauth.issuer: expected https:// and a host"),
        ("[ceilings]\ntoken_life = \"0s\"", "ceilings.token_life: expected more than zero"),
        ("[public\n", "cannot be parsed at line 1"),
    ] {
        let said = configuration(text).unwrap_err();
        assert!(said.contains(expected), "wanted {expected:?} in {said:?}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn every_problem_is_told_once_and_together() {
    let said = configuration(
        "[public]\nlisten = 1\n[http]\nbody_timeout = true\nbody_limit = 1\nno = 1\n[log]\nlevel = \"loud\"\n[oauth]\nskew = \"2m\"",
    )
    .unwrap_err();
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 6, "{said}");
    for key in
        ["public.listen: ", "http.body_timeout: ", "http.body_limit: ", "`no`", "log.level: ", "oauth.skew: "]
    {
        assert_eq!(lines.iter().filter(|line| line.contains(key)).count(), 1, "{key} in {said}");
    }
}

#[test]
fn the_document_lies_over_the_layers_of_the_start() {
    let dynamic = with_document(
        r#"{"oauth": {"issuer": "https://tokens.example", "token_life": "2s", "audience": "api"}, "log": {"level": "debug"}}"#,
    )
    .unwrap();
    assert_eq!(dynamic.oauth.issuer, "https://tokens.example");
    assert_eq!(dynamic.oauth.audience, "api");
    assert_eq!(dynamic.oauth.token_life, Duration::from_secs(2));
    // Not given: the default, cut to the ceiling.
    assert_eq!(dynamic.oauth.jwks_max_age, Duration::from_secs(1));
    assert_eq!(dynamic.log_level, LogLevel::Debug);
}

#[test]
fn broken_documents_are_refused_with_path_version_and_key() {
    let oauth = |body: &str| format!(r#"{{"oauth": {{"issuer": "https://tokens.example", {body}}}}}"#);
    for (json, expected) in [
        ("{}".to_owned(), "oauth.issuer: is missing; set it in the document"),
        ("[]".to_owned(), "Vault kv/service/config version 7: "),
        (oauth(r#""token_life": "1h""#), "version 7: oauth.token_life: is above the ceiling of 3s"),
        (oauth(r#""token_life": "canary""#), "version 7: oauth.token_life: expected a length of time"),
        (oauth(r#""token_life": "0s""#), "version 7: oauth.token_life: expected whole seconds, at least 1s"),
        (oauth(r#""jwks_max_age": 1"#), "version 7: oauth.jwks_max_age: expected a length of time"),
        (
            oauth(r#""tokenlife": "1s""#),
            "version 7: oauth.tokenlife: unknown key `tokenlife`; allowed: issuer",
        ),
        (
            r#"{"oauth": {"issuer": "http://tokens.example"}}"#.to_owned(),
            "version 7: oauth.issuer: expected https:// and a host",
        ),
        (
            r#"{"oauth": {"issuer": "https://canary@tokens.example"}}"#.to_owned(),
            "version 7: oauth.issuer: expected https:// and a host",
        ),
        (
            r#"{"public": {"listen": "0.0.0.0:1"}}"#.to_owned(),
            "version 7: public.listen: is read at start only; set it in the file or the environment",
        ),
        (r#"{"log": {"format": "json"}}"#.to_owned(), "version 7: log.format: is read at start only"),
        (r#"{"ceilings": {"skew": "1h"}}"#.to_owned(), "version 7: ceilings.skew: is read at start only"),
        (r#"{"extra": "canary"}"#.to_owned(), "version 7: extra: unknown key `extra`; allowed: "),
    ] {
        let said = with_document(&json).unwrap_err();
        assert!(said.contains(expected), "wanted {expected:?} in {said:?}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn an_error_of_the_file_names_the_file_and_a_missing_one_is_told() {
    let file = std::env::temp_dir()
        .join(format!("service-configuration-{}.toml", secrets_agent_client::Uuid::new_v4()));
    let missing = told(&Configuration::read(Some(&file)).unwrap_err());
    assert!(missing.contains("the file cannot be read"), "{missing}");
    std::fs::write(&file, "[http]\nbody_limit = \"canary\"").unwrap();
    let said = told(&Configuration::read(Some(&file)).unwrap_err());
    std::fs::remove_file(&file).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(said.contains(&format!("{name}: http.body_limit: expected a whole number")), "{said}");
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in ".{0,60}") {
        let _ = configuration(&text);
        let _ = with_document(&text);
        let _ = configuration(&format!("[oauth]\nissuer = {text:?}\ntoken_life = {text:?}"));
    }

    #[test]
    fn whatever_is_accepted_is_within_the_ceilings(life in 0_u64..10, age in 0_u64..4) {
        let json = format!(
            r#"{{"oauth": {{"issuer": "https://a.example", "token_life": "{life}s", "jwks_max_age": "{age}s"}}}}"#
        );
        let accepted = with_document(&json);
        proptest::prop_assert_eq!(accepted.is_ok(), (1..=3).contains(&life) && age == 1);
    }
}
