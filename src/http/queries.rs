//! Which query parameters operations know, by what the routes say of themselves: one check for all
//! routes, so that none ignores what it was asked, such as `dry_run=true`.

use std::collections::HashMap;

use axum::{
    extract::Query,
    http::{Method, Uri},
};
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation, ParameterIn, PathItem},
};

use super::problem::Problem;
use crate::domain::violation::Violation;

/// The query parameters of each operation, by the template of its path.
#[derive(Debug)]
pub(super) struct Queries(HashMap<String, Vec<(Method, Vec<String>)>>);

impl Queries {
    /// Those of a document. Addresses that are read without a key stand on pages, and exchanges send bid requests to
    /// theirs: others add parameters of their own there, which are left alone.
    pub(super) fn of(document: &OpenApi) -> Self {
        let strict = |item: &PathItem| {
            let reading = item.get.as_ref().filter(|read| read.security.is_some());
            let posting = item.post.as_ref().filter(|post| post.operation_id.as_deref() != Some("bid"));
            let methods = [
                (Method::GET, reading),
                (Method::HEAD, reading),
                (Method::POST, posting),
                (Method::PUT, item.put.as_ref()),
                (Method::PATCH, item.patch.as_ref()),
                (Method::DELETE, item.delete.as_ref()),
            ];
            methods.into_iter().filter_map(|(method, operation)| Some((method, names(operation?)))).collect()
        };
        Self(document.paths.paths.iter().map(|(path, item)| (path.clone(), strict(item))).collect())
    }

    /// What is wrong with the query of a request, if anything: 422, naming every parameter that the
    /// operation does not know.
    pub(super) fn refuse(&self, path: &str, method: &Method, uri: &Uri) -> Option<Problem> {
        uri.query().filter(|query| !query.is_empty())?;
        let (_, known) = self.0.get(path)?.iter().find(|(of, _)| of == method)?;
        let Query(sent) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
        let unknown = sent.into_iter().map(|(name, _)| name).filter(|name| !known.contains(name));
        let words = match known.as_slice() {
            [] => "is not known: this operation takes no query parameters".to_owned(),
            known => format!("is not known: this operation takes {}", known.join(", ")),
        };
        let fault = |name: String| {
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            Violation::new(pointer, "query", words.clone())
        };
        let faults: Vec<_> = unknown.map(fault).collect();
        (!faults.is_empty()).then(|| Problem::invalid(faults))
    }
}

fn names(operation: &Operation) -> Vec<String> {
    let query = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) if matches!(parameter.parameter_in, ParameterIn::Query) => Some(parameter.name.clone()),
        _ => None,
    });
    query.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(method: Method, path: &str, query: &str) -> Vec<String> {
        let queries = Queries::of(&crate::http::openapi::document());
        let uri = format!("/x?{query}").parse().expect("an address");
        let problem = queries.refuse(path, &method, &uri);
        problem.into_iter().flat_map(|problem| problem.errors).map(|fault| fault.pointer).collect()
    }

    #[test]
    fn what_an_operation_does_not_know_is_named() {
        assert_eq!(faults(Method::GET, "/v1/keys", "zz=1&a%2Fb&zz=2"), ["/zz", "/a~1b", "/zz"]);
        assert_eq!(faults(Method::POST, "/v1/decisions", "dry_run=true"), ["/dry_run"]);
        assert_eq!(faults(Method::POST, "/v1/conversions", "dryrun=true"), ["/dryrun"]);
        assert_eq!(faults(Method::HEAD, "/v1/campaigns", "lmit=1&limit=1"), ["/lmit"]);
    }

    #[test]
    fn what_it_knows_and_what_pages_add_passes() {
        for (method, path, query) in [
            (Method::GET, "/v1/campaigns", "limit=1&after=a"),
            (Method::PUT, "/v1/campaigns/{id}", "dry_run=true"),
            (Method::GET, "/v1/campaigns", ""),
            (Method::GET, "/v1/i/{token}", "cb=1"),
            (Method::GET, "/v1/c/{token}", "gclid=1"),
            (Method::POST, "/openrtb2/bid", "nbr=1&dc=eu"),
            (Method::TRACE, "/v1/campaigns", "zz=1"),
            (Method::GET, "/nowhere", "zz=1"),
        ] {
            assert_eq!(faults(method, path, query), [] as [&str; 0], "{path}?{query}");
        }
    }
}
