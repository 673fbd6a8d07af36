//! The one table from the engine's errors to problems.

use super::{Problem, ProblemKind};
use crate::{
    domain::violation::Violation,
    engine::{
        Filled, StoreError,
        archive::ArchiveError,
        assets::AssetError,
        authoring::{Authoring, AuthoringError},
        evaluation::EvaluateError,
        images::ImageError,
        keys::KeyError,
        people::PeopleError,
        products::FillError,
        results::ResultsError,
        training::TrainingError,
        webhooks::WebhookError,
        what_if::WhatIfError,
    },
};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Timeout(_) | StoreError::Busy => {
                Self::new(ProblemKind::StoreUnavailable, "").caused_by(error)
            }
            StoreError::Corrupt(_) | StoreError::Refused(_) => Self::internal(error),
        }
    }
}

impl From<AuthoringError> for Problem {
    fn from(error: AuthoringError) -> Self {
        match error {
            AuthoringError::NotFound(key) => Self::new(ProblemKind::NotFound, format!("There is no {key}.")),
            AuthoringError::Stale { current: Some(version) } => {
                Self::new(ProblemKind::PreconditionFailed, format!("It is at version \"{version}\" now."))
            }
            AuthoringError::Stale { current: None } => Self::new(ProblemKind::PreconditionFailed, "It does not exist."),
            AuthoringError::InUse { key, by } => {
                let named = |by| Violation::new("", "in_use", format!("{by} names it"));
                Self::new(ProblemKind::Conflict, format!("{key} is in use."))
                    .with_errors(by.into_iter().map(named).collect())
            }
            AuthoringError::Unreadable(error) => error.into(),
            AuthoringError::NoAsset(_) => {
                let detail = format!("{error}: upload it with POST /v1/assets");
                Self::invalid(vec![Violation::new("", "unknown_asset", detail)])
            }
            AuthoringError::Invalid(faults) => Self::invalid(faults),
            AuthoringError::TooLarge(bytes) => {
                let most = Authoring::LARGEST;
                let detail = format!("The document would have {bytes} bytes, and may have at most {most}.");
                Self::new(ProblemKind::PayloadTooLarge, detail)
            }
            AuthoringError::Contended => Self::new(ProblemKind::Overloaded, "Others keep changing the same catalogue."),
            AuthoringError::Store(error) => error.into(),
        }
    }
}

impl From<PeopleError> for Problem {
    fn from(error: PeopleError) -> Self {
        match error {
            PeopleError::NotFound => Self::new(ProblemKind::NotFound, "Nobody is known under this key."),
            PeopleError::Erased => Self::new(ProblemKind::Gone, "The person was erased and stays so."),
            PeopleError::MergedElsewhere(_) => Self::new(ProblemKind::Conflict, format!("The {error}.")),
            PeopleError::NoSegment(key) => Self::new(ProblemKind::NotFound, format!("There is no segment {key}.")),
            PeopleError::NotStatic(_) => Self::new(ProblemKind::Conflict, format!("The {error}.")),
            PeopleError::Invalid(faults) => Self::invalid(faults),
            PeopleError::Contended => Self::new(ProblemKind::Overloaded, "Others keep changing the same person."),
            PeopleError::Busy => Self::new(ProblemKind::Overloaded, "Other uploads are under way."),
            PeopleError::Corrupt(error) => Self::internal(error),
            PeopleError::Store(error) => error.into(),
        }
    }
}

impl From<FillError> for Problem {
    fn from(error: FillError) -> Self {
        let refused = |filled: Filled, detail: String| {
            let faults = filled.refused.into_iter();
            let problem = Self::invalid(faults.map(|(line, fault)| fault.under(&format!("/{line}"))).collect());
            Self { detail, ..problem }
        };
        match error {
            FillError::NotFound(id) => Self::new(ProblemKind::NotFound, format!("There is no feed {id}.")),
            FillError::NoAdvertiser | FillError::Overtaken => {
                Self::new(ProblemKind::Conflict, format!("Nothing was changed: {error}."))
            }
            FillError::Unreadable(error) => {
                let fault = Violation::new("", "unreadable_file", error.to_string());
                let problem = Self::invalid(vec![fault]);
                Self { detail: "The file cannot be read, so nothing was changed.".into(), ..problem }
            }
            FillError::Refused(filled) => {
                let rows = if filled.rejected == 1 { "row" } else { "rows" };
                let detail = format!("{} {rows} cannot be taken, so nothing was changed.", filled.rejected);
                refused(filled, detail)
            }
            FillError::Empty(filled) => refused(filled, "The file holds no product, so nothing was changed.".into()),
            FillError::TooMany => Self::new(ProblemKind::PayloadTooLarge, format!("Nothing was changed: {error}.")),
            FillError::Busy => Self::new(ProblemKind::Overloaded, "Other feeds are being filled."),
            FillError::Store(error) => error.into(),
        }
    }
}

