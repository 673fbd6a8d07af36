//! A catalogue and what is learned of it, in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use serde_json::Value;

use super::{Fault, Switch, hang};
use crate::{
    domain::{
        catalog::key::{DocumentKey, Kind},
        ids::{AccountId, CampaignId, CreativeId, KeyId},
        measurement::attribution::Unattributed,
        values::Millis,
    },
    ports::{
        AccountRow, Answer, ApiKeyRow, AssetFacts, AssetGone, AssetRow, CatalogStore, CombinationCell, Commit,
        DocumentChanges, DocumentRow, DocumentWrite, Documents, FeatureCell, KeptAnswer, KeyChange, Learn, LearnedRow,
        LearnedVersion, LearningStore, LogQuery, LogRead, LoggedDecision, Measured, Repeat, RevisionNumbers, Sides,
        SigningKeyRow, StoreError, Subject, Unit, VersionRow,
    },
};

/// The documents of account 1, read as a whole alone: every other call hangs.
#[derive(Default)]
pub(in crate::engine) struct FakeCatalog(Mutex<BTreeMap<DocumentKey, Value>>);

impl FakeCatalog {
    pub(in crate::engine) fn put(&self, kind: Kind, id: &str, body: Value) {
        self.0.lock().unwrap().insert(DocumentKey::new(kind, id), body);
    }
}

impl CatalogStore for FakeCatalog {
    fn accounts(&self) -> Answer<'_, Vec<AccountRow>> {
        let row = AccountRow { number: 1, id: "shop".parse().expect("an id"), secret: [0; 32], catalog_version: 1 };
        Box::pin(async { Ok(vec![row]) })
    }

    fn create_account(&self, _: AccountId) -> Answer<'_, AccountRow> {
        hang()
    }

    fn signing_keys(&self) -> Answer<'_, Vec<SigningKeyRow>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn api_keys(&self) -> Answer<'_, Vec<ApiKeyRow>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn add_api_key(&self, _: ApiKeyRow) -> Answer<'_, bool> {
        hang()
    }

    fn change_api_key(&self, _: u32, _: KeyId, _: Option<i64>, _: KeyChange) -> Answer<'_, bool> {
        hang()
    }

    fn revoke_api_key(&self, _: u32, _: KeyId, _: Option<i64>) -> Answer<'_, bool> {
        hang()
    }

    fn serving(&self, _: u32, _: Option<i64>) -> Answer<'_, Documents> {
        let row = |(key, body): (&DocumentKey, &Value)| DocumentRow {
            key: key.clone(),
            version: 1,
            changed_at: Millis(1),
            body: body.clone(),
        };
        let rows = self.0.lock().unwrap().iter().map(row).collect();
        Box::pin(async { Ok(Documents { version: 1, rows }) })
    }

    fn serving_changes(&self, _: u32, _: i64) -> Answer<'_, DocumentChanges> {
        hang()
    }

    fn get(&self, _: u32, _: Vec<DocumentKey>) -> Answer<'_, Documents> {
        hang()
    }

    fn list(&self, _: u32, _: Kind, _: String, _: Option<String>, _: u32) -> Answer<'_, Documents> {
        hang()
    }

    fn history(&self, _: u32, _: DocumentKey, _: Option<i64>, _: u32) -> Answer<'_, Vec<VersionRow>> {
        hang()
    }

    fn revision_numbers(&self, _: u32, _: Option<CreativeId>) -> Answer<'_, Vec<RevisionNumbers>> {
        hang()
    }

    fn revision_with(&self, _: u32, _: CreativeId, _: String) -> Answer<'_, Option<DocumentRow>> {
        hang()
    }

    fn commit(&self, _: u32, _: i64, _: String, _: Vec<DocumentWrite>, _: bool) -> Answer<'_, Commit> {
        hang()
    }

    fn begin_once(&self, _: u32, _: String, _: [u8; 32]) -> Answer<'_, Repeat> {
        hang()
    }

    fn end_once(&self, _: u32, _: String, _: Option<KeptAnswer>) -> Answer<'_, ()> {
        hang()
    }

    fn put_asset(&self, _: AssetRow) -> Answer<'_, ()> {
        hang()
    }

    fn asset(&self, _: String) -> Answer<'_, Option<AssetRow>> {
        hang()
    }

    fn asset_facts(&self, _: u32, _: Vec<String>) -> Answer<'_, Vec<AssetFacts>> {
        hang()
    }

    fn list_assets(&self, _: u32, _: Option<String>, _: u32) -> Answer<'_, Vec<AssetFacts>> {
        hang()
    }

    fn delete_asset(&self, _: u32, _: String, _: bool) -> Answer<'_, AssetGone> {
        hang()
    }

    fn filled_slots(&self, _: u32, _: CreativeId) -> Answer<'_, Vec<(String, u64)>> {
        hang()
    }
}

/// A fault of learning about one subject.
pub(in crate::engine) type Failing = fn() -> StoreError;

