"""The catalogue of bad input: 85 cases, and the tests of each. `python -m tests.bad_input.matrix` prints it.

A test is named by its file below `tests` and its function; behind a `#`, what its table of cases has for the case.
A case that this design doesn't know stands among the exempt ones, with the reason and, where there is one, the test of
what comes nearest.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

from tests.bad_input.cases import CASES, EXEMPT

__all__ = ["TESTS", "gaps", "rows"]

_ROOT: Final = Path(__file__).parents[1]

_DEFINITION: Final = "unit/test_definition_errors.py::"
_EDGES: Final = "unit/test_definition_errors_edges.py::"
_GRAPH: Final = "unit/test_definition_errors_graph.py::"
_CODEC_REFUSED: Final = "unit/test_codec_refused.py::test_what_does_not_come_back_is_refused_with_its_place"
_CODEC_KEPT: Final = "unit/test_codec.py::test_plain_json_comes_back_exactly"
_CODEC_TYPED: Final = "unit/test_codec.py::test_a_typed_value_comes_back_equal_with_its_types"
_FOREIGN: Final = "unit/test_codec_decoding.py::test_foreign_json_is_refused_where_it_is_wrong"
_UNFIT: Final = "unit/test_codec_decoding.py::test_text_that_does_not_fit_is_refused_with_its_place"
_RESULT: Final = "bad_input/test_payloads.py::test_a_result_that_can_not_be_stored_fails_its_attempt_alone"
_CLIENT: Final = "bad_input/test_payloads.py::test_a_bad_input_or_signal_is_told_with_its_path_and_leaves_nothing"
_KEPT: Final = "bad_input/test_payloads.py::test_a_result_that_is_odd_but_sound_reaches_the_next_step_as_it_was"
_RAISED: Final = "bad_input/test_raised.py::test_whatever_is_raised_is_a_bounded_failure_of_its_attempt"
_FAILURE: Final = "unit/test_failure.py::"
_CAUSES: Final = "unit/test_failure_causes.py::"
_STORED: Final = "bad_input/test_stored.py::test_what_is_damaged_fails_alone_with_its_id_and_the_reason"
_COMMAND: Final = "bad_input/test_command_line.py::test_a_payload_that_is_no_sound_json_is_refused_on_one_line"
_CALLS: Final = "bad_input/test_calls.py::"
_QUERY: Final = f"{_CALLS}test_a_question_that_can_not_be_asked_is_refused_in_the_same_words_by_all"
_RAISING: Final = "bad_input/test_raised.py::"
_DEFINED: Final = "bad_input/test_definitions.py::"
_INPUT: Final = "engine/test_bad_input.py::"
_MANNERS: Final = "engine/test_bad_manners.py::"
_OUTCOMES: Final = "engine/test_bad_outcomes.py::"


def _by_number(number: int, *tests: str) -> list[str]:
    """Name tests whose tables of cases begin with the case's number."""
    return [f"{test}#{number}-" for test in tests]


