//! What a draft or a revision would show: compiled and rendered by the code that serves.

use std::{sync::Arc, time::Instant};

use super::{Authoring, AuthoringError, Expect, Workspace};
use crate::{
    domain::{
        audience::{
            compile::RuleSet,
            context::Context,
            evaluate::{Evaluator, UserView},
            profile::Traits,
            verdict::Verdict,
        },
        catalog::{
            audit::revision_crid,
            creative::Creative,
            document::{AdvertiserDoc, RevisionDoc, Rotation},
            key::{DocumentKey, Kind},
            links, salvage,
        },
        creative::{Combinations, CreativeDoc, Intricate, lint},
        decision::{
            assemble::{Assembled, Issuer, assemble_unasked, contents},
            choose::Manner,
            decided::Item,
            goods::content_crid,
            proof,
            rotation::Sticky,
        },
        ids::{CreativeId, NameHash, SegmentKey},
        values::{Format, Millis, Size},
        violation::Violation,
    },
    engine::world::World,
};

/// A draft, as it would be published now, or one of its revisions.
pub struct Proof {
    /// What it is made of.
    pub doc: RevisionDoc,
    /// The same, ready to be rendered.
    pub creative: Arc<Creative>,
    /// Why it could not be published as it is. What has faults of its own is left out of
    /// [`Self::creative`].
    pub faults: Vec<Violation>,
    /// Tells the draft from others, for publishing just this one; none of a revision.
    pub tag: Option<u64>,
    /// Whose it is.
    advertiser: Option<AdvertiserDoc>,
    /// The segments that its targeting is bound to.
    rules: Arc<RuleSet>,
}

/// Somebody to look at a creative for.
#[derive(Debug, Clone, Default)]
pub struct Persona {
    /// The segments.
    pub segments: Vec<SegmentKey>,
    /// What is known of them; without segments, those that follow from it.
    pub traits: Option<Traits>,
    /// Where and on what they look, and in which language.
    pub context: Context,
}

/// An ad of a creative: what [`Proof::render`] takes.
pub struct Ad {
    /// The template by its position, and the size it is shown in.
    pub variant: (usize, Option<Size>),
    /// An option per slot.
    pub chosen: Vec<u32>,
}

/// One combination in one template, rendered.
pub struct Rendered {
    /// What a decision would hold of it.
    pub item: Item,
    /// What was made of it.
    pub assembled: Assembled,
    /// What its author should look at.
    pub lint: Vec<Violation>,
}

impl Authoring {
    /// Compiles a creative's draft as far as that goes, or a revision of it.
    ///
    /// # Errors
    /// See [`AuthoringError`]; invalid when nothing of the draft can be shown.
    pub async fn proof(&self, account: u32, id: &CreativeId, revision: Option<u32>) -> Result<Proof, AuthoringError> {
        for _ in 0..Self::TRIES {
            let Some(mut work) = self.draft(account, id, Expect::Any, None).await? else { continue };
            let (doc, creative, faults) = match revision {
                Some(wanted) => {
                    let (doc, creative, _) = self.again(account, &mut work, id, wanted).await?;
                    (doc, creative, Vec::new())
                }
                None => self.draft_with_faults(&work, id, work.next_number(id.as_str()))?,
            };
            let (creative, tag) = (Arc::new(creative), revision.is_none().then(|| work.draft_tag(id)));
            let advertiser = work.typed(Kind::Advertiser, doc.creative.advertiser.as_str());
            let beside = tag.map(|_| work.surroundings());
            let mut proof = Proof { doc, creative, faults, tag, advertiser, rules: work.rules };
            let (Some(beside), now) = (beside, self.clock.now()) else { return Ok(proof) };
            let judged = move || {
                let refused = beside.refusals(&proof.creative, &proof.doc, now);
                let fresh: Vec<_> = refused.into_iter().filter(|fault| !proof.faults.contains(fault)).collect();
                proof.faults.extend(fresh);
                proof
            };
            let judged = tokio::task::spawn_blocking(judged).await;
            return Ok(judged.unwrap_or_else(|gone| std::panic::resume_unwind(gone.into_panic())));
        }
        Err(AuthoringError::Contended)
    }

