//! What a draft or a revision would show: compiled and rendered by the code that serves.

use std::{sync::Arc, time::Instant};

use super::{Authoring, AuthoringError, Expect, number};
use crate::{
    domain::{
        audience::{
            compile::RuleSet,
            context::Context,
            evaluate::{Evaluator, UserView},
            verdict::Verdict,
        },
        catalog::{
            audit::revision_crid,
            creative::Creative,
            document::{RevisionDoc, Rotation},
            key::Kind,
        },
        consent::Purposes,
        creative::{Combinations, Intricate, lint},
        decision::{
            assemble::{Assembled, Issuer, assemble, contents},
            choose::Manner,
            decided::Item,
            goods::content_crid,
            proof,
            request::{AdRequest, PlacementRequest},
            rotation::Sticky,
        },
        ids::{CreativeId, SegmentKey},
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
    /// The segments that its targeting is bound to.
    rules: Arc<RuleSet>,
}

/// Somebody to look at a creative for, who is in just these segments.
#[derive(Debug, Clone, Default)]
pub struct Persona {
    /// The segments.
    pub segments: Vec<SegmentKey>,
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
    /// Compiles a creative's draft, or a revision of it.
    ///
    /// # Errors
    /// See [`AuthoringError`]; invalid when the draft cannot be served as it is.
    pub async fn proof(&self, account: u32, id: &CreativeId, revision: Option<u32>) -> Result<Proof, AuthoringError> {
        for _ in 0..Self::TRIES {
            let Some(mut work) = self.draft(account, id, Expect::Any).await? else { continue };
            let newest = work.of(Kind::Revision, &format!("{id}/")).filter_map(|(key, _)| number(&key.id)).max();
            let (doc, creative, _) = match revision {
                Some(wanted) => self.again(account, &mut work, id, wanted).await?,
                None => self.compile(&work, id, newest.unwrap_or_default() + 1)?,
            };
            return Ok(Proof { doc, creative: Arc::new(creative), rules: work.rules });
        }
        Err(AuthoringError::Contended)
    }

    /// The newest revisions of a creative, the last one first.
    ///
    /// # Errors
    /// See [`AuthoringError`].
    pub async fn revision_numbers(&self, account: u32, id: &CreativeId) -> Result<Vec<u32>, AuthoringError> {
        /// More than are published in a few days.
        const NEWEST: usize = 64;
        let own = self.store.list(account, Kind::Revision, format!("{id}/"), None, Self::MANY).await?;
        let mut numbers: Vec<u32> = own.rows.iter().filter_map(|row| number(&row.key.id)).collect();
        numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
        numbers.truncate(NEWEST);
        Ok(numbers)
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
        let view = UserView { forced: &forced, only_forced: true, ..UserView::default() };
        let mut evaluator = Evaluator::new(&self.rules, view, &persona.context, now);
        let manner = Manner {
            sticky: Sticky(0),
            rotation: Rotation::Weighted,
            control: None,
            language: persona.context.language.as_ref(),
            video: None,
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
        let (request, placement) = (AdRequest::default(), PlacementRequest::default());
        let assembled = assemble(&item, showing, &request, &placement, Purposes::default(), issuer);
        let lint = match self.creative.variants[variant].shape.0 {
            Format::Html => lint(&assembled.markup, size),
            Format::Native | Format::Vast => Vec::new(),
        };
        Some(Rendered { item, assembled, lint })
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
