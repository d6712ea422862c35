"""Defects that a named test kills: the peers' real bugs, and what the simulation can't show, or shows too seldom.

The simulation keeps everything in memory, so that what only the SQL can get wrong is here.
"""

from __future__ import annotations

from typing import Final

from tests.mutants.patches import ByTest, Mutant, Patch

__all__ = ["TESTED"]


def _mutant(name: str, test: str, *patches: tuple[str, str, str]) -> Mutant:
    return Mutant(name, ByTest(test), tuple(Patch(*patch) for patch in patches))


def _check(storage: str, check: str) -> str:
    """Return the test that makes a check of the storages' contract on one of them."""
    return f"storage/test_contract.py::test_a_storage_keeps_its_promise[asyncio-{storage}-check_{check}]"


_POSTGRES: Final = "storage._postgres._sql"
_SQLITE: Final = "storage._sqlite"
_LEASES: Final = "_leases:Leases"
_ONE_MORE: Final = "_due(connection, capabilities, limit + 1, now)"
_TRUST: Final = """\
        for one in self._held.values():
            one.trusted_until = sent_at + self.trust_of_a_lease
"""

_OWNERSHIP: Final = (
    _mutant(
        "a renewal is counted from its answer",
        "engine/test_leases.py::test_trust_is_counted_from_when_a_renewal_was_sent_not_from_its_answer[asyncio-memory]",
        (f"{_LEASES}._renew_once", "renewal, sent_at,", "renewal, anyio.current_time(),"),
    ),
    _mutant(
        "a claim is counted from its answer",
        "engine/test_leases.py::test_trust_is_counted_from_when_a_claim_was_sent_not_from_its_answer[asyncio-memory]",
        ("_claiming:Claiming.request", "sent_at) for stored", "anyio.current_time()) for stored"),
    ),
    _mutant(
        "a renewal that failed leaves the lease trusted",
        "engine/test_renewals.py::test_a_renewal_that_fails_is_no_reason_to_trust_a_lease[asyncio-memory-fails]",
        (
            f"{_LEASES}._renew_once",
            "except StorageError as error:\n        self._failed(error)\n",
            f"except StorageError as error:\n        self._failed(error)\n{_TRUST}",
        ),
    ),
    _mutant(
        "a renewal that nobody answers leaves the lease trusted",
        "engine/test_renewals.py::test_a_renewal_that_fails_is_no_reason_to_trust_a_lease[asyncio-memory-hangs]",
        (f"{_LEASES}._renew_once", "except TimeoutError:\n", f"except TimeoutError:\n{_TRUST}"),
    ),
    _mutant(
        "what a renewal reports as lost is taken for renewed",
        "engine/test_watchdog.py::test_what_could_not_be_renewed_is_not_trusted_longer[asyncio-lost]",
        (f"{_LEASES}.extend", "{*renewal.lost, *renewal.locked}", "{*renewal.locked}"),
    ),
    _mutant(
        "what a renewal reports as locked is taken for renewed",
        "engine/test_watchdog.py::test_what_could_not_be_renewed_is_not_trusted_longer[asyncio-locked]",
        (f"{_LEASES}.extend", "{*renewal.lost, *renewal.locked}", "{*renewal.lost}"),
    ),
    _mutant(
        "a handler begins under a lease that ran out",
        "engine/test_two_workers.py::"
        "test_a_handler_does_not_begin_where_its_neighbour_kept_the_loop_past_the_lease[asyncio-memory]",
        ("_calls:Calls._outcome", "if not held.is_trusted(now):", "if False:"),
    ),
    _mutant(
        "a commit is sent under a lease that ran out",
        "engine/test_commits.py::test_nothing_is_sent_for_a_lease_that_is_not_trusted_any_more[asyncio-memory]",
        ("_commits:Commits._may_send", "pending.holder.is_trusted(now)", "True"),
    ),
    _mutant(
        "a stopped worker calls what rides along with a step",
        "simulation/test_plans.py::test_a_worker_that_was_stopped_beyond_its_lease_calls_nothing_more[asyncio]",
        ("_settling:Settling.settle", " and self.is_trusted(self._services.loop.clock())", ""),
    ),
    _mutant(
        "a lease of an earlier claim that is heard of late displaces a newer one",
        "engine/test_regressions.py::test_a_lease_that_is_heard_of_late_does_not_displace_a_later_one[asyncio]",
        (f"{_LEASES}.take", "known.token > token", "False"),
    ),
    _mutant(
        "a lease that was given up is handed back where a renewal is late, as if no attempt had begun",
        "engine/test_leases.py::"
        "test_an_attempt_that_was_given_up_stays_lost_where_a_renewal_that_names_it_arrives_late[asyncio-memory]",
        (f"{_LEASES}._take_in", " and lease not in self._abandoned", ""),
    ),
    _mutant(
        "a start that failed takes the lease from its own worker",
        "engine/test_claimed_at_start.py::test_a_start_that_fails_takes_nothing_from_its_own_worker[asyncio-memory]",
        ("_client:Client._hand_back", "started_by=place.change_id", "started_by=None"),
    ),
    _mutant(
        "leases of a claim whose answer was lost are kept alive, and nobody runs them",
        "engine/test_leases.py::"
        "test_leases_from_a_claim_whose_answer_was_lost_are_handed_back_without_an_attempt[asyncio-memory]",
        (f"{_LEASES}._take_in", "self._unknown(lease)", "pass"),
    ),
    _mutant(
        "a hand-back is decided under the default budget for crashes",
        "engine/test_regressions.py::"
        "test_a_claim_that_nobody_runs_is_handed_back_under_the_engines_own_crash_budget[asyncio-memory]",
        (
            "_claims:hand_back",
            'HandedBack("unknown claim"), terms)',
            'HandedBack("unknown claim"), type(terms)(terms.change_id, False, 3, terms.random))',
        ),
    ),
    _mutant(
        "a worker that is cancelled begins what it has just claimed",
        "engine/test_cancels_and_drains.py::"
        "test_a_worker_that_is_cancelled_while_it_claims_begins_nothing_of_it[asyncio-memory-run_due]",
        (
            "_runner:Run._go_on",
            "await anyio.lowlevel.checkpoint_if_cancelled()\n    while",
            "while",
        ),
    ),
    _mutant(
        "a worker that drains renews nothing any more",
        "engine/test_renewals.py::test_a_worker_that_drains_renews_what_still_runs[asyncio-memory]",
        (
            "_worker:Worker.stop",
            "self.is_stopping = True",
            "self.is_stopping, self.leases._renew_every = True, float('inf')",
        ),
    ),
)