    /// A revision as an exchange may ask for it: also one of a creative that was deleted since.
    ///
    /// # Errors
    /// See [`AuthoringError`].
    pub async fn bid_revision(&self, account: u32, id: &CreativeId, wanted: u32) -> Result<Proof, AuthoringError> {
        match self.proof(account, id, Some(wanted)).await {
            Err(AuthoringError::NotFound(_)) => {}
            found => return found,
        }
        let key = DocumentKey::new(Kind::Revision, format!("{id}/{wanted}"));
        let last = self.store.history(account, key.clone(), None, 1).await?.pop();
        let last = last.ok_or_else(|| AuthoringError::NotFound(key.clone()))?;
        for _ in 0..Self::TRIES {
            let Some((mut work, _)) = self.begin(account, &key, Expect::Any, vec![]).await? else { continue };
            if !self.load_rules(account, &mut work, &key).await? {
                continue;
            }
            work.put(key.clone(), last.body.clone());
            let (doc, creative, _) = self.again(account, &mut work, id, wanted).await?;
            let advertiser = work.typed(Kind::Advertiser, doc.creative.advertiser.as_str());
            let creative = Arc::new(creative);
            return Ok(Proof { doc, creative, faults: Vec::new(), tag: None, advertiser, rules: work.rules });
        }
        Err(AuthoringError::Contended)
    }

    /// The draft, what of it compiles, and the faults of the rest.
    fn draft_with_faults(
        &self,
        work: &Workspace,
        id: &CreativeId,
        number: u32,
    ) -> Result<(RevisionDoc, Creative, Vec<Violation>), AuthoringError> {
        let gone = || AuthoringError::NotFound(DocumentKey::new(Kind::Creative, id.as_str()));
        let doc = work.drafted(id.as_str(), number, self.clock.now()).ok_or_else(gone)?;
        let (mut rest, mut faults) = (doc.clone(), Vec::new());
        loop {
            match work.compiled(id.as_str(), &rest, self.catalogue.public_url()) {
                Ok(creative) => return Ok((doc, creative, faults)),
                Err(found) => {
                    let more = salvage::without(&mut rest, &found);
                    // what stands on something that was taken out has no fault of its own
                    if faults.is_empty() {
                        faults = found;
                    }
                    if !more {
                        return Err(AuthoringError::Invalid(faults));
                    }
                }
            }
        }
    }
}

impl Workspace {
    /// Tells a creative's draft, with its templates and components as they are, from any other.
    pub(super) fn draft_tag(&self, creative: &CreativeId) -> u64 {
        let draft: Option<CreativeDoc> = self.typed(Kind::Creative, creative.as_str());
        let templates = draft.iter().flat_map(|draft| &draft.templates);
        let keys = templates.map(|id| DocumentKey::new(Kind::Template, id.as_str()));
        let keys = keys.chain([DocumentKey::new(Kind::Creative, creative.as_str())]);
        let prefix = format!("{creative}/");
        let components = self.of(Kind::Component, &prefix).map(|(key, _)| key.clone());
        let all = keys.chain(components).filter_map(|key| {
            let (version, _) = self.documents.get(&key)?.as_ref()?;
            Some(format!("{key} {version}\n"))
        });
        NameHash::of(&all.collect::<String>()).0
    }
}

impl Proof {
    /// Among how many combinations an ad is looked for by its content.
    pub const MOST: u128 = 300_000;

