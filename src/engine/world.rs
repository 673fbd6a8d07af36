//! What every request sees: one immutable snapshot of all accounts, keys and secrets.

use std::{collections::HashMap, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{
    domain::{
        access::Scope,
        catalog::{campaign::Campaign, document::GoalDoc, snapshot::Snapshot},
        decision::learned::Learned,
        ids::{AccountId, CampaignId, KeyId, Uid, UserKey},
        measurement::{attribution::Terms, beacon::TokenKeys},
        values::{Millis, Money},
    },
    ports::{AccountRow, ApiKeyRow, SigningKeyRow},
};

/// Everything that decisions read, swapped as a whole.
#[derive(Clone)]
pub struct World {
    accounts: HashMap<u32, Arc<Account>>,
    keys: HashMap<[u8; 32], Opener>,
    /// Signs and verifies tokens.
    pub tokens: Arc<TokenKeys>,
    /// Number of the key that signs.
    pub signing_key: u8,
}

/// A secret: whose it is, and the first instant at which it opens nothing any more.
type Opener = (Arc<Principal>, Option<Millis>);

/// An account with its compiled catalogue.
#[derive(Clone)]
pub struct Account {
    /// Its row.
    pub row: AccountRow,
    /// Its catalogue.
    pub snapshot: Arc<Snapshot>,
    /// What was learned about its creatives.
    pub learned: Arc<Learned>,
}

impl Account {
    /// Its number in the store.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.row.number
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &AccountId {
        &self.row.id
    }

    /// The person behind one of its user keys.
    #[must_use]
    pub fn uid(&self, key: &UserKey) -> Uid {
        Uid::of(&self.row.secret, key)
    }
}

/// Who calls: an API key with what it may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The key.
    pub key: KeyId,
    /// Number of the account it opens.
    pub account: u32,
    scopes: Vec<Scope>,
}

impl Principal {
    /// Whether it may do something; `admin` may do everything but assert consent, which only
    /// keys made for it can.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || (scope != Scope::Consent && self.scopes.contains(&Scope::Admin))
    }
}

impl World {
    /// The world of these keys and secrets, with nothing to show yet.
    #[must_use]
    pub fn new(accounts: &[AccountRow], keys: &[ApiKeyRow], secrets: &[SigningKeyRow]) -> Self {
        let active = secrets.iter().filter(|key| key.active).max_by_key(|key| key.number).or(secrets.first());
        let (number, secret) = active.map_or((0, [0; 32]), |key| (key.number, key.secret));
        let retired = secrets.iter().filter(|key| key.number != number).map(|key| (key.number, key.secret));
        let openers = |row: &ApiKeyRow| {
            let scopes = row.scopes.clone();
            let principal = Arc::new(Principal { key: row.id.clone(), account: row.account, scopes });
            let old = row.old.as_ref().map(|old| (old.hash, (Arc::clone(&principal), Some(old.until))));
            [Some((row.hash, (principal, None))), old].into_iter().flatten()
        };
        let empty = Arc::new(Snapshot::empty());
        let account = |row: &AccountRow| {
            (row.number, Arc::new(Account { row: row.clone(), snapshot: Arc::clone(&empty), learned: Arc::default() }))
        };
        Self {
            accounts: accounts.iter().map(account).collect(),
            keys: keys.iter().flat_map(openers).collect(),
            tokens: Arc::new(TokenKeys::new((number, &secret), retired)),
            signing_key: number,
        }
    }

    /// An account.
    #[must_use]
    pub fn account(&self, number: u32) -> Option<&Arc<Account>> {
        self.accounts.get(&number)
    }