_FAMILIES: Final = (
    _mutant(
        "a child's end is overlooked that comes while a worker looks at it",
        "unit/test_transition_children.py::test_a_parent_whose_child_ends_while_it_looks_is_due_again",
        ("_transition._machine:_stay_suspended", " or draft.state.history.is_woken", ""),
    ),
    _mutant(
        "a parent that is claimed again asks for a second child",
        "unit/test_transition_clients.py::test_a_subworkflow_that_crashed_looks_at_its_child_again",
        ("_transition._plan:plan", 'step.kind == "subworkflow" and is_open', "False"),
    ),
    _mutant(
        "the children of two visits have one id",
        "unit/test_transition_children.py::test_the_id_of_a_child_names_parent_step_and_visit",
        ("_transition._begin:child_id", "if visit == 1 else", "if visit else"),
    ),
    _mutant(
        "a parent that decides just then is not refused when its child wakes it",
        _check("memory", "a_parent_that_was_deciding_is_refused"),
        ("storage.memory:MemoryStorage._wake", "revision=seq,", "revision=row.revision,"),
    ),
    _mutant(
        "Postgres: children that end at once wake a parent that nobody has locked",
        _check("postgres", "each_wake_at_once_counts"),
        (f"{_POSTGRES}:_Commits.standings", " FOR NO KEY UPDATE SKIP LOCKED", ""),
    ),
)

