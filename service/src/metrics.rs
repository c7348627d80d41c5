//! What the admin port's `/metrics` tells, in OpenMetrics text.
//!
//! What a request touches are handles made at the start, found by index: no label is built, hashed or
//! looked up while a request is served.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use secrets_agent_client::Version;

use crate::configuration::{Ceilings, Oauth};

/// A route of the public interface, as metrics and logs name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/v1/region`.
    Region,
    /// `/oauth2/token`.
    Token,
    /// `/.well-known/jwks.json`.
    Jwks,
    /// `/.well-known/oauth-authorization-server`.
    Metadata,
    /// `/trafficz`.
    Traffic,
    /// `/openapi.json`.
    OpenApi,
    /// Every other path.
    Other,
}

impl Route {
    const ALL: [Route; 7] = [
        Route::Region,
        Route::Token,
        Route::Jwks,
        Route::Metadata,
        Route::Traffic,
        Route::OpenApi,
        Route::Other,
    ];

    /// The route of a path.
    pub fn of(path: &str) -> Self {
        Route::ALL.into_iter().find(|route| route.as_str() == path).unwrap_or(Route::Other)
    }

    /// The path, or `other`: what a client asked for is never a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Route::Region => "/v1/region",
            Route::Token => "/oauth2/token",
            Route::Jwks => "/.well-known/jwks.json",
            Route::Metadata => "/.well-known/oauth-authorization-server",
            Route::Traffic => "/trafficz",
            Route::OpenApi => "/openapi.json",
            Route::Other => "other",
        }
    }
}

/// The status codes that this service answers with; the last stands for any other.
const CODES: [&str; 11] = ["200", "304", "400", "401", "404", "405", "408", "413", "500", "503", "other"];

