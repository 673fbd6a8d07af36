//! Signed tokens: what a beacon must know about its decision travels in its own URL.
//!
//! A token is `body || tag` in URL-safe base64. The body names the signing key, the account, the
//! decision and what was shown; a click's body ends with the landing URL. Tags are 128 bits of
//! keyed BLAKE3. One hash over the shared body yields the tags of impression, viewable and
//! conversion at different offsets of its extended output, so that none of them passes for
//! another; clicks have a key of their own. A person, and what learning is told of them, travel
//! masked: the URL neither shows nor links them, and no two claims of a person share a keystream, also of
//! one decision.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::domain::{
    ids::{CampaignId, CreativeId, DecisionId, Uid},
    measurement::{attribution::LONGEST_MS, exposure::Exposure, outcome::OutcomeKind},
    values::{Amount, Millis, Money, Span},
};

const VERSION: u8 = 3;
const TAG: usize = 16;
/// What the body begins with: version, key, flags, account, decision, revision, combination.
const HEAD: usize = 1 + 1 + 1 + 4 + 16 + 4 + 8;
/// Fixed part of the body: its head, person, cap window in seconds, and the lengths of the two ids.
const FIXED: usize = HEAD + 16 + 4 + 2;
/// What learning is told fills whole blocks of so many bytes, so that a token's length hardly tells of how many
/// features: one block holds as many as there may be, beside five slots and the number of an experiment.
const BLOCK: usize = 32;
const HAS_CAMPAIGN: u8 = 1;
const HAS_PERSON: u8 = 2;
const HAS_CAP: u8 = 4;
const PREVIEW: u8 = 8;
const HAS_EXPOSURE: u8 = 16;
const HAS_PRICE: u8 = 32;
const BUDGETED: u8 = 64;
const UNMEASURED: u8 = 128;

/// How long impressions and viewables count after their decision.
pub const VIEW_LIFE_MS: i64 = 48 * 3_600_000;
/// How long clicks count after their decision.
pub const CLICK_LIFE_MS: i64 = 30 * 86_400_000;
/// How long conversions may count after their decision: the longest window after the last click. The
/// campaign's own windows are judged when they are committed.
pub const CONVERSION_LIFE_MS: i64 = CLICK_LIFE_MS + LONGEST_MS;
/// How far a token's decision may lie in the future of the clock that verifies it.
pub const SKEW_MS: i64 = 5 * 60_000;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Number of the account.
    pub account: u32,
    /// The decision; its UUIDv7 carries the time at which the token's life begins.
    pub decision: DecisionId,
    /// The campaign that was shown; none for a house creative.
    pub campaign: Option<CampaignId>,
    /// The creative that was shown.
    pub creative: CreativeId,
    /// Its revision.
    pub revision: u32,
    /// Which combination of components was shown.
    pub combination: u64,
    /// Who, only where the purposes allow counting towards frequency caps.
    pub person: Option<Uid>,
    /// Whether the purposes allow counting outcomes per person.
    pub measured: bool,
    /// The longest window of the campaign's frequency caps, in whole seconds.
    pub cap_window: Option<Span>,
    /// Whether it is of a preview, which is never counted.
    pub preview: bool,
    /// What was shown, packed; none where nothing is learned from it.
    pub exposure: Option<Box<[u8]>>,
    /// What was bid per thousand impressions; only in notices of an auction.
    pub price: Option<Money>,
    /// Whether it takes from the campaign's own budget; only in notices of an auction.
    pub budgeted: bool,
}

/// The four tokens of one decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// For `/v1/i/{token}`.
    pub impression: String,
    /// For `/v1/v/{token}`.
    pub viewable: String,
    /// For `/v1/c/{token}`.
    pub click: String,
    /// For `/v1/x/{token}` and `POST /v1/conversions`.
    pub conversion: String,
}

/// A token whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub claim: Claim,
    /// Where a click leads; empty for the other kinds.
    pub landing: String,
    /// Whether it still counts.
    pub expired: bool,
}

/// The token was not signed by us, or not for this use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token is not valid")]
pub struct InvalidToken;

/// One secret with the keys derived from it.
#[derive(Clone)]
struct Key {
    number: u8,
    view: [u8; 32],
    click: [u8; 32],
    notice: [u8; 32],
    video: [u8; 32],
    person: [u8; 32],
    told: [u8; 32],
    seal: [u8; 32],
}

