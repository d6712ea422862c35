"""Defects of what a Change stores: entries, rows and signals that aren't as they were sent."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from stepwell.storage import NEVER, Change, Deposit, Moment, SignalState, Wake
from tests.storage.defects.defective import Defective

Part = Change | Wake | Deposit


class EntriesKeepTheirNumbers(Defective):
    """An entry that has a `seq` keeps it."""

    caught_by = "entries_are_numbered_from_the_expected_revision"

    def _change(self, change: Change, now: int) -> None:
        super()._change(change, now)
        journal = self._journals[change.row.id]
        for place, entry in enumerate(change.entries, change.expects):
            journal[place] = replace(journal[place], seq=entry.seq or journal[place].seq)


class RevisionsAreTakenFromTheRow(Defective):
    """The row is stored with the revision that stands in the Change's row."""

    caught_by = "entries_are_numbered_from_the_expected_revision"

    def _change(self, change: Change, now: int) -> None:
        super()._change(change, now)
        self._rows[change.row.id] = replace(self._rows[change.row.id], revision=change.row.revision)


class EntriesKeepTheirChange(Defective):
    """An entry that has the id of a change keeps it."""

    caught_by = "entries_carry_the_change_and_one_time"

    def _change(self, change: Change, now: int) -> None:
        super()._change(change, now)
        journal = self._journals[change.row.id]
        for place, entry in enumerate(change.entries, change.expects):
            journal[place] = replace(journal[place], change=entry.change or change.id)


class EntriesHaveTheirOwnTimes(Defective):
    """Each entry has a time of its own."""

    caught_by = "entries_carry_the_change_and_one_time"

    def _change(self, change: Change, now: int) -> None:
        super()._change(change, now)
        journal = self._journals[change.row.id]
        for place in range(change.expects, len(journal)):
            journal[place] = replace(journal[place], at=now + place)


class EntriesLoseTheirRoute(Defective):
    """An entry's route isn't stored."""

    caught_by = "entries_keep_their_fields names_come_back_exactly a_wake_appends_its_entry"

    def _change(self, change: Change, now: int) -> None:
        super()._change(replace(change, entries=tuple(replace(entry, route=None) for entry in change.entries)), now)

    def _wake(self, wake: Wake, now: int) -> None:
        super()._wake(replace(wake, entry=replace(wake.entry, route=None)), now)


class JournalsAreRewritten(Defective):
    """A Change writes its id and time into the entries before it, too."""

    caught_by = "earlier_entries_stay"

    def _change(self, change: Change, now: int) -> None:
        super()._change(change, now)
        journal = self._journals[change.row.id]
        journal[:] = [replace(entry, change=change.id) for entry in journal]


class DelaysBeginAtTheEpoch(Defective):
    """A delay is taken for a time."""

    caught_by = """
        due_after_is_counted_from_the_commit what_is_not_due_is_left_alone what_comes_due_is_claimed
        what_was_moved_is_claimed_by_its_new_time
    """

    def _change(self, change: Change, now: int) -> None:
        due = change.due
        if due is not None and due.after:
            due = Moment(at=round(due.after * 1_000_000))
        super()._change(replace(change, due=due), now)


class TimesAreFloats(Defective):
    """Times lose their last microseconds."""

    caught_by = "due_at_is_kept_to_the_microsecond"

    def _change(self, change: Change, now: int) -> None:
        due = change.due
        if due is not None and due.at is not None:
            due = Moment(at=int(float(due.at) / 1_000_000) * 1_000_000)
        super()._change(replace(change, due=due), now)


class NeverMeansAsBefore(Defective):
    """A due time of never leaves the stored one."""

    caught_by = "due_never_clears_it"

    def _change(self, change: Change, now: int) -> None:
        super()._change(replace(change, due=None if change.due == NEVER else change.due), now)


class DueTimesStayWhereTheyWere(Defective):
    """A Change of an execution that exists doesn't move its due time."""

    caught_by = """
        due_and_timer_are_settled_apart what_was_moved_is_claimed_by_its_new_time
        a_commit_and_a_claim_exclude_each_other
    """

    def _change(self, change: Change, now: int) -> None:
        super()._change(replace(change, due=None) if change.expects else change, now)


class DueTimesAreTakenFromTheRow(Defective):
    """Where `due` and `timer` are None, the times in the Change's row are stored."""

    caught_by = "due_and_timer_of_none_stay"

    def _change(self, change: Change, now: int) -> None:
        due = Moment(at=change.row.due_at) if change.due is None else change.due
        super()._change(replace(change, due=due), now)


class TimersFollowDueTimes(Defective):
    """Where only `due` is given, the timer moves as well."""

    caught_by = "due_and_timer_are_settled_apart"

    def _change(self, change: Change, now: int) -> None:
        timer = change.timer if change.timer is not None else change.due
        super()._change(replace(change, timer=timer), now)


class CountersAreTakenFromTheRow(Defective):
    """The signal counter is stored as it stands in the Change's row."""

    caught_by = "a_change_leaves_the_signal_counter_alone"

    def _change(self, change: Change, now: int) -> None:
        super()._change(change, now)
        self._rows[change.row.id] = replace(self._rows[change.row.id], signals=change.row.signals)


class CreationIsTheLastCommit(Defective):
    """`created_at` moves with each commit."""

    caught_by = "times_are_those_of_the_commits"

    def _change(self, change: Change, now: int) -> None:
        super()._change(change, now)
        self._rows[change.row.id] = replace(self._rows[change.row.id], created_at=now + change.expects)