impl From<ResultsError> for Problem {
    fn from(error: ResultsError) -> Self {
        match error {
            ResultsError::NoCampaign(id) => Self::new(ProblemKind::NotFound, format!("There is no campaign {id}.")),
            ResultsError::Store(error) => error.into(),
        }
    }
}

impl From<EvaluateError> for Problem {
    fn from(error: EvaluateError) -> Self {
        match error {
            EvaluateError::Invalid(faults) => Self::invalid(faults),
            EvaluateError::Results(error) => error.into(),
            EvaluateError::Failed(error) => Self::internal(error),
        }
    }
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        match error {
            WebhookError::NotFound(id) => Self::new(ProblemKind::NotFound, format!("There is no webhook {id}.")),
            WebhookError::Stale { current } => AuthoringError::Stale { current }.into(),
            WebhookError::Invalid(faults) => Self::invalid(faults),
            WebhookError::Store(error) => error.into(),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NotFound(id) => Self::new(ProblemKind::NotFound, format!("There is no key {id}.")),
            KeyError::Stale { current } => AuthoringError::Stale { current }.into(),
            KeyError::Store(error) => error.into(),
        }
    }
}

impl From<TrainingError> for Problem {
    fn from(error: TrainingError) -> Self {
        match error {
            TrainingError::NotFound(key) => Self::new(ProblemKind::NotFound, format!("There is no model {key}.")),
            TrainingError::Invalid(faults) => Self::invalid(faults),
            TrainingError::TooFew(few) => Self::invalid(vec![Violation::new(
                "",
                "too_few_people",
                format!("{few}; of a new model the history of events may still be being read"),
            )]),
            TrainingError::Store(error) => error.into(),
            TrainingError::Busy => Self::new(ProblemKind::Overloaded, "Another training is under way."),
            TrainingError::Ended => Self::internal(error),
        }
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::NotFound => Self::new(
                ProblemKind::NotFound,
                "No record is kept of such a decision: records have the `decision_id` of an item, are made of the share \
                     that `decisions.record_share` says and of each request with `explain`, and end with their retention.",
            ),
            ArchiveError::Erased => Self::new(ProblemKind::Gone, "The person it was about was erased."),
            ArchiveError::KeyGone => {
                Self::new(ProblemKind::Gone, "The key that signed it is gone, so it cannot be made again.")
            }
            ArchiveError::Unreadable(_) | ArchiveError::Replay(_) => Self::internal(error),
            ArchiveError::Store(error) => error.into(),
        }
    }
}

impl From<WhatIfError> for Problem {
    fn from(error: WhatIfError) -> Self {
        match error {
            WhatIfError::Draft(error) => error.into(),
            WhatIfError::Busy => Self::new(ProblemKind::Overloaded, "Other drafts are being looked at."),
            WhatIfError::Store(error) => error.into(),
            WhatIfError::Archive(error) => error.into(),
            WhatIfError::Ended => Self::internal(error),
        }
    }
}

impl From<AssetError> for Problem {
    fn from(error: AssetError) -> Self {
        match error {
            AssetError::Image(ImageError::Size) => {
                Self::new(ProblemKind::PayloadTooLarge, format!("The image {}.", ImageError::Size))
            }
            AssetError::Image(error) => Self::invalid(vec![Violation::new("", error.code(), error.to_string())]),
            AssetError::Busy => Self::new(ProblemKind::Overloaded, "Other images are being read."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::catalog::key::{DocumentKey, Kind};

    #[test]
    fn who_is_in_the_way_is_named() {
        let error = AuthoringError::InUse {
            key: DocumentKey::new(Kind::Creative, "hero"),
            by: vec![DocumentKey::new(Kind::Campaign, "spring")],
        };
        let problem = Problem::from(error);
        assert_eq!(problem.kind, ProblemKind::Conflict);
        assert_eq!(problem.detail, "creative/hero is in use.");
        assert_eq!(problem.errors[0].detail, "campaign/spring names it");
    }

    #[test]
    fn what_the_store_says_stays_inside() {
        let away = Problem::from(PeopleError::Store(StoreError::Timeout("db-7.internal".into())));
        assert_eq!(away.kind, ProblemKind::StoreUnavailable);
        assert!(!String::from_utf8(away.render(None)).expect("text").contains("db-7"));
        let broken = Problem::from(AuthoringError::Store(StoreError::Refused("select secret".into())));
        assert_eq!(broken.kind, ProblemKind::Internal);
        assert!(broken.source.is_some(), "operators learn the cause");
    }
}