_CLAIMS: Final = (
    _mutant(
        "memory: a claim brings one more than its limit",
        _check("memory", "a_claim_takes_no_more_than_its_limit"),
        (
            "storage.memory:MemoryStorage.claim",
            "ids = self._take(capabilities, limit, now)",
            "ids = self._take(capabilities, limit + 1, now)",
        ),
    ),
    _mutant(
        "SQLite: a claim brings one more than its limit",
        _check("sqlite", "a_claim_takes_no_more_than_its_limit"),
        (f"{_SQLITE}._claim:claim", "_due(connection, capabilities, limit, now)", _ONE_MORE),
    ),
    _mutant(
        "Postgres: a claim brings one more than its limit",
        _check("postgres", "a_claim_takes_no_more_than_its_limit"),
        (f"{_POSTGRES}:Statements.claim", "LIMIT $4\n                  FOR", "LIMIT $4 + 1\n                  FOR"),
        (f"{_POSTGRES}:Statements.claim", "LIMIT $4),\n", "LIMIT $4 + 1),\n"),
    ),
    _mutant(
        "SQLite: a live job is rescued",
        _check("sqlite", "a_running_lease_is_not_claimed"),
        (
            f"{_SQLITE}._claim:claim",
            "_due(connection, capabilities, limit, now)",
            "_due(connection, capabilities, limit, later(now, lease))",
        ),
    ),
    _mutant(
        "Postgres: a live job is rescued",
        _check("postgres", "a_running_lease_is_not_claimed"),
        (f"{_POSTGRES}:Statements.claim", "e.due_at <= clock.now", "e.due_at <= clock.now + $6::bigint"),
    ),
    _mutant(
        "memory: what is claimed is due never again, and stuck in running",
        "engine/test_nothing_lost.py::"
        "test_a_worker_that_dies_in_mid_step_leaves_work_that_another_finishes[asyncio-memory]",
        ("storage.memory:_leased", "due_at=end", "due_at=None"),
    ),
    _mutant(
        "SQLite: what is claimed is due never again, and stuck in running",
        "engine/test_nothing_lost.py::"
        "test_a_worker_that_dies_in_mid_step_leaves_work_that_another_finishes[asyncio-sqlite]",
        (f"{_SQLITE}._claim:claim", "(worker, later(now, lease), now, found)", "(worker, None, now, found)"),
    ),
    _mutant(
        "Postgres: what is claimed is due never again, and stuck in running",
        _check("postgres", "a_lease_ends_by_itself"),
        (f"{_POSTGRES}:Statements.claim", "least(clock.now::numeric + $6::bigint,", "(NULL + $6::bigint,"),
        (f"{_POSTGRES}:Statements.claim", "(NULL + $6::bigint, 9223372036854775807)", "(NULL + $6::bigint)"),
    ),
    _mutant(
        "SQLite: an attempt is not counted at its claim",
        _check("sqlite", "a_claim_counts_an_attempt"),
        (f"{_SQLITE}._claim:_CLAIM", "attempt + (status <> '{Status.SUSPENDED.value}')", "attempt"),
    ),
    _mutant(
        "Postgres: an attempt is not counted at its claim",
        _check("postgres", "a_claim_counts_an_attempt"),
        (
            f"{_POSTGRES}:Statements.claim",
            "e.attempt + (chosen.status <> '{Status.SUSPENDED.value}')::integer",
            "e.attempt",
        ),
    ),
    _mutant(
        "Postgres: a claim is older than the entry before",
        "storage/test_postgres_claim.py::test_its_entry_is_no_older_than_that_of_a_commit_that_it_met[asyncio]",
        (f"{_POSTGRES}:Statements.claim", "greatest(clock.now, e.updated_at)", "clock.now"),
    ),
    _mutant(
        "Postgres: a renewal that names an old token moves the end of the new lease",
        _check("postgres", "a_lease_with_another_token_is_lost"),
        (f"{_POSTGRES}:Statements.renew", "AND e.token = s.token ", ""),
    ),
)

_COMMITS: Final = (
    _mutant(
        "SQLite: whoever lost its lease commits",
        _check("sqlite", "who_lost_its_lease_commits_nothing"),
        (f"{_SQLITE}._commit:_Plan._change", "change.expects != revision or ", ""),
    ),
    _mutant(
        "Postgres: whoever lost its lease commits",
        _check("postgres", "who_lost_its_lease_commits_nothing"),
        (f"{_POSTGRES}:_Commits.commit", " AND e.revision = sent.expects", ""),
    ),
    _mutant(
        "Postgres: a unit of several parts is committed over what came in between",
        _check("postgres", "a_unit_is_refused_whole"),
        ("storage._postgres._plan:Plan._change", "change.expects != revision or ", ""),
    ),
    _mutant(
        "SQLite: a signal that was used can be used again",
        _check("sqlite", "signals_are_marked_used_or_discarded"),
        (f"{_SQLITE}._commit:_Plan._change", "SignalState.USED", "SignalState.PENDING"),
    ),
    _mutant(
        "Postgres: a signal that was used can be used again",
        _check("postgres", "signals_are_marked_used_or_discarded"),
        (f"{_POSTGRES}:_Commits.write", "SET state = t.state", "SET state = g.state"),
    ),
    _mutant(
        "Postgres: a signal that is laid down and used in one unit stays pending",
        _check("postgres", "a_signal_is_used_in_the_unit_that_lays_it_down"),
        ("storage._postgres._plan:_Effects.mark", 'signal["state"] = state.value', "pass"),
    ),
)

TESTED: Final = (*_OWNERSHIP, *_FAMILIES, *_CLAIMS, *_COMMITS)
