//! What people do wrong in a file, and what they are told: all of it, and nothing else.

use crate::small::Small;

/// The environment's file and a region's file that most tests change.
const ENVIRONMENT: &str = "production/_environment.yaml";
const REGION: &str = "production/us.yaml";

macro_rules! broken {
    ($($name:ident: $edits:expr => $told:expr;)+) => {
        $(
            #[test]
            fn $name() {
                let small = Small::new();
                for (file, from, to) in $edits {
                    small.edit(file, from, to);
                }
                let told: &[&str] = &$told;
                assert_eq!(small.wrong(), told);
            }
        )+
    };
}

// Keys.
broken! {
    misspelt_key: [(REGION, "location:", "locaton:")] => [
        "production/us.yaml:2: locaton: found a key that is not known here; allowed the keys geo, kubernetes, location, monitoring, pools, range, vault, watcher, wave, zones; did you mean `location`?",
    ];
    key_of_nothing_known: [(REGION, "zones: [b, c]", "colour: blue")] => [
        "production/us.yaml:5: colour: found a key that is not known here; allowed the keys geo, kubernetes, location, monitoring, pools, range, vault, watcher, wave, zones",
    ];
    key_in_capitals: [(REGION, "wave:", "Wave:")] => [
        "production/us.yaml:3: Wave: found a key that is not known here; allowed the keys geo, kubernetes, location, monitoring, pools, range, vault, watcher, wave, zones; did you mean `wave`?",
    ];
    key_without_a_space: [(REGION, "wave: second", "wave:second")] => [
        "production/us.yaml:3: found what is not YAML: simple key expected ':'; allowed YAML; write `key: value`, with a space after the colon",
    ];
    missing_key: [(REGION, "wave: second\n", "")] => [
        "production/us.yaml:2: wave: found nothing; allowed a name of small letters, digits and hyphens, at most 40, no hyphen at either end",
    ];
    missing_keys_of_an_environment: [(ENVIRONMENT, "order: 2\nproject: meridian-production\n", "")] => [
        "production/_environment.yaml:2: order: found nothing; allowed a whole number from 1 to 1000",
        "production/_environment.yaml:2: project: found nothing; allowed the id of a Google project: 6 to 30 small letters, digits and hyphens, a letter first, no hyphen at the end",
    ];
    missing_key_inside: [(ENVIRONMENT, "samples: 10000", "")] => [
        "production/_environment.yaml:6: bake.samples: found nothing; allowed a whole number from 1 to 1000000000",
    ];
    misspelt_key_inside: [(ENVIRONMENT, "spot: true", "spott: true")] => [
        "production/_environment.yaml:17: defaults.pools.spot.spott: found a key that is not known here; allowed the keys machine, max, min, spot; did you mean `spot`?",
    ];
    key_twice: [(REGION, "zones: [b, c]", "wave: first")] => [
        "production/us.yaml:5: wave: found `wave` again, first on line 3; allowed each key once",
    ];
    key_of_the_environment_in_a_region: [(REGION, "zones: [b, c]", "waves: [first]")] => [
        "production/us.yaml:5: waves: found a key that is not known here; allowed the keys geo, kubernetes, location, monitoring, pools, range, vault, watcher, wave, zones; it belongs into _environment.yaml",
    ];
    key_of_a_region_in_an_environment: [(ENVIRONMENT, "order: 2", "order: 2\nzones: [b]")] => [
        "production/_environment.yaml:3: zones: found a key that is not known here; allowed the keys approle, bake, ceilings, defaults, domain, freezes, gates, order, pipeline, project, secrets, signers, waves, workload; it belongs under `defaults`, or into a region's file",
    ];
    location_in_the_defaults: [(ENVIRONMENT, "defaults:", "defaults:\n  location: us-east4")] => [
        "production/_environment.yaml:16: defaults.location: found a key that is not known here; allowed the keys geo, kubernetes, monitoring, pools, vault, watcher, zones",
    ];
    key_that_is_a_number: [(ENVIRONMENT, "    spot: {", "    1: {")] => [
        "production/_environment.yaml:17: defaults.pools.1: found `1` as a key, which is not text; allowed keys that are text",
    ];
    key_that_some_take_for_true: [(ENVIRONMENT, "    spot: {", "    on: {")] => [
        "production/_environment.yaml:17: defaults.pools.on: found `on` as a key, without quotes: some readers take it for true or false, others for text; allowed keys that are text to every reader; choose another name",
    ];
    name_of_a_pool: [(ENVIRONMENT, "    spot: {", "    Spot_1: {")] => [
        "production/_environment.yaml:17: defaults.pools.Spot_1: found the name `Spot_1`; allowed a name: a small letter, then small letters, digits and hyphens, at most 40, no hyphen at the end",
    ];
    name_of_a_secret: [(ENVIRONMENT, "  tls:", "  Extra: { kind: value }\n  tls:")] => [
        "production/_environment.yaml:11: secrets.Extra: found the name `Extra`; allowed a name: a small letter, then small letters, digits and hyphens, at most 63, no hyphen at the end",
    ];
}

