//! What can go wrong between this command and a region's API server, said so that it can be acted upon.

use std::fmt;
use std::time::Duration;

use kube::core::Status;

/// The policy that refuses what comes from a run that lost its Lease; the chart has it.
pub const FENCE_POLICY: &str = "fence.meridian.meridian.internal";

/// A call that failed: in which region, what it was to do, and why.
#[derive(Debug, thiserror::Error)]
#[error("{region}: {verb} {object}: {cause}; {}", .cause.advice(context))]
pub struct ClusterError {
    /// The region's name.
    pub region: String,
    /// The kubeconfig context of the region.
    pub context: String,
    /// Such as `get` or `apply`.
    pub verb: &'static str,
    /// What it was about.
    pub object: String,
    /// Why it failed.
    pub cause: Cause,
}

/// Why a call failed.
#[derive(Debug)]
pub enum Cause {
    /// The kubeconfig, or the context in it, is missing or wrong.
    Access(String),
    /// No answer could be had.
    Unreachable(String),
    /// No answer came in time.
    TimedOut(Duration),
    /// The API server does not know the caller.
    Unauthorized(String),
    /// The API server answered with an error.
    Api(Box<Status>),
    /// The region does not serve the kind.
    Unserved(String),
    /// What something should be forwarded to is not there.
    Unready(String),
    /// An answer that cannot be understood.
    Unexpected(String),
}

impl ClusterError {
    /// What it says, where the region is named already.
    pub fn within_region(&self) -> String {
        let text = self.to_string();
        text.strip_prefix(&format!("{}: ", self.region)).map(str::to_owned).unwrap_or(text)
    }
}

impl Cause {
    /// From an error of the client. Its credential errors quote what a plugin printed, which may be a token,
    /// so only what is known to be harmless is kept.
    pub fn from_client(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 401 => Self::Unauthorized(status.message.clone()),
            kube::Error::Api(status) => Self::Api(status),
            kube::Error::Auth(error) => Self::Access(credentials(&error)),
            kube::Error::Service(error) => match error.downcast_ref::<kube::client::AuthError>() {
                Some(error) => Self::Access(credentials(error)),
                None => Self::Unreachable(chain(error.as_ref())),
            },
            kube::Error::HyperError(error) => Self::Unreachable(chain(&error)),
            kube::Error::RustlsTls(error) => {
                Self::Access(format!("the TLS settings of the context: {error}"))
            }
            kube::Error::SerdeError(error) => Self::Unexpected(format!(
                "not the expected JSON (line {}, column {})",
                error.line(),
                error.column()
            )),
            other => Self::Unexpected(chain(&other)),
        }
    }

    /// The API server's status, when it gave one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Api(status) => Some(status),
            _ => None,
        }
    }

    /// Whether the API server answered at all, whatever it said.
    pub fn is_answer(&self) -> bool {
        matches!(self, Self::Api(_) | Self::Unauthorized(_) | Self::Unserved(_))
    }

    /// Whether the same call may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TimedOut(_) => true,
            Self::Api(status) => matches!(status.code, 0 | 429 | 500 | 502..=504) && !is_unfit(status),
            _ => false,
        }
    }

    /// Whether a region's fence refused it: another run has taken the region over.
    pub fn is_fenced(&self) -> bool {
        matches!(self, Self::Api(status) if status.message.contains(FENCE_POLICY))
    }

    /// What to do next.
    fn advice(&self, context: &str) -> String {
        match self {
            Self::Access(_) => "check the context in the kubeconfig (`kubectl config get-contexts`)".into(),
            Self::Unreachable(_) | Self::TimedOut(_) => {
                format!("check the way to it with `kubectl --context {context} get --raw /readyz`")
            }
            Self::Unauthorized(_) => {
                format!("get new credentials for context {context}, then run again")
            }
            Self::Api(_) if self.is_fenced() => {
                "see what the other run does with `regions status`, then run again".into()
            }
            Self::Api(status) => match status.code {
                403 if is_policy(status) => {
                    "a policy of the cluster refuses it: correct the release, or ask whoever keeps the policy"
                        .into()
                }
                403 => format!(
                    "grant it, or see what is granted with `kubectl --context {context} auth can-i --list`"
                ),
                404 => "it may have been deleted meanwhile: run again".into(),
                409 => "somebody else wrote it meanwhile: run again".into(),
                _ if is_unfit(status) => "correct the chart or the catalogue".into(),
                400 | 422 => "correct the chart or the catalogue".into(),
                _ => "run again; if it stays, look at the API server's own log".into(),
            },
            Self::Unready(_) => {
                format!(
                    "look at it with `kubectl --context {context} get pods,endpointslices --all-namespaces`"
                )
            }
            Self::Unserved(_) => "install what serves it, or take it out of the chart".into(),
            Self::Unexpected(_) => "check that the context's server is a Kubernetes API server".into(),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(why) | Self::Unserved(why) | Self::Unready(why) | Self::Unexpected(why) => {
                f.write_str(why)
            }
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::TimedOut(after) => write!(f, "no answer within {} s", after.as_secs_f64()),
            Self::Unauthorized(why) => write!(f, "the credentials are refused or have expired ({why})"),
            Self::Api(status) => write!(f, "{} ({})", status.message, status.code),
        }
    }
}

