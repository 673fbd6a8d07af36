//! Entity tags: what a caller has seen, and what they may change (RFC 9110 sections 8.8.3 and 13.1).

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts},
};

use utoipa::{
    IntoParams,
    openapi::{
        ObjectBuilder, Required,
        path::{Parameter, ParameterBuilder, ParameterIn},
        schema::Type,
    },
};

use super::problem::{Problem, ProblemKind};
use crate::engine::authoring::Expect;

/// The tag of a version of a document: the version in quotes.
#[must_use]
pub fn tag(version: i64) -> HeaderValue {
    // digits, a sign and quotes are valid in a header
    HeaderValue::from_str(&format!("\"{version}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// Whether the caller has what `tag` names already (`If-None-Match`, compared weakly).
#[must_use]
pub fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let opaque = |one: &str| one.trim().strip_prefix("W/").unwrap_or(one.trim()).to_owned();
    let Ok(tag) = tag.to_str() else { return false };
    let lists = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| one.trim() == "*" || opaque(one) == tag)
}

/// What the caller believes to be there, which a change must say; an extractor.
///
/// `If-None-Match: *` creates, `If-Match: "<version>"` changes that version and `If-Match: *`
/// whatever version there is. Neither is 428. A weak tag, or one that is none of ours, never
/// matches: 412.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precondition(pub Expect);

impl Precondition {
    /// For operations on something that must exist.
    ///
    /// # Errors
    /// 428 where the caller expects nothing to be there.
    pub fn existing(self) -> Result<Expect, Problem> {
        match self.0 {
            Expect::Absent => Err(missing("Send If-Match with the ETag of the version that was read.")),
            expect => Ok(expect),
        }
    }

    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let expect = match (one(headers, header::IF_MATCH)?, one(headers, header::IF_NONE_MATCH)?) {
            (Some(_), Some(_)) => return Err(broken("Send either If-Match or If-None-Match, not both.")),
            (None, Some("*")) => Expect::Absent,
            (None, Some(_)) => return Err(broken("Only If-None-Match: * is known here, which creates.")),
            (Some("*"), None) => Expect::Present,
            (Some(tag), None) => Expect::Version(version(tag)?),
            (None, None) => {
                return Err(missing(
                    "Send If-None-Match: * to create, or If-Match with the ETag that was read to change.",
                ));
            }
        };
        Ok(Self(expect))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Precondition {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::of(&parts.headers)
    }
}

/// `If-Match` where it may be left out: then whatever version is there is meant; an extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaybeMatch(pub Expect);

impl<S: Send + Sync> FromRequestParts<S> for MaybeMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match one(&parts.headers, header::IF_MATCH)? {
            None => Ok(Self(Expect::Any)),
            Some(_) => Ok(Self(Precondition::of(&parts.headers)?.existing()?)),
        }
    }
}

impl IntoParams for MaybeMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![if_match(Required::False)]
    }
}

/// As [`MaybeMatch`], where the tag of a preview says what is meant too: the draft with its templates
/// and components; an extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DraftMatch {
    /// What the caller believes the document to be.
    pub expect: Expect,
    /// What they looked at.
    pub previewed: Option<u64>,
}

/// The tag of a draft that was looked at.
#[must_use]
pub fn draft_tag(draft: u64) -> HeaderValue {
    // letters, digits, a hyphen and quotes are valid in a header
    HeaderValue::from_str(&format!("\"draft-{draft:016x}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

impl<S: Send + Sync> FromRequestParts<S> for DraftMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let tag =
            one(&parts.headers, header::IF_MATCH)?.and_then(|tag| tag.strip_prefix("\"draft-")?.strip_suffix('"'));
        let hex = tag.filter(|tag| tag.len() == 16 && tag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
        if let Some(Ok(draft)) = hex.map(|hex| u64::from_str_radix(hex, 16)) {
            return Ok(Self { expect: Expect::Any, previewed: Some(draft) });
        }
        let MaybeMatch(expect) = MaybeMatch::from_request_parts(parts, state).await?;
        Ok(Self { expect, previewed: None })
    }
}

impl IntoParams for DraftMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let words = "The ETag of the creative that was read, or of its preview or combinations: that one is of the draft \
                     with its templates and components. `*`: whatever there is.";
        let pattern = "^(\\*|\"[0-9]{1,18}\"|\"draft-[0-9a-f]{16}\")$";
        vec![parameter("If-Match", Required::False, pattern, words, "\"42\"")]
    }
}