// Values.
broken! {
    text_for_a_number: [(ENVIRONMENT, "order: 2", "order: two")] => [
        "production/_environment.yaml:2: order: found the text `two`; allowed a whole number from 1 to 1000",
    ];
    number_in_quotes: [(ENVIRONMENT, "order: 2", "order: \"2\"")] => [
        "production/_environment.yaml:2: order: found the text `2`; allowed a whole number from 1 to 1000; take the quotes away",
    ];
    fraction_for_a_whole_number: [(ENVIRONMENT, "samples: 10000", "samples: 1.5")] => [
        "production/_environment.yaml:6: bake.samples: found the number `1.5`; allowed a whole number from 1 to 1000000000",
    ];
    number_below_its_bounds: [(ENVIRONMENT, "workload: { min: 2", "workload: { min: 1")] => [
        "production/_environment.yaml:14: workload.min: found the number `1`; allowed a whole number from 2 to 10",
    ];
    number_above_its_bounds: [(ENVIRONMENT, "cpu: 70", "cpu: 170")] => [
        "production/_environment.yaml:14: workload.cpu: found the number `170`; allowed a whole number from 1 to 100",
    ];
    ratio_out_of_bounds: [(ENVIRONMENT, "error_ratio: 0.01", "error_ratio: 1")] => [
        "production/_environment.yaml:7: gates.error_ratio: found the number `1`; allowed a number above 0 and below 1",
    ];
    percent_for_a_ratio: [(ENVIRONMENT, "error_ratio: 0.01", "error_ratio: 1%")] => [
        "production/_environment.yaml:7: gates.error_ratio: found the text `1%`; allowed a number above 0 and below 1",
    ];
    duration_without_a_unit: [(ENVIRONMENT, "time: 30m", "time: 30")] => [
        "production/_environment.yaml:6: bake.time: found the number `30`; allowed a duration: a whole number and one unit, such as 250ms, 5s, 10m or 1h; give it a unit: 30s for seconds, 30m for minutes",
    ];
    duration_in_another_form: [(ENVIRONMENT, "time: 30m", "time: 1h30m")] => [
        "production/_environment.yaml:6: bake.time: found `1h30m`; allowed a duration: a whole number and one unit, such as 250ms, 5s, 10m or 1h",
    ];
    duration_of_nothing: [(ENVIRONMENT, "skew: 30s", "skew: 0s")] => [
        "production/_environment.yaml:8: ceilings.skew: found `0s`; allowed a duration: a whole number and one unit, such as 250ms, 5s, 10m or 1h",
    ];
    misspelt_value: [(ENVIRONMENT, "kind: keyset", "kind: keysets")] => [
        "production/_environment.yaml:13: secrets.signing-keys.kind: found `keysets`; allowed value, clients, keyset; did you mean `keyset`?",
    ];
    value_of_nothing_known: [(ENVIRONMENT, "generator: ec-p256", "generator: rsa")] => [
        "production/_environment.yaml:13: secrets.signing-keys.generator: found `rsa`; allowed random, password, ec-p256",
    ];
    collectors_of_no_kind: [(ENVIRONMENT, "defaults:", "defaults:\n  monitoring: gogle")] => [
        "production/_environment.yaml:16: defaults.monitoring: found `gogle`; allowed none, google, operator; did you mean `google`?",
    ];
    yes_for_true: [(ENVIRONMENT, "spot: true", "spot: yes")] => [
        "production/_environment.yaml:17: defaults.pools.spot.spot: found `yes`: some readers take it for true or false, others for text; allowed true or false; write true",
    ];
    true_in_quotes: [(ENVIRONMENT, "spot: true", "spot: 'true'")] => [
        "production/_environment.yaml:17: defaults.pools.spot.spot: found the text `true`; allowed true or false; take the quotes away",
    ];
    nothing_for_a_value: [(REGION, "wave: second", "wave:")] => [
        "production/us.yaml:3: wave: found nothing; allowed a name of small letters, digits and hyphens, at most 40, no hyphen at either end",
    ];
    null_for_a_map: [(REGION, "vault: { address: https://vault.us.example:8200 }", "vault: ~")] => [
        "production/us.yaml:6: vault: found nothing; allowed a map with the keys address, in_cluster, port_forward",
    ];
    empty_text: [(REGION, "wave: second", "wave: ''")] => [
        "production/us.yaml:3: wave: found empty text; allowed a name of small letters, digits and hyphens, at most 40, no hyphen at either end",
    ];
    list_for_text: [(REGION, "wave: second", "wave: [second]")] => [
        "production/us.yaml:3: wave: found a list; allowed a name of small letters, digits and hyphens, at most 40, no hyphen at either end",
    ];
    map_for_a_list: [(REGION, "zones: [b, c]", "zones: { b: c }")] => [
        "production/us.yaml:5: zones: found a map; allowed a list of one or more, each the letter of a zone, such as b",
    ];
    text_for_a_list: [(REGION, "zones: [b, c]", "zones: b")] => [
        "production/us.yaml:5: zones: found `b`; allowed a list of one or more, each the letter of a zone, such as b",
    ];
    text_for_a_map: [(REGION, "vault: { address: https://vault.us.example:8200 }", "vault: https://vault.us.example:8200")] => [
        "production/us.yaml:6: vault: found `https://vault.us.example:8200`; allowed a map with the keys address, in_cluster, port_forward",
    ];
    empty_list: [(REGION, "zones: [b, c]", "zones: []")] => [
        "production/us.yaml:5: zones: found an empty list; allowed a list of one or more, each the letter of a zone, such as b",
    ];
    item_twice: [(REGION, "zones: [b, c]", "zones: [b, c, b]")] => [
        "production/us.yaml:5: zones[2]: found `b` again, as in zones[0]; allowed each item once",
    ];
    wrong_item: [(REGION, "zones: [b, c]", "zones: [us-east4-b, c]")] => [
        "production/us.yaml:5: zones[0]: found `us-east4-b`; allowed the letter of a zone, such as b",
    ];
    empty_map: [(REGION, "zones: [b, c]", "pools: {}")] => [
        "production/us.yaml:5: pools: found an empty map; allowed a map of one or more names",
    ];
    zone_for_a_region: [(REGION, "location: us-east4", "location: us-east4-b")] => [
        "production/us.yaml:2: location: found `us-east4-b`; allowed a Google region, such as europe-west4",
    ];
    region_in_capitals: [(REGION, "location: us-east4", "location: US-East4")] => [
        "production/us.yaml:2: location: found `US-East4`; allowed a Google region, such as europe-west4; did you mean `us-east4`?",
    ];
    domain_with_a_scheme: [(ENVIRONMENT, "domain: meridian.example", "domain: https://meridian.example")] => [
        "production/_environment.yaml:4: domain: found `https://meridian.example`; allowed a DNS name in small letters with a dot in it, such as qa.example.com, at most 200 characters",
    ];
    project_too_short: [(ENVIRONMENT, "project: meridian-production", "project: prod")] => [
        "production/_environment.yaml:3: project: found `prod`; allowed the id of a Google project: 6 to 30 small letters, digits and hyphens, a letter first, no hyphen at the end",
    ];
    vault_without_tls: [(REGION, "https://vault", "http://vault")] => [
        "production/us.yaml:6: vault.address: found `http://vault.us.example:8200`; allowed an address such as https://vault.example.com:8200, without a path",
    ];
    vault_forwarded_to_no_service: [(REGION, ":8200 }", ":8200, port_forward: true }")] => [
        "production/us.yaml:6: vault.address: found `https://vault.us.example:8200`; allowed with port_forward the name of a Service, such as https://vault-active.vault.svc:8200",
    ];
    vault_forwarded_out_of_the_cluster: [
        (REGION, "vault.us.example:8200 }", "vault-active.vault.svc:8200, port_forward: true, in_cluster: false }"),
    ] => [
        "production/us.yaml:6: vault.port_forward: found `true`; allowed false for a Vault that is not in the region's cluster (in_cluster)",
    ];
    approle_for_nobody_known: [(ENVIRONMENT, "defaults:", "approle: [service, root]\ndefaults:")] => [
        "production/_environment.yaml:15: approle[1]: found `root`; allowed service, watcher, promoter, rotator",
    ];
    pipeline_without_a_context: [
        (ENVIRONMENT, "defaults:", "pipeline: { organisation: 9f3c2a1e-0b4d-4c5e-8f6a-7b8c9d0e1f2a, project: x }\ndefaults:"),
    ] => [
        "production/_environment.yaml:15: pipeline.contexts: found nothing; allowed a map with the keys promoter, rotator",
        "production/_environment.yaml:15: pipeline.project: found `x`; allowed an id such as 9f3c2a1e-0b4d-4c5e-8f6a-7b8c9d0e1f2a, in small letters",
    ];
    pipeline_of_an_issuer_without_tls: [
        (ENVIRONMENT, "defaults:", "pipeline: { organisation: 9f3c2a1e-0b4d-4c5e-8f6a-7b8c9d0e1f2a, project: 9f3c2a1e-0b4d-4c5e-8f6a-7b8c9d0e1f2a, contexts: { promoter: 9f3c2a1e-0b4d-4c5e-8f6a-7b8c9d0e1f2a }, issuer: http://oidc.example.com }\ndefaults:"),
    ] => [
        "production/_environment.yaml:15: pipeline.issuer: found `http://oidc.example.com`; allowed an issuer such as https://oidc.example.com/org/1, or http:// on localhost",
    ];
    vault_at_no_port: [(REGION, ":8200", ":82000")] => [
        "production/us.yaml:6: vault.address: found `https://vault.us.example:82000`; allowed an address such as https://vault.example.com:8200, without a path",
    ];
    long_text: [(REGION, "wave: second", &format!("wave: {}", "w".repeat(100)))] => [
        "production/us.yaml:3: wave: found `wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww…`; allowed a name of small letters, digits and hyphens, at most 40, no hyphen at either end",
    ];
}