/// Whether a policy refused what the caller has the right to write.
fn is_policy(status: &Status) -> bool {
    let says = |what| status.message.contains(what);
    says("ValidatingAdmissionPolicy") || says("admission webhook") || says("violates PodSecurity")
}

/// Whether the object does not fit its schema, which the API server calls an internal error.
fn is_unfit(status: &Status) -> bool {
    status.message.contains("failed to create typed patch object")
}

/// An error and its causes in one line, each said once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}

fn credentials(error: &kube::client::AuthError) -> String {
    use kube::client::AuthError as Error;
    match error {
        Error::AuthExecStart(error) => format!("the context's credential plugin cannot be run: {error}"),
        Error::AuthExecRun { out, .. } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
            format!("the context's credential plugin failed ({}): {said}", out.status)
        }
        Error::AuthExecParse(_) | Error::ExecPluginFailed | Error::ParseTokenKey(_) => {
            "the context's credential plugin printed no credentials".into()
        }
        Error::ReadTokenFile(error, path) => {
            format!("the token file {} cannot be read: {error}", path.display())
        }
        _ => "the context's credentials cannot be used".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_region_call_cause_and_what_to_do() {
        let error = ClusterError {
            region: "eu".into(),
            context: "meridian-qa-eu".into(),
            verb: "apply",
            object: "Deployment meridian/service".into(),
            cause: Cause::Api(Status::failure("nope", "Forbidden").with_code(403).boxed()),
        };
        assert_eq!(
            error.to_string(),
            "eu: apply Deployment meridian/service: nope (403); \
             grant it, or see what is granted with `kubectl --context meridian-qa-eu auth can-i --list`"
        );
    }

    #[test]
    fn a_policy_that_refuses_is_told_from_a_right_that_lacks() {
        let advice = |message: &str| {
            let status = Status::failure(message, "Forbidden").with_code(403);
            Cause::Api(status.boxed()).advice("eu")
        };
        let fence = "configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'fence.meridian.meridian.internal' with binding \
                     'fence.meridian.meridian.internal' denied request: fence 1 is lower than 2";
        assert_eq!(advice(fence), "see what the other run does with `regions status`, then run again");
        let other = "ValidatingAdmissionPolicy 'images' with binding 'images' denied request: unsigned";
        assert!(advice(other).starts_with("a policy of the cluster refuses it"));
        assert!(advice("User \"a\" cannot patch resource").starts_with("grant it"));
    }

    #[test]
    fn what_a_credential_plugin_printed_is_never_quoted() {
        use std::os::unix::process::ExitStatusExt;
        let out = std::process::Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: b"canary-token".into(),
            stderr: b"first\nplease log in\n".into(),
        };
        let error =
            kube::client::AuthError::AuthExecRun { cmd: "plugin canary-token".into(), out: Box::new(out) };
        let text = Cause::from_client(kube::Error::Auth(error)).to_string();
        assert!(text.contains("please log in") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let api = |code| Cause::Api(Status::failure("", "").with_code(code).boxed());
        assert!(api(503).is_transient() && api(429).is_transient());
        assert!(!api(409).is_transient() && !api(403).is_transient());
        assert!(!Cause::Unauthorized(String::new()).is_transient());
    }
}