TESTS: Final[dict[int, list[str]]] = {
    1: [f"{_EDGES}test_a_target_that_is_no_step_is_told_once", f"{_EDGES}test_every_target_is_looked_at"],
    2: [
        f"{_DEFINED}test_a_workflow_has_one_start_which_is_a_step",
        f"{_DEFINED}test_a_workflow_without_a_start_is_told_by_python",
    ],
    3: [f"{_GRAPH}test_a_step_that_can_not_be_reached_is_told"],
    4: [
        f"{_GRAPH}test_steps_that_never_come_to_an_end_are_told_together",
        f"{_GRAPH}test_a_workflow_without_an_end_is_told",
        f"{_GRAPH}test_a_step_without_edges_is_a_dead_end",
    ],
    5: [f"{_GRAPH}test_a_cycle_needs_a_bound", f"{_GRAPH}test_a_step_that_leads_to_itself_is_a_cycle"],
    6: [
        f"{_EDGES}test_a_route_without_an_edge_and_an_edge_without_a_route_are_told",
        f"{_DEFINED}test_a_route_without_an_edge_is_told_with_the_value_that_was_seen",
    ],
    7: _by_number(7, f"{_RAISING}test_a_route_that_is_no_edge_is_a_failure_whatever_it_is"),
    8: [
        f"{_EDGES}test_two_steps_with_one_name_are_refused",
        f"{_DEFINED}test_names_that_differ_in_case_are_different_steps",
    ],
    9: [f"{_DEFINITION}test_a_bad_name_is_refused_and_shown_in_ascii"],
    10: [
        f"{_DEFINITION}test_a_handler_that_can_not_be_called_is_refused",
        f"{_DEFINITION}test_a_coroutine_that_was_made_already_is_no_handler",
        f"{_DEFINED}test_odd_but_sound_handlers_run",
    ],
    11: [
        f"{_DEFINITION}test_a_handler_that_can_not_be_called_is_refused",
        f"{_DEFINITION}test_a_handler_may_take_more_than_it_is_given",
        f"{_DEFINED}test_odd_but_sound_handlers_run",
        f"{_EDGES}test_an_annotation_that_allows_what_is_no_route_is_refused",
    ],
    12: [
        f"{_INPUT}test_the_same_workflow_twice_is_harmless_and_a_changed_one_is_not",
        f"{_INPUT}test_a_changed_workflow_is_refused_while_live_executions_use_it_and_others_go_on",
    ],
    13: [f"{_DEFINITION}test_a_bad_version_is_refused"],
    14: [
        f"{_DEFINED}test_a_workflow_can_not_be_its_own_child",
        f"{_DEFINED}test_workflows_lie_within_each_other_on_fifty_levels_at_most",
        f"{_DEFINED}test_workflows_within_workflows_come_to_their_end",
        f"{_EDGES}test_a_child_is_a_workflow",
    ],
    15: [
        f"{_GRAPH}test_too_many_steps_are_refused_before_anything_else_is_looked_at",
        f"{_GRAPH}test_many_mistakes_are_found_in_linear_time",
        f"{_DEFINED}test_many_branches_are_taken_up_to_the_limit_of_edges",
    ],
    16: [
        f"{_DEFINITION}test_a_bad_retry_is_refused",
        "unit/test_retry.py::test_a_bad_field_is_named",
        "unit/test_retry.py::test_all_bad_fields_are_named_at_once",
    ],
    17: [
        f"{_DEFINITION}test_a_bad_timeout_is_refused",
        "unit/test_retry.py::test_seconds_refuses_what_no_wait_can_last",
        f"{_CALLS}test_a_timeout_that_is_none_is_refused_where_the_wait_is_made",
    ],
    18: [f"{_INPUT}test_each_way_to_send_a_wrong_signal_is_told_apart"],
    19: [
        f"{_DEFINED}test_what_is_changed_after_it_was_given_changes_nothing",
        "unit/test_definition.py::test_a_workflow_can_not_be_changed",
    ],
    20: [
        f"{_CALLS}test_concurrent_registrations_in_threads_leave_one_workflow",
        f"{_INPUT}test_the_same_workflow_twice_is_harmless_and_a_changed_one_is_not",
    ],
    **{number: _by_number(number, _CODEC_REFUSED, _RESULT, _CLIENT) for number in (21, 23, 28, 29, 30)},
    22: _by_number(22, _CODEC_KEPT, _KEPT),
    24: _by_number(24, _CODEC_KEPT, _KEPT),
    25: _by_number(25, _FOREIGN, _STORED, _UNFIT),
    26: _by_number(26, _CODEC_KEPT, _KEPT),
    27: _by_number(27, _CODEC_KEPT, _KEPT),
    31: [*_by_number(31, _FOREIGN), f"{_COMMAND}#is given twice"],
    **{number: _by_number(number, _CODEC_REFUSED, _CODEC_TYPED, _RESULT, _CLIENT) for number in (32, 33, 34, 37, 38)},
    35: _by_number(35, _CODEC_REFUSED, _RESULT, _CLIENT),
    36: [
        *_by_number(36, _CODEC_REFUSED, _CODEC_TYPED, _KEPT),
        "unit/test_codec.py::test_a_named_zone_keeps_its_instant_and_offset",
    ],
    39: [*_by_number(39, _CODEC_REFUSED, _CODEC_KEPT, _RESULT, _CLIENT)],
    40: _by_number(40, _CODEC_REFUSED, _RESULT, _CLIENT, _FOREIGN, _STORED),
    41: _by_number(
        41, _RESULT, "unit/test_codec_sizes.py::test_what_is_too_large_is_refused_in_time_and_names_the_largest_part"
    ),
    42: _by_number(42, _CODEC_KEPT, _KEPT),
    43: [
        "bad_input/test_payloads.py::test_a_result_that_changes_after_its_return_is_stored_as_it_was",
        "unit/test_codec.py::test_a_result_that_changes_afterwards_is_stored_as_it_was",
    ],
    44: _by_number(44, _CODEC_REFUSED, _RESULT, _CLIENT),
    45: _by_number(45, _CODEC_REFUSED, _RESULT, _CLIENT),
    46: _by_number(46, _CODEC_REFUSED, _CODEC_KEPT, _KEPT),
    47: [*_by_number(47, _FOREIGN), f"{_COMMAND}#no utf-8"],
    48: [
        *_by_number(48, _STORED, _UNFIT),
        "bad_input/test_stored.py::test_clients_are_told_which_execution_can_not_be_read",
        "bad_input/test_stored.py::test_what_can_be_read_is_shown_beside_what_can_not",
        "bad_input/test_stored.py::test_a_damaged_graph_is_written_anew",
        f"{_INPUT}test_an_input_that_became_unreadable_fails_its_execution_alone",
    ],
    49: [
        f"{_CALLS}test_an_id_is_checked_in_the_same_way_by_every_call_that_makes_one",
        f"{_INPUT}test_an_unknown_execution_is_told_by_every_call",
        "unit/test_checks.py::test_a_bad_execution_id_is_refused",
    ],
    50: [
        f"{_CALLS}test_an_id_is_kept_byte_by_byte",
        "unit/test_checks.py::test_ids_that_differ_in_case_or_normal_form_stay_different",
    ],
    51: [
        f"{_INPUT}test_an_unknown_workflow_is_told_with_the_known_ones",
        f"{_INPUT}test_without_a_version_where_there_are_several_they_are_listed",
    ],
    52: [
        "bad_input/test_payloads.py::test_an_input_of_the_wrong_shape_is_told_with_the_place",
        f"{_INPUT}test_an_input_that_does_not_fit_is_told_with_its_path",
    ],
    53: [
        f"{_INPUT}test_an_id_that_is_taken_conflicts_unless_the_content_is_the_same",
        f"{_INPUT}test_concurrent_starts_of_one_id_make_one_execution",
    ],
    54: [
        f"{_INPUT}test_each_way_to_send_a_wrong_signal_is_told_apart",
        f"{_INPUT}test_signals_beyond_the_limit_are_refused",
        f"{_RAISING}test_a_resolver_that_plays_tricks_rejects_the_signal_and_the_wait_stays_open",
    ],
    55: [f"{_CALLS}test_a_cancel_tells_how_it_stands_whatever_was_before"],
    56: [
        f"{_CALLS}test_a_timeout_that_is_none_is_refused_where_the_wait_is_made",
        f"{_INPUT}test_bad_arguments_of_other_calls_are_told",
    ],
    57: [
        f"{_CALLS}test_a_start_at_a_time_is_due_at_that_instant_and_one_in_the_past_at_once",
        f"{_INPUT}test_a_bad_argument_of_start_is_told_and_starts_nothing",
        f"{_INPUT}test_times_far_away_are_taken_as_they_are",
    ],
    58: [f"{_QUERY}#limit must be", f"{_INPUT}test_bad_arguments_of_other_calls_are_told"],
    59: [f"{_CALLS}test_a_filter_is_taken_literally", f"{_QUERY}#$gt"],
    60: [f"{_CALLS}test_a_question_has_no_other_fields_and_no_order_of_its_own"],
    61: [
        f"{_CALLS}test_tags_without_an_end_are_refused",
        "unit/test_checks.py::test_a_bad_tag_is_refused_with_its_place",
        "unit/test_checks.py::test_bad_metadata_is_refused",
        f"{_INPUT}test_a_bad_argument_of_start_is_told_and_starts_nothing",
    ],
    62: [f"{_QUERY}#forged", f"{_CALLS}test_a_cursor_of_another_question_gives_a_page_and_no_error"],
    63: [
        f"{_CALLS}test_no_message_shows_the_password_of_what_it_is_about",
        f"{_CALLS}test_nothing_that_is_made_with_a_dsn_in_the_wrong_place_shows_its_password",
        f"{_CALLS}test_a_storage_shows_no_password",
        *_by_number(63, _RAISED),
        "unit/test_failure_secrets.py::test_a_secret_in_a_url_is_taken_out_before_the_cut",
        "unit/test_postgres_address.py::test_what_is_no_dsn_is_refused_and_not_shown",
        "storage/test_postgres_bad_input.py::test_with_a_wrong_password_is_refused_at_once",
        "storage/test_sqlite_file.py::test_a_database_in_memory_is_refused",
        "storage/test_sqlite_file.py::test_what_is_read_only_is_refused",
        "cli/test_postgres.py::test_that_is_no_dsn_is_one_line_without_the_password",
    ],
    64: [
        f"{_CALLS}test_all_that_is_wrong_with_an_engine_is_told_at_once",
        "engine/test_bad_settings.py::test_a_nonsensical_setting_is_told_when_the_engine_is_made",
        "unit/test_checks.py::test_all_wrong_limits_are_told_at_once",
    ],
    65: [
        "storage/test_sqlite_file.py::test_a_newer_schema_is_refused_with_both_versions",
        "storage/test_sqlite_file.py::test_a_file_that_is_no_database_is_refused_and_left_alone",
        "storage/test_migrate.py::test_a_schema_of_the_future_is_refused_with_both_versions",
        "storage/test_migrate.py::test_an_older_file_is_brought_up_to_date",
        "storage/test_migrate.py::test_a_migration_that_fails_leaves_nothing",
        "cli/test_commands.py::test_a_database_of_something_else_is_left_alone",
        "cli/test_postgres.py::test_that_a_newer_release_has_changed_is_one_line",
    ],
    66: [*_by_number(66, _RAISED), f"{_FAILURE}test_a_text_that_cannot_be_made_is_said_so"],
    67: _by_number(67, _RAISED),
    68: [*_by_number(68, _RAISED), f"{_FAILURE}test_a_long_message_keeps_its_head_and_its_tail"],
    69: [*_by_number(69, _RAISED), f"{_FAILURE}test_nul_and_surrogates_are_escaped"],
    70: [*_by_number(70, _RAISED), f"{_CAUSES}test_a_long_chain_keeps_both_ends"],
    71: [*_by_number(71, _RAISED), f"{_CAUSES}test_a_group_tells_its_first_members_and_how_many_more"],
    72: [f"{_RAISING}test_a_group_of_an_error_and_a_cancellation_of_the_users_is_a_failure_of_both"],
    73: [*_by_number(73, _RAISED), f"{_FAILURE}test_a_deep_traceback_keeps_both_ends"],
    74: _by_number(74, _RAISED),
    75: [*_by_number(75, _RAISED), f"{_RAISING}test_the_end_of_an_iterator_is_no_end_of_the_worker"],
    76: [
        *_by_number(76, _RAISED),
        "engine/test_interrupts.py::*",
    ],
    77: [
        f"{_RAISING}test_a_native_cancellation_of_the_users_is_a_failure_of_its_own_code",
        f"{_MANNERS}test_a_cancellation_that_user_code_raises_itself_is_a_failure",
    ],
    78: [*_by_number(78, _RAISED), f"{_OUTCOMES}test_an_async_decision_that_takes_too_long_times_out"],
    79: _by_number(79, _RAISED),
    80: [*_by_number(80, _RAISED), f"{_RAISING}test_what_is_raised_after_success_does_not_undo_it"],
    81: [
        *_by_number(81, _CODEC_REFUSED, f"{_RAISING}test_a_route_that_is_no_edge_is_a_failure_whatever_it_is"),
        f"{_OUTCOMES}test_a_forgotten_await_is_named_as_such",
        f"{_OUTCOMES}test_a_result_that_cannot_be_stored_fails_its_attempt_and_names_the_step",
    ],
    82: [
        f"{_MANNERS}test_a_background_task_in_a_group_of_the_handlers_ends_with_its_timeout",
        f"{_MANNERS}test_a_native_task_that_a_handler_leaves_behind_changes_nothing",
        f"{_MANNERS}test_a_cancel_scope_that_a_handler_leaves_open_does_no_harm_to_others",
    ],
    83: [
        f"{_MANNERS}test_context_variables_of_one_attempt_are_not_seen_by_the_next",
        f"{_RAISING}test_a_handler_that_changes_the_process_harms_nobody",
    ],
    84: [
        f"{_RAISING}test_what_a_handler_prints_is_not_stored_and_a_closed_output_harms_nobody",
        f"{_RAISING}test_a_listener_that_raises_is_logged_in_bounds_and_without_a_password",
    ],
    85: [
        f"{_RAISING}test_a_handler_that_would_wait_for_itself_is_told_by_its_own_timeout",
        f"{_MANNERS}test_a_handler_may_start_another_execution_and_wait_for_it",
        f"{_MANNERS}test_a_handler_may_cancel_its_own_execution",
        f"{_MANNERS}test_a_handler_may_signal_and_pause_its_own_execution",
    ],
}


