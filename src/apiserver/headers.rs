//! The headers that tell the API server who sends a request (kubernetes.io, "Authenticating" and "User
//! impersonation").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use kube::config::AuthInfo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;

use super::KubeconfigProblem;
use crate::cause::Cause;

/// What the name of a header may not contain, and the percent sign (RFC 9110, section 5.6.2, "token").
const NOT_IN_A_NAME: AsciiSet = NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// The headers for these credentials. The token is not read from its file: [`super::kubeconfig`] has done so.
pub(super) fn identity(user: &AuthInfo) -> Result<HeaderMap, KubeconfigProblem> {
    let mut headers = HeaderMap::new();
    let authorization = match (&user.username, &user.password, &user.token) {
        (Some(name), Some(password), _) => {
            Some(format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose_secret()))))
        }
        (_, _, Some(token)) => Some(format!("Bearer {}", token.expose_secret())),
        _ => None,
    };
    if let Some(text) = authorization {
        let mut value = value(&text)?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if let Some(name) = &user.impersonate {
        headers.insert("impersonate-user", value(name)?);
    }
    if let Some(uid) = &user.impersonate_uid {
        headers.insert("impersonate-uid", value(uid)?);
    }
    for group in user.impersonate_groups.iter().flatten() {
        headers.append("impersonate-group", value(group)?);
    }
    for (key, values) in user.impersonate_user_extra.iter().flatten() {
        let name = format!("impersonate-extra-{}", utf8_percent_encode(key, &NOT_IN_A_NAME));
        let name = HeaderName::try_from(name).map_err(|e| KubeconfigProblem::Credentials(Cause::new(e)))?;
        for text in values {
            headers.append(name.clone(), value(text)?);
        }
    }
    Ok(headers)
}

fn value(text: &str) -> Result<HeaderValue, KubeconfigProblem> {
    HeaderValue::from_str(text).map_err(|e| KubeconfigProblem::Credentials(Cause::new(e)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's verdict is a panic")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(user: Value) -> Vec<String> {
        let headers = identity(&serde_json::from_value(user).unwrap()).unwrap();
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        lines
    }

    #[test]
    fn a_user_is_known_by_its_token_or_its_password() {
        assert_eq!(shown(json!({})), [""; 0]);
        assert_eq!(shown(json!({ "token": "a.b.c" })), ["authorization: Bearer a.b.c"]);
        // base64 of "me:secret".
        let password = json!({ "token": "a.b.c", "username": "me", "password": "secret" });
        assert_eq!(shown(password), ["authorization: Basic bWU6c2VjcmV0"]);
    }

    #[test]
    fn a_user_may_act_as_another_one() {
        let user = json!({
            "as": "admin", "as-uid": "12", "as-groups": ["a", "b"], "as-user-extra": { "acme.com/Scope%": ["r", "w"] },
        });
        assert_eq!(
            shown(user),
            [
                "impersonate-extra-acme.com%2fscope%25: r",
                "impersonate-extra-acme.com%2fscope%25: w",
                "impersonate-group: a",
                "impersonate-group: b",
                "impersonate-uid: 12",
                "impersonate-user: admin",
            ]
        );
    }

    #[test]
    fn what_no_header_can_hold_is_refused() {
        let user = serde_json::from_value(json!({ "as": "two\nlines" })).unwrap();
        assert!(matches!(identity(&user), Err(KubeconfigProblem::Credentials(_))));
    }
}
