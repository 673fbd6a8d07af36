//! Tokens by which a page names a person whom its server has signed in.
//!
//! A token is `version || expiry || tag || masked key` in URL-safe base64. The tag is a keyed BLAKE3
//! of account's secret over expiry and key; the key is masked with a keystream that the tag opens,
//! so that the token shows nobody's name.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::domain::{ids::UserKey, values::Millis};

const VERSION: u8 = 1;
const TAG: usize = 16;
const HEAD: usize = 1 + 8 + TAG;

/// The longest life of a token.
pub const LONGEST_MS: i64 = 30 * 86_400_000;

/// Names `user` until `expires`, in the account that holds `secret`.
#[must_use]
pub fn sign(secret: &[u8; 32], user: &UserKey, expires: Millis) -> String {
    let tag = tag(secret, user.as_str().as_bytes(), expires);
    let mut token = vec![VERSION];
    token.extend_from_slice(&expires.0.to_be_bytes());
    token.extend_from_slice(&tag);
    token.extend(masked(secret, &tag, user.as_str().as_bytes()));
    URL_SAFE_NO_PAD.encode(token)
}

/// Whom a token names, if it was signed with this secret and is not over.
#[must_use]
pub fn verify(secret: &[u8; 32], token: &str, now: Millis) -> Option<UserKey> {
    let token = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (head, key) = token.split_at_checked(HEAD)?;
    let expires = Millis(i64::from_be_bytes(head.get(1..9)?.try_into().ok()?));
    let given: [u8; TAG] = head[9..].try_into().ok()?;
    let key = masked(secret, &given, key);
    let good = bool::from(tag(secret, &key, expires).ct_eq(&given)) && head[0] == VERSION && now < expires;
    String::from_utf8(key).ok().filter(|_| good)?.parse().ok()
}

fn tag(secret: &[u8; 32], user: &[u8], expires: Millis) -> [u8; TAG] {
    let key = blake3::derive_key("tessera 2026 user token", secret);
    let mut tag = [0; TAG];
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(&expires.0.to_be_bytes()).update(user).finalize_xof().fill(&mut tag);
    tag
}

fn masked(secret: &[u8; 32], tag: &[u8; TAG], text: &[u8]) -> Vec<u8> {
    let key = blake3::derive_key("tessera 2026 user token mask", secret);
    let mut stream = vec![0; text.len()];
    blake3::Hasher::new_keyed(&key).update(tag).finalize_xof().fill(&mut stream);
    text.iter().zip(stream).map(|(byte, mask)| byte ^ mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_one_person_in_one_account_for_a_while() {
        let user: UserKey = "J\u{f6}rg/1".parse().expect("a key");
        let token = sign(&[7; 32], &user, Millis(100));
        assert_eq!(verify(&[7; 32], &token, Millis(99)), Some(user.clone()));
        assert_eq!(verify(&[7; 32], &token, Millis(100)), None);
        assert_eq!(verify(&[8; 32], &token, Millis(0)), None);
        let bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
        assert!(!bytes.windows(2).any(|pair| pair == b"rg"), "the name does not show");
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert_eq!(verify(&[7; 32], &URL_SAFE_NO_PAD.encode(forged), Millis(0)), None, "byte {at}");
        }
        for short in 0..bytes.len() {
            assert_eq!(verify(&[7; 32], &URL_SAFE_NO_PAD.encode(&bytes[..short]), Millis(0)), None);
        }
        assert_eq!(verify(&[7; 32], "?", Millis(0)), None);
    }
}
