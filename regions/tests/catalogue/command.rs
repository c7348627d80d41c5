//! The command itself: what it prints where, and how it ends.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::small::Small;

/// Runs the command beside the catalogue's folder, with nothing of the tests' environment.
fn regions(small: &Small, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regions"));
    command.env_clear().current_dir(small.at("..")).args(["--catalogue", "catalogue"]).args(arguments);
    command.output().unwrap()
}

/// Standard output and standard error of a run that ended with this code.
#[track_caller]
fn ended(output: &Output, code: i32) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "\n--- out\n{out}\n--- err\n{err}");
    (out, err)
}

#[track_caller]
fn json(output: &Output, code: i32) -> Value {
    serde_json::from_str(&ended(output, code).0).unwrap()
}

/// A chart that shows what it is given.
fn showing_chart(small: &Small) -> String {
    let chart = small.at("../chart");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: shows\nversion: 1.0.0\n").unwrap();
    let template = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: values }\ndata:\n  values: {{ .Values | toJson | quote }}\n";
    fs::write(chart.join("templates/values.yaml"), template).unwrap();
    "chart".into()
}

#[test]
fn validate_shows_what_is_in_the_catalogue() {
    let (out, err) = ended(&regions(&Small::new(), &["validate"]), 0);
    assert_eq!(err, "");
    assert_eq!(
        out,
        "\
ENVIRONMENT  WAVE    REGION  LOCATION      RANGE        POOLS
qa           all     west    europe-west4  10.0.0.0/14  steady 1-2
production   first   eu      europe-west4  10.0.0.0/14  spot 1-8 spot, steady 2-6
production   second  us      us-east4      10.4.0.0/14  spot 1-8 spot, steady 2-6
catalogue: no errors; 3 regions in qa → production
"
    );
}

#[test]
fn validate_shows_every_value_and_where_it_comes_from() {
    let small = Small::new();
    let shown = json(&regions(&small, &["validate", "--output", "json"]), 0);
    assert_eq!((&shown["valid"], &shown["errors"]), (&Value::Bool(true), &serde_json::json!([])));
    let us = &shown["environments"][1]["regions"][1];
    let expected = serde_json::json!({
        "name": "us", "environment": "production", "file": "catalogue/production/us.yaml",
        "location": "us-east4", "wave": "second", "range": "10.4.0.0/14",
        "subnets": {"nodes": "10.4.0.0/20", "services": "10.4.16.0/20", "pods": "10.5.0.0/16"},
        "pools": {
            "value": {
                "spot": {"machine": "e2-standard-4", "min": 1, "max": 8, "spot": true},
                "steady": {"machine": "e2-standard-4", "min": 2, "max": 6, "spot": false},
            },
            "from": "catalogue/production/_environment.yaml:16",
        },
        "zones": {"value": ["b", "c"], "from": "catalogue/production/us.yaml:5"},
        "geo": {"value": "us-east4", "from": "convention"},
        "context": {"value": "meridian-production-us", "from": "convention"},
        "vault": {
            "value": {"address": "https://vault.us.example:8200", "port_forward": false, "in_cluster": true},
            "from": "catalogue/production/us.yaml:6",
        },
        "watcher": null,
        "monitoring": {"value": "none", "from": "convention"},
    });
    assert_eq!(us, &expected);
}

#[test]
fn validate_tells_every_error_on_standard_error() {
    let small = Small::new();
    small.edit("production/us.yaml", "wave: second", "wave: secnd");
    small.edit("qa/west.yaml", "max: 2", "max: two");
    let (out, err) = ended(&regions(&small, &["validate"]), 2);
    assert_eq!(out, "");
    assert_eq!(
        err,
        "\
catalogue/production/us.yaml:3: wave: found `secnd`; allowed first, second; did you mean `second`?
catalogue/qa/west.yaml:6: pools.steady.max: found the text `two`; allowed a whole number from 1 to 1000
2 errors in 2 files
"
    );
}

#[test]
fn validate_tells_every_error_to_programs() {
    let small = Small::new();
    small.edit("production/us.yaml", "wave: second", "wave: secnd");
    fs::rename(small.at("qa/west.yaml"), small.at("qa/west.yml")).unwrap();
    let told = json(&regions(&small, &["--output", "json", "validate"]), 2);
    assert_eq!(
        told,
        serde_json::json!({"valid": false, "errors": [
            {
                "file": "catalogue/production/us.yaml", "line": 3, "column": 7, "key": "wave",
                "found": "`secnd`", "allowed": "first, second", "hint": "did you mean `second`?",
                "message": "wave: found `secnd`; allowed first, second; did you mean `second`?",
            },
            {
                "file": "catalogue/qa/west.yml", "line": null, "column": null, "key": "",
                "found": "the ending .yml", "allowed": "_environment.yaml, and REGION.yaml for each region",
                "hint": "rename it to west.yaml",
                "message": "found the ending .yml; allowed _environment.yaml, and REGION.yaml for each region; \
                            rename it to west.yaml",
            },
        ]})
    );
}

