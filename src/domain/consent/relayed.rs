//! What third parties in the markup are told of consent: IAB's URL macros `${GDPR}` and
//! `${GDPR_CONSENT_<vendor id>}`.

use serde::{Deserialize, Serialize};

use super::{bits::LONGEST, policy::Reading};

/// What the macros stand for in one request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relayed {
    /// Whether the GDPR applies.
    pub gdpr: bool,
    /// The TCF string as it came; empty where there is none, or where it could break out of an
    /// address.
    pub tcf: Box<str>,
}

/// How every macro of this kind begins.
const HEAD: &str = "${GDPR";

impl Relayed {
    /// What to tell of a request; none where there is nothing to tell.
    #[must_use]
    pub fn of(reading: &Reading<'_>) -> Option<Self> {
        let sound = |text: &&str| {
            text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        let tcf = reading.tcf.filter(sound).unwrap_or_default();
        (reading.gdpr || !tcf.is_empty()).then(|| Self { gdpr: reading.gdpr, tcf: tcf.into() })
    }

    /// Puts the values into the place of the macros.
    pub fn fill_in(&self, markup: &mut String) {
        // most markup has none, which is found out much sooner than where the first one is
        if !markup.contains(HEAD) {
            return;
        }
        let mut filled = String::with_capacity(markup.len());
        let mut rest = &**markup;
        while let Some(at) = rest.find(HEAD) {
            filled.push_str(&rest[..at]);
            let behind = &rest[at + HEAD.len()..];
            let (name, after) = behind.split_once('}').unwrap_or((behind, ""));
            let vendor = name.strip_prefix("_CONSENT_").is_some_and(|id| {
                (1..=5).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit()) && behind.len() > name.len()
            });
            rest = if vendor {
                filled.push_str(&self.tcf);
                after
            } else if behind.starts_with('}') {
                filled.push(if self.gdpr { '1' } else { '0' });
                after
            } else {
                filled.push_str(HEAD);
                behind
            };
        }
        filled.push_str(rest);
        *markup = filled;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macros_are_filled_in_and_others_left() {
        let fill = |relayed: &Relayed, text: &str| {
            let mut markup = text.to_owned();
            relayed.fill_in(&mut markup);
            markup
        };
        let told = Relayed { gdpr: true, tcf: "CQ.I-_".into() };
        let text = "a?g=${GDPR}&c=${GDPR_CONSENT_755}&d=${GDPR_CONSENT_1}&p=${AUCTION_PRICE}";
        assert_eq!(fill(&told, text), "a?g=1&c=CQ.I-_&d=CQ.I-_&p=${AUCTION_PRICE}");
        assert_eq!(fill(&Relayed::default(), text), "a?g=0&c=&d=&p=${AUCTION_PRICE}");
        for left in
            ["", "${GDPR", "${GDPR_CONSENT_", "${GDPR_CONSENT_}", "${GDPR_CONSENT_x}", "${GDPR_CONSENT_9", "${GDPRS}"]
        {
            assert_eq!(fill(&told, left), left);
        }
    }

    #[test]
    fn no_string_breaks_out() {
        let of =
            |tcf| Relayed::of(&Reading { tcf: Some(tcf), ..Reading::default() }).map(|told| told.tcf.into_string());
        assert_eq!(of("CQ.I").as_deref(), Some("CQ.I"));
        for hostile in ["\"><script>", "a b", "a&b=c", "a#b", "\u{e4}"] {
            assert_eq!(of(hostile), None, "{hostile}");
        }
        assert_eq!(Relayed::of(&Reading::default()), None);
    }
}