/// What is learned, of no lessons. Reports and the log hang.
#[derive(Default)]
pub(in crate::engine) struct FakeLearning {
    /// What has lessons waiting, at every look.
    pub(in crate::engine) waiting: Mutex<Vec<Subject>>,
    /// What cannot be learned about.
    pub(in crate::engine) failing: Mutex<HashMap<Subject, Failing>>,
    learning: Switch,
    versions: Switch,
    enrolling: Switch,
    rows: Mutex<BTreeMap<Subject, LearnedRow>>,
    learned: Mutex<Vec<Subject>>,
    enrolled: Mutex<Vec<Unit>>,
}

impl FakeLearning {
    /// What learning does.
    pub(in crate::engine) fn learning(&self, fault: Fault) {
        self.learning.set(fault);
    }

    /// What asking for versions does.
    pub(in crate::engine) fn versions(&self, fault: Fault) {
        self.versions.set(fault);
    }

    /// What enrolling does.
    pub(in crate::engine) fn enrolling(&self, fault: Fault) {
        self.enrolling.set(fault);
    }

    /// What was to be learned about since this was last asked, in order.
    pub(in crate::engine) fn order(&self) -> Vec<Subject> {
        std::mem::take(&mut self.learned.lock().unwrap())
    }

    /// How many people are enrolled.
    pub(in crate::engine) fn enrolled(&self) -> usize {
        self.enrolled.lock().unwrap().len()
    }
}

impl LearningStore for FakeLearning {
    fn waiting(&self) -> Answer<'_, Vec<Subject>> {
        let waiting = self.waiting.lock().unwrap().clone();
        Box::pin(async { Ok(waiting) })
    }

    fn settle(&self, _: Millis) -> Answer<'_, usize> {
        Box::pin(async { Ok(0) })
    }

    fn learn(&self, subject: Subject, _: u32, learn: Learn) -> Answer<'_, Option<usize>> {
        Box::pin(async move {
            self.learned.lock().unwrap().push(subject.clone());
            self.learning.pass().await?;
            if let Some(error) = self.failing.lock().unwrap().get(&subject) {
                return Err(error());
            }
            let mut rows = self.rows.lock().unwrap();
            let known = rows.get(&subject).cloned();
            let version = known.as_ref().map_or(0, |row| row.version);
            if let Some(body) = learn(known, Vec::new())?.body {
                rows.insert(subject, LearnedRow { version: version + 1, body });
            }
            Ok(Some(0))
        })
    }

    fn versions(&self, _: i64) -> Answer<'_, Vec<LearnedVersion>> {
        Box::pin(async {
            self.versions.pass().await?;
            let rows = self.rows.lock().unwrap();
            let version = |(subject, row): (&Subject, &LearnedRow)| LearnedVersion {
                subject: subject.clone(),
                version: row.version,
                updated_at: 1,
            };
            Ok(rows.iter().map(version).collect())
        })
    }

    fn known(&self, subjects: Vec<Subject>) -> Answer<'_, Vec<(Subject, LearnedRow)>> {
        let rows = self.rows.lock().unwrap();
        let known = subjects.into_iter().filter_map(|subject| Some((subject.clone(), rows.get(&subject)?.clone())));
        let known = known.collect();
        Box::pin(async { Ok(known) })
    }

    fn shapes(&self, _: u32, _: CampaignId) -> Answer<'_, Vec<(CreativeId, Value)>> {
        hang()
    }

    fn enrol(&self, people: Vec<(u32, CampaignId, Unit)>) -> Answer<'_, ()> {
        Box::pin(async {
            self.enrolling.pass().await?;
            self.enrolled.lock().unwrap().extend(people.into_iter().map(|(.., unit)| unit));
            Ok(())
        })
    }

    fn combinations(&self, _: u32, _: CampaignId, _: (i32, i32)) -> Answer<'_, Vec<(CreativeId, CombinationCell)>> {
        hang()
    }

    fn features(&self, _: u32, _: CampaignId, _: (i32, i32)) -> Answer<'_, Vec<(CreativeId, FeatureCell)>> {
        hang()
    }

    fn unattributed(&self, _: u32, _: CampaignId, _: (i32, i32)) -> Answer<'_, Unattributed> {
        hang()
    }

    fn repeated(&self, _: u32, _: CampaignId, _: (i32, i32)) -> Answer<'_, BTreeMap<i32, u64>> {
        hang()
    }

    fn log(&self, _: Vec<LoggedDecision>) -> Answer<'_, ()> {
        hang()
    }

    fn logged(&self, _: LogQuery) -> Answer<'_, LogRead> {
        hang()
    }

    fn maintain(&self, _: Millis) -> Answer<'_, ()> {
        hang()
    }

    fn sides(&self, _: u32, _: CampaignId, _: u32, _: Measured) -> Answer<'_, Sides> {
        hang()
    }
}