#[test]
fn no_verb_uses_a_catalogue_with_an_error() {
    let small = Small::new();
    small.edit("qa/west.yaml", "wave: all", "wave: al");
    for verb in [
        &["render", "production/eu"][..],
        &["promote", "--env", "production", "--release", "chart.tgz", "--yes"],
        &["status", "--env", "production"],
    ] {
        let (out, err) = ended(&regions(&small, verb), 2);
        assert_eq!(out, "");
        assert!(err.contains("catalogue/qa/west.yaml:3: wave: found `al`"), "{verb:?}: {err}");
    }
}

#[test]
fn names_that_are_not_there_are_told_with_those_that_are() {
    let small = Small::new();
    for (arguments, told) in [
        (
            &["render", "us", "--env", "prodction"][..],
            "there is no environment prodction (did you mean production?); there are qa, production\n",
        ),
        (
            &["render", "su", "--env", "production"],
            "there is no region su in production (did you mean us?); there are eu, us\n",
        ),
        (&["render", "mars"], "there is no region mars; there are qa/west, production/eu, production/us\n"),
        (
            &["render", "qa/west", "--env", "production"],
            "qa/west names another environment than --env production\n",
        ),
        (&["status", "--env", "staging"], "there is no environment staging; there are qa, production\n"),
    ] {
        assert_eq!(ended(&regions(&small, arguments), 2), (String::new(), told.to_owned()));
    }
}

#[test]
fn a_name_in_several_environments_needs_the_environment() {
    let small = Small::new();
    fs::copy(small.at("qa/west.yaml"), small.at("production/west.yaml")).unwrap();
    small.edit("production/west.yaml", "wave: all", "wave: first");
    small.edit("production/west.yaml", "10.0.0.0/14", "10.8.0.0/14");
    small.edit("production/west.yaml", "europe-west4", "us-west4");
    let (out, err) = ended(&regions(&small, &["render", "west"]), 2);
    assert_eq!(
        (out.as_str(), err.as_str()),
        ("", "west is in several environments; name one with --env: qa, production\n")
    );
    assert!(ended(&regions(&small, &["render", "west", "--env", "qa"]), 0).0.contains("# qa/west"));
}

#[test]
fn render_shows_each_thing_that_helm_is_given() {
    let small = Small::new();
    let (out, _) = ended(&regions(&small, &["render", "us"]), 0);
    let mut documents = out.split("---\n");
    assert_eq!(
        documents.next().unwrap(),
        "\
# production/us: what Helm is given; a later document overrides an earlier one
# helm template service CHART --namespace meridian --no-hooks --include-crds \\
#   --values catalogue/production/_environment.yaml \\
#   --values catalogue/production/us.yaml \\
#   --set-string environment=production --set-string region=us
"
    );
    for file in ["production/_environment.yaml", "production/us.yaml"] {
        let text = fs::read_to_string(small.at(file)).unwrap();
        assert_eq!(documents.next().unwrap(), format!("# catalogue/{file}\n{text}"));
    }
    assert_eq!(documents.next().unwrap(), "# names\nenvironment: \"production\"\nregion: \"us\"\n");
    assert_eq!(documents.next(), None);
}

#[test]
fn render_shows_what_a_chart_makes_of_it() {
    let small = Small::new();
    let helm = local_region::tools::helm().unwrap();
    let chart = showing_chart(&small);
    let arguments = ["render", "us", "--chart", &chart, "--helm", helm.to_str().unwrap()];
    let (manifest, _) = ended(&regions(&small, &arguments), 0);
    assert!(manifest.contains("kind: ConfigMap"), "{manifest}");

    let shown = json(&regions(&small, &[&arguments[..], &["--output", "json"]].concat()), 0);
    let data = &shown["objects"][0]["data"]["values"];
    let seen_by_helm: Value = serde_json::from_str(data.as_str().unwrap()).unwrap();
    assert_eq!(seen_by_helm, shown["values"]);
    assert_eq!(shown["values"], json(&regions(&small, &["render", "us", "--output", "json"]), 0));
}

