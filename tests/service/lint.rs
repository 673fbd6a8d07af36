//! What a linter of OpenRTB finds in answers.

/// Fails where an answer beside its request is not what exchanges take.
pub(crate) fn lint(request: &[u8], answer: &[u8]) {
    let text = |bytes| std::str::from_utf8(bytes).expect("UTF-8");
    let version = rtblint_core::OpenRtbVersion::V2_6_202606;
    let found = rtblint_core::validate_bid_response_against_request(version, text(request), text(answer));
    let errors: Vec<_> = found.issues.iter().filter(|issue| issue.severity == rtblint_core::Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{}", text(answer));
}