    /// The segments of a persona that do not exist.
    #[must_use]
    pub fn unknown<'a>(&self, persona: &'a Persona) -> Vec<&'a SegmentKey> {
        persona.segments.iter().filter(|key| self.rules.ix(key).is_none()).collect()
    }

    /// Per slot the components that anybody, or one persona, may see at `now`; the default where
    /// there are none.
    #[must_use]
    pub fn options(&self, persona: Option<&Persona>, now: Millis) -> Vec<Vec<u32>> {
        let Some(persona) = persona else { return proof::options(&self.creative, now) };
        let forced = persona.segments.iter().filter_map(|key| Some((self.rules.ix(key)?, Verdict::ALWAYS)));
        let forced: Vec<_> = forced.collect();
        let only_forced = persona.traits.is_none() || !persona.segments.is_empty();
        let request_traits = persona.traits.as_ref();
        let view = UserView { forced: &forced, only_forced, request_traits, ..UserView::default() };
        let mut evaluator = Evaluator::new(&self.rules, view, &persona.context, now);
        let manner = Manner {
            sticky: Sticky(0),
            rotation: Rotation::Weighted,
            control: None,
            language: persona.context.language.as_ref(),
            languages: None,
            video: None,
            native: None,
            now,
        };
        proof::options_for(&self.creative, &manner, |component| {
            component.condition.as_ref().is_none_or(|condition| evaluator.condition(condition).holds())
        })
    }

    /// The legal combinations of [`Self::options`].
    ///
    /// # Errors
    /// The pairing rules are too intricate to be counted.
    pub fn combinations(&self, persona: Option<&Persona>, now: Millis) -> Result<Combinations, Intricate> {
        Combinations::of(&self.creative.pairing, &self.options(persona, now))
    }

    /// The ad that a `crid` names: a template, its size and an option per slot. A revision's is shown
    /// with its first combination; a content's is looked for among all that could ever be shown, the
    /// first [`Self::MOST`] of them, and not after `until`.
    ///
    /// # Errors
    /// The pairing rules are too intricate to be counted.
    pub fn ad(
        &self,
        wanted: &str,
        (account, world, _): (u32, &World, &str),
        now: Millis,
        until: Instant,
    ) -> Result<Option<Ad>, Intricate> {
        let creative = &self.creative;
        let variants = self.variants(None, None);
        let all = Combinations::of(&creative.pairing, &proof::everything(creative))?;
        if let Some(of) =
            variants.iter().find(|(at, size)| revision_crid(creative, creative.variants[*at].shape.0, *size) == wanted)
        {
            return Ok(all.nth(0).map(|chosen| Ad { variant: *of, chosen }));
        }
        let live = world.account(account);
        let picked = |at| live.map_or_else(Vec::new, |live| proof::picked(creative, at, &live.snapshot, now));
        let picked: Vec<_> = variants.iter().map(|(at, _)| picked(*at)).collect();
        for chosen in (0..all.count().min(Self::MOST)).filter_map(|number| all.nth(number)) {
            let choice = proof::choice(creative, &chosen);
            let named = |((at, _), picked): &(&(usize, _), &Vec<_>)| {
                content_crid(creative, &creative.variants[*at], &choice, picked) == wanted
            };
            if let Some((variant, _)) = variants.iter().zip(&picked).find(named) {
                return Ok(Some(Ad { variant: *variant, chosen }));
            }
            if Instant::now() > until {
                break;
            }
        }
        Ok(None)
    }

    /// The templates that a format and a size ask for: all of them where neither is given. Each by
    /// its position with the size it is shown in.
    #[must_use]
    pub fn variants(&self, format: Option<Format>, size: Option<Size>) -> Vec<(usize, Option<Size>)> {
        let formats = format.map_or(vec![Format::Html, Format::Native, Format::Vast], |format| vec![format]);
        if size.is_some() {
            return self.creative.variant(&formats, size.as_slice()).into_iter().collect();
        }
        let all = self.creative.variants.iter().enumerate().filter(|(_, variant)| formats.contains(&variant.shape.0));
        all.map(|(at, variant)| (at, variant.shape.1)).collect()
    }

    /// Renders a combination, given by an option per slot.
    #[must_use]
    pub fn render(
        &self,
        (account, world, public_url): (u32, &World, &str),
        (variant, size): (usize, Option<Size>),
        chosen: &[u32],
        now: Millis,
    ) -> Option<Rendered> {
        let mut item = proof::item(&self.creative, variant, size, chosen, now);
        if let Some((showing, live)) = item.shown.as_mut().zip(world.account(account)) {
            showing.picked = proof::picked(&self.creative, variant, &live.snapshot, now);
        }
        let issuer = Issuer { account, keys: &world.tokens, public_url };
        let showing = item.shown.as_ref()?;
        let assembled = assemble_unasked(&item, showing, issuer);
        let of = &self.creative.variants[variant];
        let values = contents(showing).map(|(.., value)| serde_json::from_str(value.as_json()).unwrap_or_default());
        let values: Vec<_> = values.collect();
        let mut found = lint(&of.template, &assembled.markup, size, &values);
        found.extend(self.advertiser.iter().flat_map(|advertiser| links::lint(of, &values, advertiser)));
        Some(Rendered { item, assembled, lint: found })
    }
}

impl Rendered {
    /// What stands in each slot of the template: the slot, the component (none for the default)
    /// and the value as JSON.
    pub fn contents(&self) -> impl Iterator<Item = (&str, Option<&str>, &str)> {
        let contents = self.item.shown.iter().flat_map(contents);
        contents.map(|(slot, component, value)| (slot.as_str(), component.map(|id| id.as_str()), value.as_json()))
    }
}
