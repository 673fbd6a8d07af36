//! Sealed tokens: what we tell ourselves by way of others, who can neither read nor change it.
//!
//! A token is `version || key || tag || text` in URL-safe base64. The tag is 128 bits of keyed BLAKE3
//! over the text, and the text is masked with a keystream that the tag opens, so that the same text
//! always makes the same token and no two texts share a stream (the form of RFC 5297).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use super::beacon::TokenKeys;

const VERSION: u8 = 1;
const TAG: usize = 16;
const HEAD: usize = 2 + TAG;
/// The longest token that is looked at, in characters.
const LONGEST: usize = 8_192;

impl TokenKeys {
    /// Seals a text for one use, so that it opens nowhere else.
    #[must_use]
    pub fn seal(&self, purpose: &str, text: &[u8]) -> String {
        let (number, secret) = self.sealing();
        let tag = tag(secret, purpose, text);
        let mut token = Vec::with_capacity(HEAD + text.len());
        token.extend_from_slice(&[VERSION, number]);
        token.extend_from_slice(&tag);
        token.extend(masked(secret, &tag, text));
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The text of a token that was sealed for this use; none where it was not, or was changed.
    #[must_use]
    pub fn unseal(&self, purpose: &str, token: &str) -> Option<Vec<u8>> {
        let token = URL_SAFE_NO_PAD.decode(Some(token).filter(|token| token.len() <= LONGEST)?).ok()?;
        let (head, text) = token.split_at_checked(HEAD)?;
        let secret = self.unsealing(head[1]).filter(|_| head[0] == VERSION)?;
        let given: [u8; TAG] = head[2..].try_into().ok()?;
        let text = masked(secret, &given, text);
        bool::from(tag(secret, purpose, &text).ct_eq(&given)).then_some(text)
    }
}

fn tag(secret: &[u8; 32], purpose: &str, text: &[u8]) -> [u8; TAG] {
    let mut tag = [0; TAG];
    let mut hasher = blake3::Hasher::new_keyed(&blake3::derive_key("tessera 2026 seal tag", secret));
    // the length first, so that use and text cannot run into each other
    hasher.update(&(purpose.len() as u64).to_le_bytes()).update(purpose.as_bytes()).update(text);
    hasher.finalize_xof().fill(&mut tag);
    tag
}

fn masked(secret: &[u8; 32], tag: &[u8; TAG], text: &[u8]) -> Vec<u8> {
    let mut stream = vec![0; text.len()];
    let key = blake3::derive_key("tessera 2026 seal mask", secret);
    blake3::Hasher::new_keyed(&key).update(tag).finalize_xof().fill(&mut stream);
    text.iter().zip(stream).map(|(byte, mask)| byte ^ mask).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_use_alone() {
        let keys = TokenKeys::new((2, &[7; 32]), [(1, [9; 32])]);
        let token = keys.seal("late", b"u-1, who reads the news");
        assert_eq!(keys.unseal("late", &token).as_deref(), Some(&b"u-1, who reads the news"[..]));
        assert_eq!(keys.unseal("other", &token), None);
        assert_eq!(token, keys.seal("late", b"u-1, who reads the news"));
        let bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
        assert!(!bytes.windows(3).any(|part| part == b"u-1" || part == b"new"), "nothing shows");
        for at in 0..bytes.len() {
            let mut forged = bytes.clone();
            forged[at] ^= 1;
            assert_eq!(keys.unseal("late", &URL_SAFE_NO_PAD.encode(&forged)), None, "byte {at}");
            assert_eq!(keys.unseal("late", &URL_SAFE_NO_PAD.encode(&bytes[..at])), None, "{at} bytes");
        }
        assert!(["", "?", &"A".repeat(9_000)].iter().all(|text| keys.unseal("late", text).is_none()));
        // a retired secret opens what it sealed, another one nothing
        let retired = TokenKeys::new((1, &[9; 32]), []).seal("late", b"x");
        assert_eq!(keys.unseal("late", &retired).as_deref(), Some(&b"x"[..]));
        assert_eq!(TokenKeys::new((2, &[8; 32]), []).unseal("late", &token), None);
    }
}