// What YAML readers take differently.
broken! {
    octal_number: [(ENVIRONMENT, "samples: 10000", "samples: 012")] => [
        "production/_environment.yaml:6: bake.samples: found `012`: readers disagree on its base; allowed a whole number from 1 to 1000000000; write it in plain decimal digits",
    ];
    hexadecimal_number: [(ENVIRONMENT, "samples: 10000", "samples: 0x10")] => [
        "production/_environment.yaml:6: bake.samples: found `0x10`: readers disagree on its base; allowed a whole number from 1 to 1000000000; write it in plain decimal digits",
    ];
    underscores_in_a_number: [(ENVIRONMENT, "samples: 10000", "samples: 10_000")] => [
        "production/_environment.yaml:6: bake.samples: found `10_000`: some readers take it for a number, others for text; allowed a whole number from 1 to 1000000000; write it in plain decimal digits",
    ];
    exponent: [(ENVIRONMENT, "samples: 10000", "samples: 1e4")] => [
        "production/_environment.yaml:6: bake.samples: found `1e4`: some readers take it for a number, others for text; allowed a whole number from 1 to 1000000000; write it in plain decimal digits",
    ];
    infinity: [(ENVIRONMENT, "error_ratio: 0.01", "error_ratio: .inf")] => [
        "production/_environment.yaml:7: gates.error_ratio: found `.inf`: some readers take it for a number that is none, others for text; allowed a number above 0 and below 1; write it in plain decimal digits",
    ];
    date: [(ENVIRONMENT, "waves: [first, second]", "waves: [first, 2024-01-02]"), (REGION, "second", "'2024-01-02'")] => [
        "production/_environment.yaml:5: waves[1]: found `2024-01-02`: some readers take it for a date, others for text; allowed a name of small letters, digits and hyphens, at most 40, no hyphen at either end; put it in quotes",
    ];
    base_60: [(ENVIRONMENT, "time: 30m", "time: 30:00")] => [
        "production/_environment.yaml:6: bake.time: found `30:00`: some readers take it for a number in base 60, others for text; allowed a duration: a whole number and one unit, such as 250ms, 5s, 10m or 1h",
    ];
    number_for_a_name: [(ENVIRONMENT, "waves: [first, second]", "waves: [first, 2]"), (REGION, "second", "'2'")] => [
        "production/_environment.yaml:5: waves[1]: found the number `2`; allowed a name of small letters, digits and hyphens, at most 40, no hyphen at either end; put it in quotes",
    ];
    no_for_a_name: [(ENVIRONMENT, "waves: [first, second]", "waves: [first, no]"), (REGION, "second", "'no'")] => [
        "production/_environment.yaml:5: waves[1]: found `no`: some readers take it for true or false, others for text; allowed a name of small letters, digits and hyphens, at most 40, no hyphen at either end; put it in quotes",
    ];
    zone_that_some_take_for_true: [(REGION, "zones: [b, c]", "zones: [y, c]")] => [
        "production/us.yaml:5: zones[0]: found `y`: some readers take it for true or false, others for text; allowed the letter of a zone, such as b; put it in quotes",
    ];
    anchor_and_alias: [(ENVIRONMENT, "leeway: 30s, skew: 30s", "leeway: &short 30s, skew: *short")] => [
        "production/_environment.yaml:8: ceilings.leeway: found an anchor (`&`); allowed values written out where they stand",
        "production/_environment.yaml:8: ceilings.skew: found an alias (`*`); allowed values written out where they stand",
    ];
    merge_key: [(ENVIRONMENT, "    steady: {", "    steady: { <<: { min: 1 },")] => [
        "production/_environment.yaml:18: defaults.pools.steady.<<: found a merge key (`<<`); allowed values written out where they stand",
    ];
    tag: [(ENVIRONMENT, "order: 2", "order: !!int 2")] => [
        "production/_environment.yaml:2: order: found `!!int`; allowed values without tags (`!`)",
    ];
    directive: [(REGION, "location: us-east4", "%YAML 1.1\n---\nlocation: us-east4")] => [
        "production/us.yaml:2: found a directive (`%`); allowed a file without directives",
    ];
    document_marker: [(REGION, "location: us-east4", "---\nlocation: us-east4")] => [
        "production/us.yaml:2: found a document marker (`---`); allowed a file without document markers",
    ];
    second_document: [(REGION, "zones: [b, c]", "---\nzones: [b, c]")] => [
        "production/us.yaml:5: found a second document; allowed one document in a file",
    ];
    tab: [(ENVIRONMENT, "  pools:", "\tpools:")] => [
        "production/_environment.yaml:16: found a tab; allowed visible characters, spaces and line feeds; indent with spaces",
    ];
    byte_order_mark: [(REGION, "# yaml", "\u{feff}# yaml")] => [
        "production/us.yaml:1: found a byte order mark; allowed visible characters, spaces and line feeds; save the file as UTF-8 without it",
    ];
    line_break_of_yaml_1_1: [(REGION, "wave: second", "wave: second\u{2028}")] => [
        "production/us.yaml:3: found the character U+2028; allowed visible characters, spaces and line feeds; take it out",
    ];
}