@cache
def _functions(file: str) -> dict[str, str]:
    """Return the tests of a file, and the source of the whole file for what their tables hold."""
    text = (_ROOT / file).read_text(encoding="utf-8")
    return {node.name: text for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | _ASYNC)}


_ASYNC: Final = ast.AsyncFunctionDef


def _is_there(test: str) -> bool:
    name, _, in_table = test.partition("#")
    file, _, function = name.partition("::")
    if not (_ROOT / file).is_file():
        return False
    found = _functions(file)
    if function == "*":
        return any(name.startswith("test_") for name in found)
    if function not in found:
        return False
    tables = found[function]
    return not in_table or (f'"{in_table}' if in_table.endswith("-") else in_table) in tables


def rows() -> Iterator[tuple[int, str, list[str], str]]:
    """Yield each case: number, what it is, its tests, and what of it is exempt."""
    for number, case in CASES.items():
        yield number, case, TESTS.get(number, []), EXEMPT.get(number, "")


def gaps() -> list[str]:
    """Return what is wrong with the matrix: cases without a test or a reason, tests that there are not."""
    found = [f"case {number} ({case}) has no test" for number, case, tests, why in rows() if not tests and not why]
    found += [
        f"case {number}: there is no {test}" for number, _, tests, _ in rows() for test in tests if not _is_there(test)
    ]
    return found


def _print() -> int:
    for number, case, tests, why in rows():
        print(f"{number:2}  {case}")  # noqa: T201 -- that is what it is for
        for line in [*tests, *([f"exempt in part: {why}"] if why else [])]:
            print(f"      {line}")  # noqa: T201
    wrong = gaps()
    print("\n".join(wrong) or f"{len(CASES)} cases, none without a test")  # noqa: T201
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(_print())