class UpdatesHaveNoTime(Defective):
    """`updated_at` is stored as it stands in the Change's row."""

    caught_by = "times_are_those_of_the_commits"

    def _change(self, change: Change, now: int) -> None:
        super()._change(change, now)
        self._rows[change.row.id] = replace(self._rows[change.row.id], updated_at=change.row.updated_at)


class EndsAreForgotten(Defective):
    """`ended_at` is never set."""

    caught_by = "ended_at_is_set_at_the_end"

    def _change(self, change: Change, now: int) -> None:
        super()._change(change, now)
        self._rows[change.row.id] = replace(self._rows[change.row.id], ended_at=None)


class EndsAreForGood(Defective):
    """`ended_at` stays when the execution is resumed."""

    caught_by = "ended_at_is_set_at_the_end"

    def _change(self, change: Change, now: int) -> None:
        before = self._rows.get(change.row.id)
        super()._change(change, now)
        if before is not None and before.ended_at is not None:
            self._rows[change.row.id] = replace(self._rows[change.row.id], ended_at=before.ended_at)


class SignalsAreNotMarked(Defective):
    """Signals that are used stay pending."""

    caught_by = "signals_are_marked_used_or_discarded"

    def _mark(self, id: str, signal: str, state: SignalState) -> None:
        if state is not SignalState.USED:
            super()._mark(id, signal, state)


class SignalsAreMarkedBeforeTheGuards(Defective):
    """A refused Change marks its signals."""

    caught_by = "a_refused_change_marks_no_signal"

    def _permits(self, part: Part) -> bool:
        if isinstance(part, Change):
            for signal in part.uses:
                self._mark(part.row.id, signal, SignalState.USED)
        return super()._permits(part)


class SignalsAreMarkedEverywhere(Defective):
    """A Change marks the signals of that id in every execution."""

    caught_by = "a_change_of_one_execution_leaves_others_alone"

    def _mark(self, id: str, signal: str, state: SignalState) -> None:
        for each in list(self._signals):
            super()._mark(each, signal, state)


class PausingIsWrittenOnce(Defective):
    """A Change of an execution that exists leaves its pausing flag."""

    caught_by = "a_change_stores_the_whole_row"

    def _change(self, change: Change, now: int) -> None:
        before = self._rows.get(change.row.id)
        super()._change(change, now)
        if before is not None:
            self._rows[change.row.id] = replace(self._rows[change.row.id], pausing=before.pausing)


class ParentsAreForgotten(Defective):
    """A row is stored without its parent."""

    caught_by = """
        a_change_creates_an_execution find_by_parent find_narrows_by_everything_at_once
    """

    def _change(self, change: Change, now: int) -> None:
        super()._change(replace(change, row=replace(change.row, parent=None)), now)


class PayloadsOfRowsAreNormalized(Defective):
    """Inputs, outputs and errors are parsed and written anew."""

    caught_by = "inputs_and_results_come_back_exactly"

    def _change(self, change: Change, now: int) -> None:
        row = change.row
        super()._change(replace(change, row=replace(row, output=_normalized(row.output))), now)


class PayloadsOfEntriesAreNormalized(Defective):
    """The payloads of entries are parsed and written anew."""

    caught_by = "entries_payloads_come_back_exactly"

    def _change(self, change: Change, now: int) -> None:
        entries = tuple(replace(entry, payload=_normalized(entry.payload)) for entry in change.entries)
        super()._change(replace(change, entries=entries), now)


class NullIsNone(Defective):
    """An output of `null` is stored as none."""

    caught_by = "null_is_not_none inputs_and_results_come_back_exactly"

    def _change(self, change: Change, now: int) -> None:
        output = None if change.row.output == "null" else change.row.output
        super()._change(replace(change, row=replace(change.row, output=output)), now)


class TagsAreSets(Defective):
    """Tags are sorted, and each is kept once."""

    caught_by = "tags_come_back_exactly"

    def _change(self, change: Change, now: int) -> None:
        tags = tuple(sorted(set(change.row.tags)))
        super()._change(replace(change, row=replace(change.row, tags=tags)), now)


class BooleansAreNumbers(Defective):
    """`true` in metadata comes back as `1`."""

    caught_by = "metadata_comes_back_by_type find_by_metadata"

    def _change(self, change: Change, now: int) -> None:
        metadata = {key: int(value) if isinstance(value, bool) else value for key, value in change.row.metadata.items()}
        super()._change(replace(change, row=replace(change.row, metadata=metadata)), now)


class NamesAreStripped(Defective):
    """Names lose white space at their ends."""

    caught_by = "names_come_back_exactly"

    def _change(self, change: Change, now: int) -> None:
        step = change.row.step.strip() if change.row.step is not None else None
        super()._change(replace(change, row=replace(change.row, step=step)), now)


def _normalized(text: str | None) -> str | None:
    try:
        return None if text is None else msgspec.json.encode(msgspec.json.decode(text)).decode()
    except msgspec.DecodeError:
        return text


class ResultsStayUnderALease(Defective):
    """A Change that goes on under its lease leaves output and error as they were."""

    caught_by = "a_change_under_a_lease_stores_the_whole_row"

    def _change(self, change: Change, now: int) -> None:
        before = self._rows.get(change.row.id)
        super()._change(change, now)
        after = self._rows[change.row.id]
        if before is not None and change.due is None and before.token == after.token:
            self._rows[after.id] = replace(after, output=before.output, error=before.error)
