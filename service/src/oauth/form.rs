//! The body of a token request.

use zeroize::Zeroizing;

use super::refusal::Refusal;

/// The parameters that the token endpoint knows. Others are ignored (RFC 6749 §3.2).
#[derive(Default)]
pub struct Form {
    /// What kind of grant is asked for.
    pub grant_type: Option<String>,
    /// The scopes asked for.
    pub scope: Option<String>,
    /// The resource that the token is for (RFC 8707).
    pub resource: Option<String>,
    /// The client's id, when it authenticates in the body.
    pub client_id: Option<String>,
    /// The client's secret, when it authenticates in the body.
    pub client_secret: Option<Zeroizing<String>>,
}

impl Form {
    /// Reads a body of the type `application/x-www-form-urlencoded`. A parameter without a value counts
    /// as absent.
    ///
    /// # Errors
    /// A parameter is there twice.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let mut form = Form::default();
        for (name, value) in form_urlencoded::parse(body) {
            if value.is_empty() {
                continue;
            }
            let twice = match &*name {
                "grant_type" => form.grant_type.replace(value.into_owned()).is_some(),
                "scope" => form.scope.replace(value.into_owned()).is_some(),
                "resource" => form.resource.replace(value.into_owned()).is_some(),
                "client_id" => form.client_id.replace(value.into_owned()).is_some(),
                "client_secret" => form.client_secret.replace(Zeroizing::new(value.into_owned())).is_some(),
                _ => false,
            };
            if twice {
                return Err(Refusal::InvalidRequest("a parameter is given twice"));
            }
        }
        Ok(form)
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Form")
            .field("grant_type", &self.grant_type)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn unknown_and_empty_parameters_are_ignored_and_known_ones_stand_once() {
        let form = Form::read(b"grant_type=client_credentials&scope=&more=1&more=2&scope=a+b").unwrap();
        assert_eq!(form.grant_type.as_deref(), Some("client_credentials"));
        assert_eq!(form.scope.as_deref(), Some("a b"));
        assert!(Form::read(b"scope=a&scope=b").is_err());
        assert!(Form::read(b"client_secret=a&client_secret=a").is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        let form = Form::read(b"client_id=a&client_secret=canary").unwrap();
        assert!(!format!("{form:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Form::read(&bytes);
        }
    }
}
