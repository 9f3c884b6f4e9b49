//! Basic authentication against bcrypt hashes.

use std::collections::{BTreeMap, HashMap};

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use config::Secret;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// Verdicts that are remembered. A hash takes a tenth of a second by design, a Prometheus that scrapes us asks every few seconds.
const REMEMBERED_MAX: usize = 100;
/// User, hash and password.
type Claim = (String, String, String);

/// Compares passwords, one at a time: whoever guesses gets one core at most.
pub(super) struct Passwords {
    remembered: Mutex<HashMap<Claim, bool>>,
    one_at_a_time: Semaphore,
}

impl Default for Passwords {
    fn default() -> Passwords {
        Passwords { remembered: Mutex::default(), one_at_a_time: Semaphore::new(1) }
    }
}

impl Passwords {
    /// Whether the request names a user and the user's password.
    pub(super) async fn allow(&self, users: &BTreeMap<String, Secret>, headers: &HeaderMap) -> bool {
        let Some((user, password)) = credentials(headers) else { return false };
        let known = users.get(&user);
        // Asking for an unknown user takes as long as for a known one.
        let Some(hash) = known.or(users.values().next()).map(|hash| hash.reveal().to_owned()) else { return false };
        let claim = (user, hash, password);
        if let Some(verdict) = self.remembered.lock().get(&claim) {
            return *verdict;
        }
        let Ok(_permit) = self.one_at_a_time.acquire().await else { return false };
        // Somebody may have compared the same meanwhile.
        if let Some(verdict) = self.remembered.lock().get(&claim) {
            return *verdict;
        }
        let (password, hash) = (claim.2.clone(), claim.1.clone());
        let compared = tokio::task::spawn_blocking(move || bcrypt::verify(password, &hash)).await;
        let verdict = known.is_some() && matches!(compared, Ok(Ok(true)));
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(claim, verdict);
        verdict
    }
}

/// User and password of `Authorization: Basic`.
fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = decoded.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_well_formed_credentials_are_read() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            credentials(&headers)
        };
        let pair = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(read("Basic YWxpY2U6c2VjcmV0"), pair("alice", "secret"));
        assert_eq!(read("basic YTpiOmM="), pair("a", "b:c"));
        for bad in ["Bearer YWxpY2U6c2VjcmV0", "Basic", "Basic ????", "Basic YWxpY2U=", "Basic /w=="] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(credentials(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn passwords_are_compared_and_verdicts_follow_the_hash() {
        let hash = |password: &str| Secret::new(bcrypt::hash(password, 4).unwrap());
        let passwords = Passwords::default();
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Basic YWxpY2U6c2VjcmV0"));
        let mut users: BTreeMap<String, Secret> = [("alice".to_owned(), hash("secret"))].into();
        assert!(passwords.allow(&users, &headers).await);
        assert!(passwords.allow(&users, &headers).await);
        users.insert("alice".to_owned(), hash("another"));
        assert!(!passwords.allow(&users, &headers).await);
        users.remove("alice");
        assert!(!passwords.allow(&users, &headers).await);
        assert!(!passwords.allow(&users, &HeaderMap::new()).await);
    }
}