    /// Every account.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.values()
    }

    /// The account called `id`.
    #[must_use]
    pub fn named(&self, id: &str) -> Option<&Arc<Account>> {
        self.accounts.values().find(|account| account.row.id.as_str() == id)
    }

    /// By what the conversions of a campaign are judged; the usual terms for one that is gone.
    #[must_use]
    pub fn terms(&self, account: u32, campaign: Option<&CampaignId>) -> Terms {
        self.campaign(account, campaign).map_or_else(Terms::default, |campaign| Terms {
            click: campaign.click_window,
            view: campaign.view_window,
            goal: campaign.goal.event().cloned(),
        })
    }

    /// What conversions of a campaign are usually worth, where it is for their value.
    #[must_use]
    pub fn usual(&self, account: u32, campaign: Option<&CampaignId>) -> Option<Money> {
        match &self.campaign(account, campaign)?.goal {
            GoalDoc::Value(value) => Some(value.usual),
            GoalDoc::Click | GoalDoc::Conversion(_) => None,
        }
    }

    fn campaign(&self, account: u32, campaign: Option<&CampaignId>) -> Option<&Campaign> {
        let snapshot = &self.account(account)?.snapshot;
        Some(&snapshot.lines[snapshot.line(campaign?)?].campaign)
    }

    /// Whose API key this is at a time. Looked up by its hash, so that the time it takes tells nothing
    /// about other keys.
    #[must_use]
    pub fn principal(&self, key: &str, now: Millis) -> Option<&Arc<Principal>> {
        let (principal, until) = self.keys.get(&key_hash(key))?;
        until.is_none_or(|until| now < until).then_some(principal)
    }

    /// The same world with one account's catalogue replaced.
    #[must_use]
    pub fn with_snapshot(&self, number: u32, snapshot: Arc<Snapshot>) -> Self {
        let mut next = self.clone();
        if let Some(account) = next.accounts.get_mut(&number) {
            let mut row = account.row.clone();
            row.catalog_version = snapshot.version;
            *account = Arc::new(Account { row, snapshot, learned: Arc::clone(&account.learned) });
        }
        next
    }

    /// The same world with what was learned about one account's creatives replaced.
    #[must_use]
    pub fn with_learned(&self, number: u32, learned: Arc<Learned>) -> Self {
        let mut next = self.clone();
        if let Some(account) = next.accounts.get_mut(&number) {
            *account = Arc::new(Account { learned, ..Account::clone(account) });
        }
        next
    }

    /// The same catalogues under other accounts, keys and secrets.
    #[must_use]
    pub fn with_access(&self, accounts: &[AccountRow], keys: &[ApiKeyRow], secrets: &[SigningKeyRow]) -> Self {
        let mut next = Self::new(accounts, keys, secrets);
        for (number, account) in &mut next.accounts {
            if let Some(known) = self.accounts.get(number) {
                *account = Arc::new(Account { row: account.row.clone(), ..Account::clone(known) });
            }
        }
        next
    }
}

/// The form in which the store keeps an API key.
#[must_use]
pub fn key_hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::OldSecret;

    #[test]
    fn a_key_opens_its_account_for_its_scopes() {
        let row = ApiKeyRow {
            id: "k".parse().expect("an id"),
            account: 7,
            hash: key_hash("secret"),
            scopes: vec![Scope::Decide],
            created_at: Millis(0),
            version: 1,
            old: Some(OldSecret { hash: key_hash("older"), until: Millis(5) }),
        };
        let now = Millis(4);
        let world = World::new(&[], std::slice::from_ref(&row), &[]);
        let principal = world.principal("secret", now).expect("a principal");
        assert_eq!(principal.account, 7);
        assert!(principal.may(Scope::Decide) && !principal.may(Scope::Author));
        assert!(world.principal("Secret", now).is_none() && world.principal("", now).is_none());
        assert_eq!(world.principal("older", now), Some(principal), "until its time is over");
        assert!(world.principal("older", Millis(5)).is_none() && world.principal("secret", Millis(5)).is_some());
        let admin = World::new(&[], &[ApiKeyRow { scopes: vec![Scope::Admin], ..row }], &[]);
        let admin = admin.principal("secret", now).expect("a principal");
        assert!(admin.may(Scope::Author) && !admin.may(Scope::Consent));
    }
}