/// The upper bounds of the latency buckets, in seconds. The gates of a release read them and interpolate nothing, so the
/// catalogue takes no other limit (`LATENCY_BOUNDS` of `regions`).
const LATENCY: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    route: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByRoute {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKey {
    kid: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByError {
    error: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByDocument {
    document: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BySetting {
    setting: &'static str,
}

type Seconds = Gauge<f64, AtomicU64>;

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Vec<Vec<Counter>>,
    latency: Vec<Histogram>,
    tokens: Family<ByKey, Counter>,
    refusals: Family<ByError, Counter>,
    document_version: Family<ByDocument, Gauge>,
    document_created: Family<ByDocument, Seconds>,
    document_rejected: Family<ByDocument, Gauge>,
    document_rejections: Family<ByDocument, Counter>,
    settings: Family<BySetting, Seconds>,
    ceilings: Family<BySetting, Seconds>,
    /// The generation of the snapshot in use; 0 before the first.
    pub generation: Gauge,
    /// When the certificate in use ends, in seconds since 1970.
    pub certificate_end: Gauge,
    /// 1 while `/readyz` answers 200.
    pub ready: Gauge,
    /// 1 while the region is drained.
    pub drained: Gauge,
    /// Open connections of the public interface.
    pub connections: Gauge,
    /// Connections of the public interface that were accepted.
    pub accepted: Counter,
    /// Handshakes that failed.
    pub handshake_failures: Counter,
    /// Connections closed at once, since `http.max_connections` were open.
    pub over_limit: Counter,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("service");
        let requests = registered::<Family<ByCode, Counter>>(
            &mut registry,
            "requests",
            "Answers, by route and status code",
        );
        let latency = Family::<ByRoute, Histogram>::new_with_constructor(|| Histogram::new(LATENCY));
        let help = "From the end of a request's header to its answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, latency.clone());
        let settings = Family::<BySetting, Seconds>::default();
        registry.register_with_unit(
            "oauth_setting",
            "What [oauth] says now",
            Unit::Seconds,
            settings.clone(),
        );
        let ceilings = Family::<BySetting, Seconds>::default();
        let help = "The most that [oauth] may say";
        registry.register_with_unit("oauth_ceiling", help, Unit::Seconds, ceilings.clone());
        let document_created = Family::<ByDocument, Seconds>::default();
        registry.register_with_unit(
            "document_created_timestamp",
            "When Vault wrote the version in use of each document, since 1970",
            Unit::Seconds,
            document_created.clone(),
        );
        let certificate_end = Gauge::default();
        let help = "When the certificate in use ends, since 1970";
        registry.register_with_unit(
            "certificate_not_after_timestamp",
            help,
            Unit::Seconds,
            certificate_end.clone(),
        );
        let by_route = |route: Route| ByRoute { route: route.as_str() };
        let r = &mut registry;
        Metrics {
            requests: Route::ALL
                .map(|route| {
                    let by_code = |code| ByCode { route: route.as_str(), code };
                    CODES.map(|code| requests.get_or_create_owned(&by_code(code))).to_vec()
                })
                .to_vec(),
            latency: Route::ALL.map(|route| latency.get_or_create_owned(&by_route(route))).to_vec(),
            tokens: registered(r, "tokens_issued", "Tokens, by the key that signed them"),
            refusals: registered(r, "token_refusals", "Token requests refused, by error code"),
            document_version: registered(r, "document_version", "The version in use of each document"),
            document_created,
            document_rejected: registered(r, "document_rejected", "1 while the newest version is rejected"),
            document_rejections: registered(r, "document_rejections", "Versions rejected"),
            settings,
            ceilings,
            generation: registered(
                r,
                "configuration_generation",
                "Configurations used by this process so far",
            ),
            certificate_end,
            ready: registered(r, "ready", "1 while /readyz answers 200"),
            drained: registered(r, "drained", "1 while the region is drained"),
            connections: registered(r, "connections", "Open connections of the public interface"),
            accepted: registered(r, "connections_accepted", "Connections accepted"),
            handshake_failures: registered(r, "tls_handshake_failures", "TLS handshakes that failed"),
            over_limit: registered(
                r,
                "connections_over_limit",
                "Connections closed since too many were open",
            ),
            registry,
        }
    }

    /// Counts an answer.
    pub fn answered(&self, route: Route, status: StatusCode, took: Duration) {
        let code = match status.as_u16() {
            200 => 0,
            304 => 1,
            400 => 2,
            401 => 3,
            404 => 4,
            405 => 5,
            408 => 6,
            413 => 7,
            500 => 8,
            503 => 9,
            _ => 10,
        };
        self.requests[route as usize][code].inc();
        self.latency[route as usize].observe(took.as_secs_f64());
    }

    /// The counter of the tokens that this key signed.
    pub fn tokens(&self, kid: &str) -> Counter {
        self.tokens.get_or_create_owned(&ByKey { kid: kid.to_owned() })
    }

    /// Forgets a key that is gone.
    pub fn forget_key(&self, kid: &str) {
        self.tokens.remove(&ByKey { kid: kid.to_owned() });
    }

    /// Counts a refused token request.
    pub fn refused(&self, error: &'static str) {
        self.refusals.get_or_create(&ByError { error }).inc();
    }

    /// A version of a document is in use, and nothing newer is rejected.
    pub fn adopted(&self, document: &'static str, version: Version) {
        self.document_version.get_or_create(&ByDocument { document }).set(as_gauge(version.version));
        self.document_created.get_or_create(&ByDocument { document }).set(version.created_seconds());
        self.accepted_document(document);
    }

    /// Nothing newer than what is in use is rejected.
    pub fn accepted_document(&self, document: &'static str) {
        self.document_rejected.get_or_create(&ByDocument { document }).set(0);
    }

    /// A version of a document was rejected.
    pub fn rejected(&self, document: &'static str) {
        self.document_rejected.get_or_create(&ByDocument { document }).set(1);
        self.document_rejections.get_or_create(&ByDocument { document }).inc();
    }

    /// Shows the lengths of time that are in use, which a rotation waits for.
    pub fn settings(&self, oauth: &Oauth) {
        let Oauth { token_life, jwks_max_age, leeway, skew, .. } = oauth;
        for (setting, span) in
            [("token_life", token_life), ("jwks_max_age", jwks_max_age), ("leeway", leeway), ("skew", skew)]
        {
            self.settings.get_or_create(&BySetting { setting }).set(span.as_secs_f64());
        }
    }

    /// Shows the most that those lengths of time can ever be in this process.
    pub fn ceilings(&self, ceilings: &Ceilings) {
        let Ceilings { token_life, jwks_max_age, leeway, skew } = ceilings;
        for (setting, span) in
            [("token_life", token_life), ("jwks_max_age", jwks_max_age), ("leeway", leeway), ("skew", skew)]
        {
            self.ceilings.get_or_create(&BySetting { setting }).set(span.as_secs_f64());
        }
    }

    /// All metrics as OpenMetrics text.
    pub fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(16 << 10);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

fn registered<M>(registry: &mut Registry, name: &str, help: &str) -> M
where
    M: prometheus_client::registry::Metric + Default + Clone,
{
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn as_gauge(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_counted_under_its_route_and_code() {
        let metrics = Metrics::new();
        metrics.answered(Route::of("/v1/region"), StatusCode::OK, Duration::from_millis(3));
        metrics.answered(Route::of("/secret/path"), StatusCode::NOT_FOUND, Duration::from_millis(3));
        metrics.answered(Route::Token, StatusCode::IM_A_TEAPOT, Duration::from_millis(3));
        let text = metrics.encode().unwrap();
        for line in [
            r#"service_requests_total{route="/v1/region",code="200"} 1"#,
            r#"service_requests_total{route="other",code="404"} 1"#,
            r#"service_requests_total{route="/oauth2/token",code="other"} 1"#,
            r#"service_request_duration_seconds_bucket{le="0.005",route="/v1/region"} 1"#,
            r#"service_request_duration_seconds_bucket{le="0.0025",route="/v1/region"} 0"#,
        ] {
            assert!(text.contains(line), "wanted {line} in {text}");
        }
        assert!(!text.contains("secret/path"));
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn every_code_has_a_counter_of_its_own() {
        let metrics = Metrics::new();
        for code in CODES.iter().filter_map(|code| code.parse().ok()) {
            metrics.answered(Route::Jwks, StatusCode::from_u16(code).unwrap(), Duration::ZERO);
            let line = format!(r#"service_requests_total{{route="/.well-known/jwks.json",code="{code}"}} 1"#);
            assert!(metrics.encode().unwrap().contains(&line), "{line}");
        }
    }
}