// No YAML at all.
broken! {
    indentation: [(ENVIRONMENT, "  tls: { kind: value }", " tls: { kind: value }")] => [
        "production/_environment.yaml:11: found what is not YAML: while parsing a block mapping, did not find expected key; allowed YAML; look at this line and those above: indentation, and brackets or quotes without an end",
    ];
    unclosed_bracket: [(REGION, "zones: [b, c]", "zones: [b, c")] => [
        "production/us.yaml:6: found what is not YAML: invalid indentation; allowed YAML; look at this line and those above: indentation, and brackets or quotes without an end",
    ];
    unclosed_quote: [(REGION, "wave: second", "wave: \"second")] => [
        "production/us.yaml:4: found what is not YAML: invalid indentation in multiline quoted scalar; allowed YAML; look at this line and those above: indentation, and brackets or quotes without an end",
    ];
    deep_nesting: [(REGION, "zones: [b, c]", &format!("zones: {}{}", "[".repeat(1000), "]".repeat(1000)))] => [
        "production/us.yaml:5: found lists and maps inside of each other; allowed at most 16 of them",
    ];
}

// Schema.
broken! {
    no_modeline: [(REGION, "# yaml-language-server: $schema=../../schema/region.schema.json\n", "")] => [
        "production/us.yaml:1: found no line that names the schema; allowed # yaml-language-server: $schema=PATH, where PATH leads from the file to region.schema.json",
    ];
    modeline_to_nowhere: [(REGION, "../../schema/region", "../schema/region")] => [
        "production/us.yaml:1: found the schema `../schema/region.schema.json`, where there is no file; allowed # yaml-language-server: $schema=PATH, where PATH leads from the file to region.schema.json",
    ];
    modeline_to_the_other_schema: [(REGION, "region.schema.json", "environment.schema.json")] => [
        "production/us.yaml:1: found the schema `../../schema/environment.schema.json`; allowed # yaml-language-server: $schema=PATH, where PATH leads from the file to region.schema.json",
    ];
}