impl Key {
    fn new(number: u8, secret: &[u8; 32]) -> Self {
        Self {
            number,
            view: blake3::derive_key("tessera 2026 beacon view", secret),
            click: blake3::derive_key("tessera 2026 beacon click", secret),
            notice: blake3::derive_key("tessera 2026 beacon notice", secret),
            video: blake3::derive_key("tessera 2026 beacon video", secret),
            person: blake3::derive_key("tessera 2026 beacon person", secret),
            told: blake3::derive_key("tessera 2026 beacon told", secret),
            seal: blake3::derive_key("tessera 2026 seal", secret),
        }
    }

    /// Hides a person and what learning is told of them. The person, hidden by all that is told, opens the stream
    /// that hides what is told: the form of RFC 5297, which takes no room. A late frame may tell other things under
    /// the decision of its bid, so a stream for each decision would hide two texts.
    fn hide(&self, head: &[u8], person: &mut [u8], told: &mut [u8]) {
        mask(&self.person, head, told, person);
        mask(&self.told, head, person, told);
    }

    /// Undoes [`Self::hide`].
    fn show(&self, head: &[u8], person: &mut [u8], told: &mut [u8]) {
        mask(&self.told, head, person, told);
        mask(&self.person, head, told, person);
    }
}

/// Masks bytes with the stream that others open, or takes the mask off again.
fn mask(key: &[u8; 32], head: &[u8], by: &[u8], bytes: &mut [u8]) {
    let mut stream = vec![0; bytes.len()];
    blake3::Hasher::new_keyed(key).update(head).update(by).finalize_xof().fill(&mut stream);
    bytes.iter_mut().zip(stream).for_each(|(byte, key)| *byte ^= key);
}

/// An exposure with its length before it, in whole blocks; one that has no room is left out.
fn blocks(exposure: &[u8]) -> Vec<u8> {
    let told = if exposure.len() <= Exposure::LONGEST { exposure } else { &[] };
    let mut blocks = [&[told.len() as u8], told].concat();
    blocks.resize(blocks.len().next_multiple_of(BLOCK), 0);
    blocks
}

impl Key {
    /// The tag of a kind: over the shared body, those of a family lie side by side in one extended
    /// output.
    fn tag(&self, kind: OutcomeKind, body: &[u8]) -> [u8; TAG] {
        let (family, at) = match kind {
            OutcomeKind::Click => (&self.click, 0),
            OutcomeKind::Impression => (&self.view, 0),
            OutcomeKind::Viewable => (&self.view, 1),
            OutcomeKind::Conversion => (&self.view, 2),
            OutcomeKind::Win => (&self.notice, 0),
            OutcomeKind::Billing => (&self.notice, 1),
            OutcomeKind::Loss => (&self.notice, 2),
            OutcomeKind::Start => (&self.video, 0),
            OutcomeKind::FirstQuartile => (&self.video, 1),
            OutcomeKind::Midpoint => (&self.video, 2),
            OutcomeKind::ThirdQuartile => (&self.video, 3),
            OutcomeKind::Complete => (&self.video, 4),
            OutcomeKind::Error => (&self.video, 5),
        };
        let mut tags = blake3::Hasher::new_keyed(family).update(body).finalize_xof();
        tags.set_position(at * TAG as u64);
        let mut tag = [0; TAG];
        tags.fill(&mut tag);
        tag
    }
}

/// The tokens of a family of kinds, whose tags lie side by side in one extended output.
fn tokens<const N: usize>(family: &[u8; 32], body: &[u8]) -> [String; N] {
    let mut tags = [[0; TAG]; N];
    blake3::Hasher::new_keyed(family).update(body).finalize_xof().fill(tags.as_flattened_mut());
    // they begin alike: every three bytes are four characters
    let (head, rest) = body.split_at(body.len() / 3 * 3);
    let head = URL_SAFE_NO_PAD.encode(head);
    tags.map(|tag| {
        let mut token = String::with_capacity(head.len() + 2 * TAG);
        token.push_str(&head);
        URL_SAFE_NO_PAD.encode_string([rest, &tag].concat(), &mut token);
        token
    })
}

/// The secrets of this service: one signs, all verify.
#[derive(Clone)]
pub struct TokenKeys {
    active: Key,
    retired: Vec<Key>,
}

