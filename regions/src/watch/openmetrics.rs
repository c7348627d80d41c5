//! Reads what a service shows in OpenMetrics: as much as a rotation and a release's gates need.
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::plan::view::Service;

/// A sample: its name, its labels and its value.
#[derive(Debug, PartialEq)]
struct Sample<'a> {
    name: &'a str,
    labels: BTreeMap<&'a str, String>,
    value: f64,
}

/// Takes over what a text says. Lines that are none are passed over.
pub(super) fn read(text: &str, service: &mut Service) {
    for sample in text.lines().filter_map(sample) {
        let label = |name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        // Counts and numbers of versions are whole and not below zero.
        let whole = || sample.value.max(0.0) as u64;
        match sample.name {
            "service_document_version" => {
                service.documents.insert(label("document"), whole());
            }
            // Zero before the first version.
            "service_document_created_timestamp_seconds" if sample.value > 0.0 => {
                service.created.insert(label("document"), sample.value);
            }
            "service_document_rejected" if sample.value > 0.0 => {
                service.rejected.insert(label("document"));
            }
            "service_oauth_setting_seconds" => {
                service.settings.insert(label("setting"), sample.value);
            }
            "service_oauth_ceiling_seconds" => {
                service.ceilings.insert(label("setting"), sample.value);
            }
            "service_ready" => service.ready = sample.value > 0.0,
            "service_drained" => service.drained = sample.value > 0.0,
            // Zero before the first certificate.
            "service_certificate_not_after_timestamp_seconds" if sample.value > 0.0 => {
                service.certificate_end = Timestamp::from_second(sample.value as i64).ok();
            }
            "service_requests_total" if sample.value > 0.0 => {
                service.answers.entry(label("route")).or_default().insert(label("code"), whole());
            }
            "service_request_duration_seconds_bucket" => {
                service.latency.entry(label("route")).or_default().push((label("le"), whole()));
            }
            _ => {}
        }
    }
    service.latency.retain(|_, buckets| buckets.last().is_some_and(|(_, count)| *count > 0));
}

fn sample(line: &str) -> Option<Sample<'_>> {
    if line.starts_with('#') {
        return None;
    }
    let (name, rest) = line.split_at(line.find(['{', ' '])?);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.trim_start().split(' ').next()?.parse().ok()?;
    Some(Sample { name, labels, value })
}

/// Labels up to their brace, and what comes after it.
fn labels(mut rest: &str) -> Option<(BTreeMap<&str, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut characters = quoted.char_indices();
        let end = loop {
            match characters.next()? {
                (place, '"') => break place,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.insert(name, value);
        let after = quoted.get(end + 1..)?;
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrets_agent_client::Version;

    use super::*;

    #[test]
    fn what_a_service_shows_is_taken_over() {
        let mut service = Service::default();
        read(
            r#"# HELP service_requests Answers, by route and status code.
# TYPE service_requests counter
service_requests_total{route="/oauth2/token",code="200"} 17
service_requests_total{route="/oauth2/token",code="503"} 0
service_request_duration_seconds_bucket{le="0.005",route="/oauth2/token"} 15
service_request_duration_seconds_bucket{le="+Inf",route="/oauth2/token"} 17
service_request_duration_seconds_bucket{le="+Inf",route="/trafficz"} 0
service_document_version{document="signing-keys"} 12
service_document_created_timestamp_seconds{document="signing-keys"} 1800000000.123457
service_document_rejected{document="config"} 1
service_document_rejected{document="tls"} 0
service_oauth_setting_seconds{setting="token_life"} 3.5
service_oauth_ceiling_seconds{setting="token_life"} 3600.0
service_certificate_not_after_timestamp_seconds 1800000000
service_ready 1
service_drained 0
# EOF
"#,
            &mut service,
        );
        assert_eq!(service.answers["/oauth2/token"], BTreeMap::from([("200".to_owned(), 17)]));
        assert_eq!(service.latency["/oauth2/token"], [("0.005".to_owned(), 15), ("+Inf".to_owned(), 17)]);
        assert_eq!(service.latency.len(), 1);
        assert_eq!(service.documents["signing-keys"], 12);
        let version = |created: &str| Version { version: 12, created_time: created.parse().unwrap() };
        assert_eq!(service.other_than("signing-keys", version("2027-01-15T08:00:00.123456789Z")), None);
        let other = service.other_than("signing-keys", version("2027-01-15T08:00:00.223456789Z")).unwrap();
        assert!(other.starts_with("version 12 of 2027-01-15T08:00:00.1234"), "{other}");
        assert_eq!(service.rejected.iter().collect::<Vec<_>>(), ["config"]);
        assert_eq!((service.settings["token_life"], service.ceilings["token_life"]), (3.5, 3600.0));
        assert_eq!(service.certificate_end.unwrap().as_second(), 1_800_000_000);
        assert!(service.ready && !service.drained);
    }

    #[test]
    fn labels_may_hold_anything_that_is_escaped() {
        let sample = sample(r#"a{b="x\"y\\z\n",c=""} -1.5e3 1800000000"#).unwrap();
        assert_eq!((sample.name, sample.value), ("a", -1500.0));
        assert_eq!(sample.labels, BTreeMap::from([("b", "x\"y\\z\n".to_owned()), ("c", String::new())]));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z{}=\",\\\\ 0-9\n#.]{0,120}") {
            read(&text, &mut Service::default());
        }
    }
}