// An environment's own rules.
broken! {
    bake_too_long: [(ENVIRONMENT, "time: 30m", "time: 25h")] => [
        "production/_environment.yaml:6: bake.time: found `25h`; allowed 1s to 24h",
    ];
    shift_of_all: [(ENVIRONMENT, "latency_p99: 250ms", "latency_p99: 250ms, client_error_shift: 1")] => [
        "production/_environment.yaml:7: gates.client_error_shift: found the number `1`; allowed a number above 0 and below 1",
    ];
    freeze_by_day: [(ENVIRONMENT, "defaults:", "freezes: [{ from: '2026-12-18', until: '2027-01-04T06:00:00Z', why: x }]\ndefaults:")] => [
        "production/_environment.yaml:15: freezes[0].from: found `2026-12-18`; allowed a moment in UTC, such as '2026-12-18T18:00:00Z', in quotes",
    ];
    freeze_of_no_day: [(ENVIRONMENT, "defaults:", "freezes:\n  - { from: '2026-02-30T00:00:00Z', until: '2027-01-04T06:00:00Z', why: x }\ndefaults:")] => [
        "production/_environment.yaml:16: freezes[0].from: found `2026-02-30T00:00:00Z`; allowed a day that its month has",
    ];
    freeze_that_ends_first: [(ENVIRONMENT, "defaults:", "freezes:\n  - from: '2027-01-04T06:00:00Z'\n    until: '2027-01-04T06:00:00Z'\n    why: x\ndefaults:")] => [
        "production/_environment.yaml:17: freezes[0].until: found `2027-01-04T06:00:00Z`; allowed a moment after from, which is 2027-01-04T06:00:00Z",
    ];
    freeze_for_no_reason: [(ENVIRONMENT, "defaults:", "freezes: [{ from: '2026-12-18T18:00:00Z', until: '2027-01-04T06:00:00Z', why: ' ' }]\ndefaults:")] => [
        "production/_environment.yaml:15: freezes[0].why: found ` `; allowed a reason in one line, at most 200 characters",
    ];
    latency_too_long: [(ENVIRONMENT, "latency_p99: 250ms", "latency_p99: 2m")] => [
        "production/_environment.yaml:7: gates.latency_p99: found `2m`; allowed 2500ms at most: the service counts answers by no longer time",
    ];
    latency_between_bounds: [(ENVIRONMENT, "latency_p99: 250ms", "latency_p99: 300ms")] => [
        "production/_environment.yaml:7: gates.latency_p99: found `300ms`; allowed 250ms or 500ms: the service counts answers by these times and none between",
    ];
    jwks_older_than_tokens: [(ENVIRONMENT, "jwks_max_age: 5m", "jwks_max_age: 2h")] => [
        "production/_environment.yaml:8: ceilings.jwks_max_age: found `2h`; allowed 1ms to 1h (token_life)",
    ];
    leeway_longer_than_tokens: [(ENVIRONMENT, "token_life: 1h, jwks_max_age: 5m", "token_life: 20s, jwks_max_age: 5s")] => [
        "production/_environment.yaml:8: ceilings.leeway: found `30s`; allowed 1ms to 20s (token_life)",
        "production/_environment.yaml:8: ceilings.skew: found `30s`; allowed 1ms to 20s (token_life)",
    ];
    skew_too_long: [(ENVIRONMENT, "skew: 30s", "skew: 6m")] => [
        "production/_environment.yaml:8: ceilings.skew: found `6m`; allowed 1ms to 5m",
    ];
    workload_upside_down: [(ENVIRONMENT, "min: 2, max: 10", "min: 5, max: 3")] => [
        "production/_environment.yaml:14: workload.min: found the number `5`; allowed a whole number from 2 to max, which is 3",
    ];
    fixed_secret_missing: [(ENVIRONMENT, "  tls: { kind: value }\n", "")] => [
        "production/_environment.yaml:10: secrets.tls: found nothing; allowed { kind: value }: the service needs it",
    ];
    fixed_secret_of_another_kind: [(ENVIRONMENT, "tls: { kind: value }", "tls: { kind: clients, generator: random }")] => [
        "production/_environment.yaml:11: secrets.tls.kind: found `clients`; allowed value: the service reads it so",
    ];
    clients_without_a_generator: [(ENVIRONMENT, "kind: clients, generator: random", "kind: clients")] => [
        "production/_environment.yaml:12: secrets.clients.generator: found nothing; allowed random for a secret of the kind clients",
    ];
    clients_with_another_generator: [(ENVIRONMENT, "generator: random", "generator: password")] => [
        "production/_environment.yaml:12: secrets.clients.generator: found `password`; allowed random for a secret of the kind clients",
    ];
    keyset_with_another_generator: [(ENVIRONMENT, "generator: ec-p256", "generator: random")] => [
        "production/_environment.yaml:13: secrets.signing-keys.generator: found `random`; allowed ec-p256 for a secret of the kind keyset",
    ];
    value_with_a_key: [(ENVIRONMENT, "config: { kind: value }", "config: { kind: value, generator: ec-p256 }")] => [
        "production/_environment.yaml:10: secrets.config.generator: found `ec-p256`; allowed random or password for a secret of the kind value",
    ];
    wave_without_a_region: [(ENVIRONMENT, "waves: [first, second]", "waves: [first, second, third]")] => [
        "production/_environment.yaml:5: waves[2]: found `third`, a wave without a region; allowed waves that a region is in; take it out, or name it in a region's file",
    ];
    wave_twice: [(ENVIRONMENT, "waves: [first, second]", "waves: [first, second, first]")] => [
        "production/_environment.yaml:5: waves[2]: found `first` again, as in waves[0]; allowed each item once",
    ];
}