impl TokenKeys {
    /// Signs with `(number, secret)`, and verifies what the retired ones signed too.
    #[must_use]
    pub fn new(active: (u8, &[u8; 32]), retired: impl IntoIterator<Item = (u8, [u8; 32])>) -> Self {
        Self {
            active: Key::new(active.0, active.1),
            retired: retired.into_iter().map(|(number, secret)| Key::new(number, &secret)).collect(),
        }
    }

    /// The same secrets, signing with another of them; `None` when it is not among them.
    #[must_use]
    pub fn signing_with(&self, number: u8) -> Option<Self> {
        let all = || std::iter::once(&self.active).chain(&self.retired);
        let active = all().find(|key| key.number == number)?.clone();
        Some(Self { active, retired: all().filter(|key| key.number != number).cloned().collect() })
    }

    /// What seals, with the number of its secret.
    pub(super) fn sealing(&self) -> (u8, &[u8; 32]) {
        (self.active.number, &self.active.seal)
    }

    /// What the secret of this number sealed with.
    pub(super) fn unsealing(&self, number: u8) -> Option<&[u8; 32]> {
        std::iter::once(&self.active).chain(&self.retired).find(|key| key.number == number).map(|key| &key.seal)
    }

    /// The tokens of one decision. Without a landing URL and with one block to tell they have at most 300 characters
    /// where the two ids have at most 119, and 312 with the longest.
    #[must_use]
    pub fn sign(&self, claim: &Claim, landing: &str) -> Tokens {
        let key = &self.active;
        let mut body = body(claim, key);
        let [impression, viewable, conversion] = tokens(&key.view, &body);
        body.extend_from_slice(landing.as_bytes());
        let [click] = tokens(&key.click, &body);
        Tokens { impression, viewable, click, conversion }
    }

    /// The tokens of a bid, for `/v1/w/{token}` (win), `/v1/b/{token}` (billing) and `/v1/l/{token}`
    /// (loss).
    #[must_use]
    pub fn sign_notices(&self, claim: &Claim) -> [String; 3] {
        tokens(&self.active.notice, &body(claim, &self.active))
    }

    /// The tokens of a video, for `/v1/p/{token}/{event}`, in the order of [`OutcomeKind::OF_VIDEO`].
    #[must_use]
    pub fn sign_video(&self, claim: &Claim) -> [String; 6] {
        tokens(&self.active.video, &body(claim, &self.active))
    }