#[test]
fn render_refuses_what_helm_refuses() {
    let small = Small::new();
    let helm = local_region::tools::helm().unwrap();
    let chart = showing_chart(&small);
    fs::write(small.at("../chart/templates/no.yaml"), "{{ fail \"no such thing\" }}").unwrap();
    let arguments = ["render", "us", "--chart", &chart, "--helm", helm.to_str().unwrap()];
    let (out, err) = ended(&regions(&small, &arguments), 1);
    assert_eq!(out, "");
    assert!(err.starts_with("render ") && err.contains("for production/us: helm template refused:"), "{err}");
    assert!(err.contains("no such thing"), "{err}");

    let (_, err) =
        ended(&regions(&small, &["render", "us", "--chart", "nowhere", "--helm", helm.to_str().unwrap()]), 2);
    assert!(err.starts_with("find the chart nowhere: No such file"), "{err}");
    let (_, err) = ended(&regions(&small, &["render", "us", "--chart", &chart]), 2);
    assert!(err.contains("helm is not on PATH"), "{err}");
}

#[test]
fn a_region_is_added_by_one_short_file() {
    let small = Small::new();
    let before = json(&regions(&small, &["validate", "--output", "json"]), 0);
    let file = "\
# yaml-language-server: $schema=../../schema/region.schema.json
location: asia-southeast1
wave: second
range: 10.8.0.0/14
";
    assert!(file.lines().count() <= 12);
    small.write("production/asia.yaml", file);

    let (table, _) = ended(&regions(&small, &["validate"]), 0);
    assert!(table.contains("production   second  asia    asia-southeast1  10.8.0.0/14"), "{table}");
    assert!(table.contains("4 regions"), "{table}");
    let values = json(&regions(&small, &["render", "asia", "--output", "json"]), 0);
    assert_eq!((&values["environment"], &values["region"]), (&"production".into(), &"asia".into()));
    assert_eq!(values["range"], "10.8.0.0/14");
    // Nothing else changed.
    let mut after = json(&regions(&small, &["validate", "--output", "json"]), 0);
    let added = after["environments"][1]["regions"].as_array_mut().unwrap().remove(0);
    assert_eq!(added["name"], "asia");
    assert_eq!(after, before);
}

#[test]
fn schemas_are_written_once_and_checked() {
    let small = Small::new();
    let run = |arguments: &[&str]| regions(&small, &[&["schema", "--dir", "made"], arguments].concat());
    let environment = small.at("../made/environment.schema.json");
    let states = |environment: &str, region: &str| {
        format!("made/environment.schema.json: {environment}\nmade/region.schema.json: {region}\n")
    };
    assert_eq!(ended(&run(&["--check"]), 6).0, states("stale", "stale"));
    assert!(!environment.exists());
    assert_eq!(ended(&run(&[]), 0).0, states("written", "written"));
    assert_eq!(ended(&run(&["--check"]), 0).0, states("current", "current"));
    fs::write(&environment, "{}").unwrap();
    let (out, err) = ended(&run(&["--check"]), 6);
    assert_eq!(
        (out, err.as_str()),
        (states("stale", "current"), "write them with: regions schema --dir made\n")
    );
    let told = json(&run(&["--check", "--output", "json"]), 6);
    assert_eq!(
        told["files"][0],
        serde_json::json!({"file": "made/environment.schema.json", "state": "stale"})
    );
    assert_eq!(ended(&run(&[]), 0).0, states("written", "current"));
    fs::remove_file(&environment).unwrap();
    fs::create_dir(&environment).unwrap();
    let (_, err) = ended(&run(&[]), 2);
    assert!(err.starts_with("read made/environment.schema.json: "), "{err}");
}

#[test]
fn every_verb_has_an_example_and_wrong_usage_is_told_by_code() {
    let small = Small::new();
    let (help, _) = ended(&regions(&small, &["--help"]), 0);
    let codes = "0  done\n  1  refused, nothing changed\n  2  usage or configuration\n  3  failed and undone\n  4  \
                 incomplete, run again\n  5  locked by another\n  6  drift found";
    assert!(help.contains(codes), "{help}");
    for verb in ["validate", "render", "schema", "promote", "status"] {
        assert!(help.contains(&format!("\n  {verb} ")), "{help}");
        let (help, _) = ended(&regions(&small, &[verb, "--help"]), 0);
        assert!(help.contains("Example") && help.contains(&format!("\n  regions {verb}")), "{help}");
    }
    for wrong in
        [&["render"][..], &["validat"], &["validate", "--output", "xml"], &["render", "us", "--helm", "x"]]
    {
        let (out, err) = ended(&regions(&small, wrong), 2);
        assert!(out.is_empty() && err.contains("--help"), "{wrong:?}: {err}");
    }
}

#[test]
fn the_committed_catalogues_are_without_error() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for catalogue in ["regions/catalogue", "local/catalogue"] {
        let output = Command::new(env!("CARGO_BIN_EXE_regions"))
            .env_clear()
            .current_dir(root)
            .args(["validate", "--catalogue", catalogue])
            .output()
            .unwrap();
        let (out, _) = ended(&output, 0);
        assert!(out.ends_with("regions in qa → staging → production\n"), "{out}");
    }
}