// A region's own rules.
broken! {
    misspelt_wave: [(REGION, "wave: second", "wave: secnd")] => [
        "production/us.yaml:3: wave: found `secnd`; allowed first, second; did you mean `second`?",
    ];
    unknown_wave: [(REGION, "wave: second", "wave: canary")] => [
        "production/us.yaml:3: wave: found `canary`; allowed first, second",
    ];
    host_bits: [(REGION, "10.4.0.0/14", "10.4.1.0/14")] => [
        "production/us.yaml:4: range: found `10.4.1.0/14`, which is an address inside of 10.4.0.0/14; allowed a range whose host bits are zero; did you mean `10.4.0.0/14`?",
    ];
    public_range: [(REGION, "10.4.0.0/14", "8.8.0.0/16")] => [
        "production/us.yaml:4: range: found `8.8.0.0/16`, which is not private; allowed a range inside of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16",
    ];
    range_too_small: [(REGION, "10.4.0.0/14", "10.4.0.0/24")] => [
        "production/us.yaml:4: range: found `10.4.0.0/24`; allowed a private IPv4 range with a prefix of /12 to /16, such as 10.4.0.0/14",
    ];
    octet_with_a_zero: [(REGION, "10.4.0.0/14", "10.04.0.0/14")] => [
        "production/us.yaml:4: range: found `10.04.0.0/14`; allowed a private IPv4 range with a prefix of /12 to /16, such as 10.4.0.0/14",
    ];
    half_private_range: [(REGION, "10.4.0.0/14", "192.160.0.0/12")] => [
        "production/us.yaml:4: range: found `192.160.0.0/12`, which is not private; allowed a range inside of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16",
    ];
    no_pools_at_all: [("qa/west.yaml", "pools:\n  steady: { machine: e2-standard-4, min: 1, max: 2 }\n", "")] => [
        "qa/west.yaml:2: pools: found nothing; allowed a map of one or more names; give pools here, or under `defaults` in _environment.yaml",
    ];
    pool_with_the_name_of_vaults: [("qa/west.yaml", "  steady: {", "  vault: {")] => [
        "qa/west.yaml:6: pools.vault: found the name `vault`; allowed another name: the pool of the region's Vault has this one",
    ];
    spot_without_a_fallback: [(ENVIRONMENT, "    steady: { machine: e2-standard-4, min: 2, max: 6 }\n", "")] => [
        "production/_environment.yaml:16: defaults.pools: found spot pools alone; allowed pools that are not spot with 2 nodes or more (max) in all; two replicas need a place when spot nodes are taken away",
    ];
    fallback_of_one_node: [("qa/west.yaml", "max: 2", "max: 1")] => [
        "qa/west.yaml:6: pools: found pools that are not spot with 1 node at most; allowed pools that are not spot with 2 nodes or more (max) in all; two replicas need a place when spot nodes are taken away",
    ];
    pool_upside_down: [(ENVIRONMENT, "min: 1, max: 8", "min: 9, max: 8")] => [
        "production/_environment.yaml:17: defaults.pools.spot.min: found the number `9`; allowed a whole number from 0 to max, which is 8",
    ];
    long_file: [(REGION, "zones: [b, c]", "# 1\n# 2\n# 3\n# 4\n# 5\n# 6\n# 7\nzones: [b, c]")] => [
        "production/us.yaml:13: found 13 lines; allowed at most 12 in a region's file; move what several regions share to `defaults` in _environment.yaml",
    ];
}