    /// Reads a token that arrived at the address of `kind`.
    ///
    /// # Errors
    /// The token was not signed by one of our secrets for this kind. Nothing it says is believed.
    pub fn verify(&self, kind: OutcomeKind, token: &str, now: Millis) -> Result<Verified, InvalidToken> {
        /// The longest landing URL is 2,000 bytes; everything beyond that is not ours.
        const LONGEST: usize = 4_096;
        if token.len() > LONGEST {
            return Err(InvalidToken);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
        let (body, tag) = bytes.split_last_chunk::<TAG>().ok_or(InvalidToken)?;
        let number = *body.get(1).filter(|_| body[0] == VERSION).ok_or(InvalidToken)?;
        let key =
            std::iter::once(&self.active).chain(&self.retired).find(|key| key.number == number).ok_or(InvalidToken)?;
        if !bool::from(key.tag(kind, body).ct_eq(tag)) {
            return Err(InvalidToken);
        }
        let (claim, landing) = read_body(body, key).ok_or(InvalidToken)?;
        let life = match kind {
            OutcomeKind::Click => CLICK_LIFE_MS,
            OutcomeKind::Conversion => CONVERSION_LIFE_MS,
            _ => VIEW_LIFE_MS,
        };
        let age = now.since(decided_at(claim.decision));
        Ok(Verified { claim, landing, expired: !(-SKEW_MS..life).contains(&age) })
    }
}

/// When the decision was made: the 48-bit time of its UUIDv7 (RFC 9562 section 5.7).
#[must_use]
pub fn decided_at(decision: DecisionId) -> Millis {
    Millis((decision.0.as_u128() >> 80) as i64)
}

fn body(claim: &Claim, key: &Key) -> Vec<u8> {
    let mut body = Vec::with_capacity(FIXED + 256);
    let campaign = claim.campaign.as_ref().map_or("", CampaignId::as_str);
    let flags = if claim.campaign.is_some() { HAS_CAMPAIGN } else { 0 }
        | if claim.person.is_some() { HAS_PERSON } else { 0 }
        | if claim.cap_window.is_some() { HAS_CAP } else { 0 }
        | if claim.preview { PREVIEW } else { 0 }
        | if claim.exposure.is_some() { HAS_EXPOSURE } else { 0 }
        | if claim.price.is_some() { HAS_PRICE } else { 0 }
        | if claim.budgeted { BUDGETED } else { 0 }
        | if claim.measured { 0 } else { UNMEASURED };
    let window = claim.cap_window.map_or(0, |w| u32::try_from(w.millis() / 1_000).unwrap_or(u32::MAX));
    body.extend_from_slice(&[VERSION, key.number, flags]);
    body.extend_from_slice(&claim.account.to_le_bytes());
    body.extend_from_slice(claim.decision.0.as_bytes());
    body.extend_from_slice(&claim.revision.to_le_bytes());
    body.extend_from_slice(&claim.combination.to_le_bytes());
    let mut person = claim.person.map_or(0, |person| person.0).to_le_bytes();
    let mut told = claim.exposure.as_deref().map(blocks).unwrap_or_default();
    key.hide(&body, &mut person, &mut told);
    body.extend_from_slice(&person);
    body.extend_from_slice(&window.to_le_bytes());
    // ids hold at most 64 bytes
    body.extend_from_slice(&[campaign.len() as u8, claim.creative.as_str().len() as u8]);
    body.extend_from_slice(campaign.as_bytes());
    body.extend_from_slice(claim.creative.as_str().as_bytes());
    if claim.exposure.is_some() {
        body.push((told.len() / BLOCK) as u8);
        body.extend_from_slice(&told);
    }
    if let Some(price) = claim.price {
        body.extend_from_slice(&price.amount.micros().to_le_bytes());
        body.extend_from_slice(price.currency.as_str().as_bytes());
    }
    body
}

fn read_body(body: &[u8], key: &Key) -> Option<(Claim, String)> {
    let mut rest = body;
    let mut take = |count: usize| rest.split_off(..count);
    let flags = take(3)?[2];
    let account = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let decision = DecisionId(uuid::Uuid::from_bytes(take(16)?.try_into().ok()?));
    let revision = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let combination = u64::from_le_bytes(take(8)?.try_into().ok()?);
    let mut person: [u8; 16] = take(16)?.try_into().ok()?;
    let window = u32::from_le_bytes(take(4)?.try_into().ok()?);
    let lengths = take(2)?;
    let campaign = std::str::from_utf8(take(lengths[0].into())?).ok()?;
    let creative = std::str::from_utf8(take(lengths[1].into())?).ok()?;
    let mut told = if flags & HAS_EXPOSURE == 0 {
        Vec::new()
    } else {
        let blocks = usize::from(take(1)?[0]);
        take(blocks * BLOCK)?.to_vec()
    };
    key.show(body.get(..HEAD)?, &mut person, &mut told);
    let exposure = match told.split_first() {
        Some((length, told)) => Some(told.get(..usize::from(*length))?),
        None => None,
    };
    let price = if flags & HAS_PRICE == 0 {
        None
    } else {
        let amount = Amount::from_micros(i64::from_le_bytes(take(8)?.try_into().ok()?));
        Some(Money { amount, currency: std::str::from_utf8(take(3)?).ok()?.parse().ok()? })
    };
    let claim = Claim {
        account,
        decision,
        campaign: if flags & HAS_CAMPAIGN == 0 { None } else { Some(campaign.parse().ok()?) },
        creative: creative.parse().ok()?,
        revision,
        combination,
        person: (flags & HAS_PERSON != 0).then(|| Uid(u128::from_le_bytes(person))),
        measured: flags & UNMEASURED == 0,
        cap_window: (flags & HAS_CAP != 0).then(|| Span::from_millis(i64::from(window) * 1_000)),
        preview: flags & PREVIEW != 0,
        exposure: exposure.filter(|told| !told.is_empty()).map(Box::from),
        price,
        budgeted: flags & BUDGETED != 0,
    };
    Some((claim, std::str::from_utf8(rest).ok()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::values::Currency;

    const AT: Millis = Millis(1_770_000_000_000);

    fn keys() -> TokenKeys {
        TokenKeys::new((2, &[7; 32]), [(1, [9; 32])])
    }

    fn claim() -> Claim {
        Claim {
            account: 3,
            decision: DecisionId(uuid::Uuid::from_u128((AT.0 as u128) << 80 | 0x7abc << 64 | 0x8000_1234 << 32 | 99)),
            campaign: Some("c".repeat(64).parse().expect("an id")),
            creative: "d".repeat(64).parse().expect("an id"),
            revision: 12,
            combination: u64::MAX,
            person: Some(Uid(0x1234_5678_9abc_def0_1122_3344_5566_7788)),
            measured: true,
            cap_window: Some(Span::from_millis(86_400_000)),
            preview: true,
            exposure: Some([1, 2, 3].into()),
            price: Some(Money { amount: Amount::from_micros(1_230_000), currency: Currency::USD }),
            budgeted: true,
        }
    }

    #[test]
    fn each_token_opens_only_its_own_door() {
        let (keys, claim) = (keys(), claim());
        let tokens = keys.sign(&claim, "https://shop.example/a?b=c");
        let all = [
            (OutcomeKind::Impression, &tokens.impression),
            (OutcomeKind::Viewable, &tokens.viewable),
            (OutcomeKind::Click, &tokens.click),
            (OutcomeKind::Conversion, &tokens.conversion),
        ];
        let (notices, video) = (keys.sign_notices(&claim), keys.sign_video(&claim));
        let notices = [OutcomeKind::Win, OutcomeKind::Billing, OutcomeKind::Loss].into_iter().zip(&notices);
        let all: Vec<_> = all.into_iter().chain(notices).chain(OutcomeKind::OF_VIDEO.into_iter().zip(&video)).collect();
        assert_eq!(all.len(), OutcomeKind::ALL.len());
        for &(kind, token) in &all {
            for &(other, _) in &all {
                assert_eq!(keys.verify(other, token, AT).is_ok(), kind == other, "{kind:?} at {other:?}");
            }
            let verified = keys.verify(kind, token, AT).expect("our own token");
            assert_eq!(verified.claim, claim);
            assert!(!verified.expired);
        }
        assert_eq!(
            keys.verify(OutcomeKind::Click, &tokens.click, AT).expect("our own token").landing,
            "https://shop.example/a?b=c"
        );
        let plain = Claim { budgeted: false, measured: false, ..claim.clone() };
        let told = keys.verify(OutcomeKind::Billing, &keys.sign_notices(&plain)[1], AT).expect("our own token");
        assert_eq!(told.claim, plain);
        let id = "c".repeat(119 - 64).parse().expect("an id");
        let usual = Claim { exposure: Some([1; BLOCK - 1].into()), campaign: Some(id), price: None, ..claim };
        let tokens = keys.sign(&usual, "");
        assert!([&tokens.impression, &tokens.conversion].iter().all(|token| token.len() <= 300), "{tokens:?}");
    }

    #[test]
    fn a_person_is_neither_readable_nor_linkable() {
        let (keys, one) = (keys(), claim());
        let other = Claim { decision: DecisionId(uuid::Uuid::from_u128(one.decision.0.as_u128() + 1)), ..one.clone() };
        let bytes = |claim: &Claim| URL_SAFE_NO_PAD.decode(keys.sign(claim, "").impression).expect("base64");
        let plain = one.person.expect("a person").0.to_le_bytes();
        assert_ne!(bytes(&one)[HEAD..HEAD + 16], plain);
        assert_ne!(bytes(&one)[HEAD..HEAD + 16], bytes(&other)[HEAD..HEAD + 16]);
        // nor is what learning is told of them
        let shown = one.exposure.as_deref().expect("an exposure");
        assert!(!bytes(&one).windows(3).any(|part| part == shown));
    }

    #[test]
    fn two_claims_of_one_decision_tell_no_more_than_one() {
        const FROM: usize = FIXED + 64 + 64 + 1;
        let keys = keys();
        // in an experiment and of five slots, as many as there may be
        let features = |count: u16| -> Box<[u8]> {
            let shown = Exposure { experiment: 9, version: 300, choice: vec![1; 5], ..Exposure::default() };
            Exposure { features: (1..=count).collect(), ..shown }.pack().into()
        };
        let somebody = Claim { exposure: Some(features(4)), ..claim() };
        let nobody = Claim { person: None, measured: false, exposure: Some([19, 9, 2, 4, 1, 0].into()), ..claim() };
        let others = [
            nobody,
            // only what it may be used for
            Claim { person: None, ..somebody.clone() },
            Claim { measured: false, ..somebody.clone() },
            // only what is told of them
            Claim { exposure: Some([16, 9, 2, 4, 1, 3, 5, 17, 30].into()), ..somebody.clone() },
            Claim { exposure: Some([16, 9, 2, 4, 1, 2, 5, 18].into()), ..somebody.clone() },
            Claim { exposure: Some(features(16)), ..somebody.clone() },
        ];
        let bytes = |claim: &Claim| URL_SAFE_NO_PAD.decode(keys.sign(claim, "").impression).expect("base64");
        let plain = |claim: &Claim| {
            let exposure = claim.exposure.as_deref().expect("an exposure");
            (claim.person.map_or(0, |person| person.0).to_le_bytes(), blocks(exposure))
        };
        let differ = |one: &[u8], other: &[u8]| -> Vec<u8> { one.iter().zip(other).map(|(a, b)| a ^ b).collect() };
        let (hidden, (person, told)) = (bytes(&somebody), plain(&somebody));
        for other in &others {
            let (theirs, (their_person, their_told)) = (bytes(other), plain(other));
            // what a common stream would tell of somebody from what is known of nobody
            assert_ne!(
                differ(&hidden[HEAD..][..16], &theirs[HEAD..][..16]),
                differ(&person, &their_person),
                "{other:?}"
            );
            let (ours, theirs) = (&hidden[FROM..][..BLOCK], &theirs[FROM..][..BLOCK]);
            let (differ, plainly) = (differ(ours, theirs), differ(&told, &their_told));
            assert!(differ.iter().zip(&plainly).filter(|(a, b)| a == b).count() < 6, "{other:?}");
        }
        let length = |claim: &Claim| bytes(claim).len();
        assert!(others.iter().all(|other| length(other) == length(&somebody)), "lengths tell of how many features");
    }

    #[test]
    fn every_exposure_that_has_room_arrives() {
        let keys = keys();
        for length in (1..=BLOCK * 2).chain([Exposure::LONGEST - 1, Exposure::LONGEST]) {
            let long = Claim { exposure: Some(vec![7; length].into()), ..claim() };
            let told = keys.verify(OutcomeKind::Click, &keys.sign(&long, "https://a.example/").click, AT);
            assert_eq!(told.expect("our own token").claim, long, "{length}");
        }
        for none in [0, Exposure::LONGEST + 1] {
            let odd = Claim { exposure: Some(vec![7; none].into()), ..claim() };
            let told = keys.verify(OutcomeKind::Impression, &keys.sign(&odd, "").impression, AT);
            assert_eq!(told.expect("our own token").claim, Claim { exposure: None, ..odd }, "{none}");
        }
    }

    #[test]
    fn tokens_end_and_rotate() {
        let (keys, claim) = (keys(), claim());
        let old = TokenKeys::new((1, &[9; 32]), []).sign(&claim, "");
        assert!(keys.verify(OutcomeKind::Impression, &old.impression, AT).is_ok(), "a retired secret still verifies");
        let unknown = TokenKeys::new((4, &[9; 32]), []).sign(&claim, "");
        assert_eq!(keys.verify(OutcomeKind::Impression, &unknown.impression, AT), Err(InvalidToken));
        let tokens = keys.sign(&claim, "");
        let expired = |kind, token: &str, at| keys.verify(kind, token, at).expect("a good signature").expired;
        assert!(!expired(OutcomeKind::Impression, &tokens.impression, AT.plus(VIEW_LIFE_MS - 1)));
        assert!(expired(OutcomeKind::Impression, &tokens.impression, AT.plus(VIEW_LIFE_MS)));
        assert!(!expired(OutcomeKind::Click, &tokens.click, AT.plus(CLICK_LIFE_MS - 1)));
        assert!(expired(OutcomeKind::Click, &tokens.click, AT.plus(-SKEW_MS - 1)));
    }

    proptest! {
        #[test]
        fn no_altered_token_passes(at in 0_usize..200, bit in 0_u8..6) {
            let keys = keys();
            let token = keys.sign(&claim(), "https://shop.example/").click;
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let mut bytes = token.clone().into_bytes();
            let at = at % bytes.len();
            let digit = alphabet.iter().position(|c| *c == bytes[at]).expect("a digit") ^ (1 << bit);
            bytes[at] = alphabet[digit];
            let altered = String::from_utf8(bytes).expect("ascii");
            prop_assert_eq!(keys.verify(OutcomeKind::Click, &altered, AT), Err(InvalidToken));
        }

        #[test]
        fn no_text_panics(text in ".{0,400}") {
            for kind in OutcomeKind::ALL {
                prop_assert!(keys().verify(kind, &text, AT).is_err());
            }
        }
    }
}
