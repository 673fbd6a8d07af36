//! The whole service over a real socket, on its own PostgreSQL.
#![expect(clippy::disallowed_methods, reason = "tests have settings of their own")]

mod assets;
mod authoring;
mod decisions;
mod documentation;
mod harness;
mod keys;
mod marketer;
mod people;
mod pictures;
mod publishing;
mod segments;
mod webhooks;

use harness::Check;

macro_rules! checks {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        &[$((concat!(stringify!($module), "::", stringify!($name)), |service| Box::pin($module::$name(service)))),+]
    };
}

const CHECKS: &[Check] = checks![
    authoring::a_document_lives_and_dies,
    authoring::a_change_names_what_it_replaces,
    authoring::every_fault_is_told_at_once,
    authoring::faults_of_meaning_are_told_with_those_of_form,
    authoring::campaigns_show_creatives_of_their_own_advertiser,
    authoring::what_is_in_use_stays,
    authoring::a_dry_run_changes_nothing,
    authoring::ids_are_made_where_none_is_chosen,
    authoring::lists_come_in_pages,
    authoring::components_live_in_their_creative,
    authoring::only_keys_with_the_scope_may,
    authoring::odd_requests_are_problems,
    publishing::a_draft_becomes_a_revision_and_serves,
    publishing::only_the_draft_that_was_read_is_published,
    publishing::a_draft_that_cannot_serve_is_refused,
    publishing::going_back_is_refused_only_where_nothing_can_be_shown,
    people::traits_are_set_read_and_removed,
    people::a_dry_run_leaves_traits_alone,
    people::segments_follow_from_traits,
    people::the_erased_stay_away,
    people::members_come_and_go,
    people::members_are_uploaded,
    segments::a_rule_is_previewed_before_anybody_uses_it,
    segments::a_segment_keeps_its_versions,
    segments::who_enters_and_leaves_is_told,
    segments::what_uploads_and_erasures_do_is_told,
    segments::what_time_alone_does_is_told_when_it_has_lasted,
    segments::authors_are_told_what_to_look_at,
    segments::events_count_from_the_moment_a_rule_is_kept,
    segments::the_tour_shows_how_a_person_moves,
    keys::a_key_opens_what_its_scopes_say_until_it_is_revoked,
    keys::no_key_is_destroyed_by_mistake,
    keys::a_secret_is_replaced_without_a_gap,
    keys::a_key_cannot_revoke_itself,
    assets::an_image_is_served_for_ever,
    assets::only_images_are_taken,
    assets::images_are_listed_and_go_when_nothing_names_them,
    marketer::the_tour_does_what_it_says,
    marketer::combinations_are_what_decisions_show,
    marketer::many_components_are_taken_and_no_edit_is_lost,
    marketer::dynamic_content_comes_and_goes,
    marketer::an_import_adds_only_pairing_that_can_be_published,
    marketer::an_import_grows_no_draft_past_what_a_put_takes,
    marketer::exchanges_say_what_they_approve,
    marketer::an_auditor_sees_macros_and_no_values,
    marketer::a_post_with_a_key_is_done_once,
    marketer::publishing_tells_what_to_look_at,
    pictures::one_upload_fills_the_slot_in_every_size,
    pictures::pictures_are_what_they_are,
    pictures::markup_names_images_of_ours,
    pictures::an_upload_is_for_the_draft_that_was_read,
    pictures::every_bad_row_is_named_in_the_whole_file,
    marketer::a_faulty_draft_can_be_looked_at,
    marketer::what_was_looked_at_is_what_is_published,
    marketer::coverage_tells_who_never_serves,
    decisions::a_decision_is_recorded_explained_and_made_again,
    documentation::the_description_and_the_pages_are_served,
    documentation::no_operation_ignores_what_it_does_not_know,
    webhooks::a_dry_run_changes_no_webhook,
];

#[test]
fn over_a_real_socket() {
    harness::run(CHECKS);
}