// Between regions and environments.
broken! {
    same_range: [(REGION, "10.4.0.0/14", "10.0.0.0/14")] => [
        "production/us.yaml:4: range: found `10.0.0.0/14`, which overlaps `10.0.0.0/14` (production/eu.yaml:4); allowed a range apart from those of the environment's other regions",
    ];
    range_inside_another: [(REGION, "10.4.0.0/14", "10.2.0.0/16")] => [
        "production/us.yaml:4: range: found `10.2.0.0/16`, which overlaps `10.0.0.0/14` (production/eu.yaml:4); allowed a range apart from those of the environment's other regions",
    ];
    region_twice: [(REGION, "location: us-east4", "location: europe-west4")] => [
        "production/us.yaml:2: location: found `europe-west4` again, first at production/eu.yaml:2; allowed one region in each location",
    ];
    geo_twice: [(REGION, "zones: [b, c]", "geo: europe-west4")] => [
        "production/us.yaml:5: geo: found `europe-west4` again, first at production/eu.yaml; allowed clients of each location sent to one region",
    ];
    order_twice: [(ENVIRONMENT, "order: 2", "order: 1")] => [
        "qa/_environment.yaml:2: order: found `1` again, first at production/_environment.yaml:2; allowed a place in the order that no other environment has",
    ];
    project_twice: [(ENVIRONMENT, "meridian-production", "meridian-qa")] => [
        "qa/_environment.yaml:3: project: found `meridian-qa` again, first at production/_environment.yaml:3; allowed a project that no other environment has",
    ];
    domain_twice: [(ENVIRONMENT, "domain: meridian.example", "domain: qa.meridian.example")] => [
        "qa/_environment.yaml:4: domain: found `qa.meridian.example` again, first at production/_environment.yaml:4; allowed a name that no other environment has",
    ];
    cluster_twice: [(REGION, "zones: [b, c]", "kubernetes: { context: meridian-qa-west }")] => [
        "production/us.yaml:5: kubernetes.context: found `meridian-qa-west` again, first at qa/west.yaml; allowed a cluster that no other region has",
    ];
    vault_twice: [(REGION, "vault.us.example", "VAULT.eu.meridian.example")] => [
        "production/us.yaml:6: vault.address: found `https://vault.eu.meridian.example:8200` again, first at production/eu.yaml; allowed a Vault that no other region has",
    ];
    default_for_one_region_only: [(ENVIRONMENT, "defaults:", "defaults:\n  kubernetes: { context: one }")] => [
        "production/_environment.yaml:16: defaults.kubernetes.context: found `one` for several regions; allowed a cluster that no other region has",
    ];
}