/// Describes a header that holds an entity tag.
fn parameter(name: &str, required: Required, pattern: &str, description: &str, example: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).examples([example]);
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(required)
        .description(Some(description))
        .schema(Some(schema))
        .build()
}

/// Describes `If-Match`.
fn if_match(required: Required) -> Parameter {
    let words = "The ETag that was read, or `*` for whatever version there is.";
    parameter("If-Match", required, "^(\\*|\"[0-9]{1,18}\")$", words, "\"42\"")
}

impl IntoParams for Precondition {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let words = "`*` creates: refused where there is one already.";
        vec![if_match(Required::False), parameter("If-None-Match", Required::False, "^\\*$", words, "*")]
    }
}

/// Describes `If-Match` for operations on what must exist.
pub(super) struct IfMatch;

impl IntoParams for IfMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![if_match(Required::True)]
    }
}

/// Describes `If-None-Match` for reading.
pub(super) struct Unless;

impl IntoParams for Unless {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let words = "ETags that the caller has: they are answered with 304.";
        vec![parameter("If-None-Match", Required::False, "^[^\\x00]*$", words, "\"42\"")]
    }
}

fn one(headers: &HeaderMap, name: HeaderName) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(&name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    match value.to_str() {
        Ok(value) if values.next().is_none() => Ok(Some(value.trim())),
        _ => Err(broken(&format!("Send one {name} with one entity tag."))),
    }
}

fn version(tag: &str) -> Result<i64, Problem> {
    let never = || Problem::new(ProblemKind::PreconditionFailed, "The entity tag is of no version of this resource.");
    let strong = tag.strip_prefix("W/").unwrap_or(tag);
    let opaque = strong.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let opaque = opaque.filter(|opaque| !opaque.contains('"'));
    let opaque = opaque.ok_or_else(|| broken("If-Match must be one entity tag in double quotes, or *."))?;
    if strong != tag {
        return Err(Problem::new(ProblemKind::PreconditionFailed, "A weak entity tag (W/) never matches here."));
    }
    let digits = !opaque.is_empty() && opaque.bytes().all(|b| b.is_ascii_digit());
    opaque.parse().ok().filter(|_| digits).ok_or_else(never)
}

fn broken(detail: &str) -> Problem {
    Problem::new(ProblemKind::BadRequest, detail)
}

fn missing(detail: &str) -> Problem {
    Problem::new(ProblemKind::PreconditionRequired, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(HeaderName, &'static str)]) -> Result<Expect, u16> {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
        Precondition::of(&headers).map(|precondition| precondition.0).map_err(|problem| problem.kind.status().as_u16())
    }

    #[test]
    fn a_change_says_what_it_replaces() {
        let (when, unless) = (header::IF_MATCH, header::IF_NONE_MATCH);
        assert_eq!(read(&[(unless.clone(), "*")]), Ok(Expect::Absent));
        assert_eq!(read(&[(when.clone(), "\"12\"")]), Ok(Expect::Version(12)));
        assert_eq!(read(&[(when.clone(), "*")]), Ok(Expect::Present));
        assert_eq!(read(&[]), Err(428));
        for never in ["W/\"12\"", "\"abc\"", "\"-1\"", "\"+1\"", "\"\"", "\"99999999999999999999\""] {
            assert_eq!(read(&[(when.clone(), never)]), Err(412), "{never}");
        }
        for broken in ["12", "\"1\", \"2\"", "\"1", ""] {
            assert_eq!(read(&[(when.clone(), broken)]), Err(400), "{broken}");
        }
        assert_eq!(read(&[(unless.clone(), "\"12\"")]), Err(400));
        assert_eq!(read(&[(when, "*"), (unless, "*")]), Err(400));
    }

    #[test]
    fn deleting_needs_something_to_be_there() {
        assert!(Precondition(Expect::Absent).existing().is_err());
        assert_eq!(Precondition(Expect::Version(3)).existing().ok(), Some(Expect::Version(3)));
    }

    #[test]
    fn what_is_known_is_compared_weakly() {
        let known = |list: &'static str| {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(list))]);
            is_known(&headers, &tag(7))
        };
        assert!(known("\"7\"") && known("W/\"7\"") && known("\"1\", W/\"7\"") && known("*"));
        assert!(!known("\"8\"") && !known("7") && !known(""));
        assert!(!is_known(&HeaderMap::new(), &tag(7)));
    }
}
