//! What linters of OpenRTB and of VAST find in answers.

use serde_json::Value;

/// Fails where an answer beside its request is not what exchanges take, or a video in it not what players do.
pub(crate) fn lint(request: &[u8], answer: &[u8]) {
    let text = |bytes| std::str::from_utf8(bytes).expect("UTF-8");
    let version = rtblint_core::OpenRtbVersion::V2_6_202606;
    let found = rtblint_core::validate_bid_response_against_request(version, text(request), text(answer));
    let errors: Vec<_> = found.issues.iter().filter(|issue| issue.severity == rtblint_core::Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{}", text(answer));
    let answer: Value = serde_json::from_slice(answer).expect("JSON");
    let seats = answer["seatbid"].as_array().into_iter().flatten();
    let bids = seats.flat_map(|seat| seat["bid"].as_array().into_iter().flatten());
    for bid in bids.filter(|bid| bid["mtype"] == 2) {
        let markup = bid["adm"].as_str().expect("markup");
        let found = vastlint_core::validate(markup);
        assert!(found.summary.is_valid(), "{:#?}\n{markup}", found.issues);
    }
}