// Everything at once.
broken! {
    many_things: [
        (ENVIRONMENT, "order: 2", "order: 0"),
        (ENVIRONMENT, "kind: keyset", "kind: keyst"),
        (ENVIRONMENT, "cpu: 70", "cpu: \"70\""),
        (REGION, "wave: second", "wave: third"),
        (REGION, "10.4.0.0/14", "10.0.0.0/15"),
        (REGION, "zones:", "zone:"),
        ("qa/_environment.yaml", "order: 1", "order: [1"),
        ("qa/west.yaml", "wave: all", "wave: al"),
        ("qa/west.yaml", "10.0.0.0/14", "10.1.0.0/14"),
    ] => [
        "production/_environment.yaml:2: order: found the number `0`; allowed a whole number from 1 to 1000",
        "production/_environment.yaml:13: secrets.signing-keys.kind: found `keyst`; allowed value, clients, keyset; did you mean `keyset`?",
        "production/_environment.yaml:14: workload.cpu: found the text `70`; allowed a whole number from 1 to 100; take the quotes away",
        "production/us.yaml:3: wave: found `third`; allowed first, second",
        "production/us.yaml:4: range: found `10.0.0.0/15`, which overlaps `10.0.0.0/14` (production/eu.yaml:4); allowed a range apart from those of the environment's other regions",
        "production/us.yaml:5: zone: found a key that is not known here; allowed the keys geo, kubernetes, location, monitoring, pools, range, vault, watcher, wave, zones; did you mean `zones`?",
        "qa/_environment.yaml:3: found what is not YAML: invalid indentation; allowed YAML; look at this line and those above: indentation, and brackets or quotes without an end",
        "qa/west.yaml:4: range: found `10.1.0.0/14`, which is an address inside of 10.0.0.0/14; allowed a range whose host bits are zero; did you mean `10.0.0.0/14`?",
    ];
}
