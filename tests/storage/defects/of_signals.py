"""Defects of wakes and signals."""

from __future__ import annotations

from msgspec.structs import replace

from stepwell.storage import Change, Deposit, Entry, Kind, SignalState, Status, Stored, Unit, Wake
from tests.storage.defects.defective import Defective

Part = Change | Wake | Deposit


class WakesLeaveNoEntry(Defective):
    """A Wake makes the parent due, but doesn't raise its revision."""

    caught_by = """
        a_wake_appends_its_entry a_parent_that_was_deciding_is_refused a_wake_goes_with_its_unit
        each_wake_at_once_counts a_unit_is_committed_whole
    """

    def _wake(self, wake: Wake, now: int) -> None:
        before = self._rows.get(wake.id)
        super()._wake(wake, now)
        if before is not None and not before.status.is_terminal:
            self._journals[wake.id].pop()
            self._rows[wake.id] = replace(self._rows[wake.id], revision=before.revision)


class WakesKeepTheirNumbers(Defective):
    """A Wake's entry that has a `seq` keeps it."""

    caught_by = "a_wake_appends_its_entry"

    def _wake(self, wake: Wake, now: int) -> None:
        super()._wake(wake, now)
        if wake.id in self._rows and wake.entry.seq:
            self._journals[wake.id][-1] = replace(self._journals[wake.id][-1], seq=wake.entry.seq)


class WakesMakeNothingDue(Defective):
    """A Wake doesn't move the due time of a suspended parent."""

    caught_by = "a_wake_makes_a_suspended_parent_due each_wake_at_once_counts"

    def _wake(self, wake: Wake, now: int) -> None:
        before = self._rows.get(wake.id)
        super()._wake(wake, now)
        if before is not None:
            self._rows[wake.id] = replace(self._rows[wake.id], due_at=before.due_at)


class WakesMakeEverythingDue(Defective):
    """A Wake makes its parent due wherever it stands."""

    caught_by = "a_wake_leaves_the_due_time_of_others"

    def _wake(self, wake: Wake, now: int) -> None:
        super()._wake(wake, now)
        if wake.id in self._rows:
            self._store(replace(self._rows[wake.id], due_at=now), moved=True)


class WakesClearTheTimer(Defective):
    """A Wake sets the timer to the due time."""

    caught_by = "a_wake_keeps_the_timer"

    def _wake(self, wake: Wake, now: int) -> None:
        super()._wake(wake, now)
        if wake.id in self._rows:
            row = self._rows[wake.id]
            self._rows[wake.id] = replace(row, timer_at=row.due_at)


class TheEndedAreWoken(Defective):
    """A Wake writes into the journal of a parent that has ended."""

    caught_by = "a_wake_of_an_ended_parent_has_no_effect"

    def _wake(self, wake: Wake, now: int) -> None:
        row = self._rows.get(wake.id)
        if row is not None and row.status.is_terminal:
            self._rows[wake.id] = replace(row, status=Status.QUEUED)
            super()._wake(wake, now)
            self._rows[wake.id] = replace(self._rows[wake.id], status=row.status)
        else:
            super()._wake(wake, now)


class WakesOfTheEndedAreRefused(Defective):
    """A unit with a Wake is refused where the parent has ended or is gone."""

    caught_by = "a_wake_of_an_ended_parent_has_no_effect a_wake_of_an_unknown_parent_has_no_effect"

    def _permits(self, part: Part) -> bool:
        if isinstance(part, Wake):
            row = self._rows.get(part.id)
            return row is not None and not row.status.is_terminal
        return super()._permits(part)


class WakesLeaveOrphans(Defective):
    """A Wake of an unknown parent leaves an entry that belongs to no execution."""

    caught_by = "a_wake_of_an_unknown_parent_has_no_effect"

    async def journal(self, id: str, /, *, after: int = 0, limit: int = 1000) -> list[Entry]:
        return self._journals[id][after : after + limit]

    def _wake(self, wake: Wake, now: int) -> None:
        if wake.id not in self._rows:
            self._journals[wake.id].append(wake.entry)
        super()._wake(wake, now)


class SignalsRaiseTheRevision(Defective):
    """A Deposit raises the revision, by an entry in the journal."""

    caught_by = "a_signal_raises_the_counter_only load_is_of_one_moment"

    def _deposit(self, deposit: Deposit, now: int) -> None:
        super()._deposit(deposit, now)
        row = self._rows[deposit.id]
        self._rows[deposit.id] = replace(row, revision=row.revision + 1)


class SignalsAreInTheJournal(Defective):
    """A Deposit writes an entry without raising the revision."""

    caught_by = "a_signal_raises_the_counter_only load_is_of_one_moment"

    def _deposit(self, deposit: Deposit, now: int) -> None:
        super()._deposit(deposit, now)
        self._journals[deposit.id].append(Entry(Kind.WOKEN, seq=self._rows[deposit.id].revision))


class SignalsAreKeptAsSent(Defective):
    """A signal keeps the state and the time that it was sent with."""

    caught_by = "a_new_signal_is_pending a_signal_is_kept"

    def _deposit(self, deposit: Deposit, now: int) -> None:
        super()._deposit(deposit, now)
        self._signals[deposit.id][deposit.signal.id] = deposit.signal


class PayloadsOfSignalsAreStripped(Defective):
    """A signal's payload loses white space at its ends."""

    caught_by = "signals_payloads_come_back_exactly"

    def _deposit(self, deposit: Deposit, now: int) -> None:
        signal = deposit.signal
        super()._deposit(replace(deposit, signal=replace(signal, payload=signal.payload.strip())), now)


class SignalsComeById(Defective):
    """Signals come in the order of their ids."""

    caught_by = "signals_come_oldest_first"

    def _stored(self, id: str, now: int) -> Stored:
        stored = super()._stored(id, now)
        return replace(stored, signals=tuple(sorted(stored.signals, key=lambda signal: signal.id)))


class OnlyPendingSignalsAreLoaded(Defective):
    """Load returns only the signals that are pending."""

    caught_by = "signals_come_oldest_first signals_are_marked_used_or_discarded a_signal_id_is_used_once"

    def _stored(self, id: str, now: int) -> Stored:
        stored = super()._stored(id, now)
        return replace(stored, signals=tuple(s for s in stored.signals if s.state is SignalState.PENDING))


class SignalsForTheUnknownAreKept(Defective):
    """A signal for an unknown execution is accepted, and turns up when it is created."""

    caught_by = "a_signal_for_an_unknown_execution_is_refused a_unit_is_refused_whole"

    def _permits(self, part: Part) -> bool:
        return (isinstance(part, Deposit) and part.id not in self._rows) or super()._permits(part)

    def _deposit(self, deposit: Deposit, now: int) -> None:
        if deposit.id in self._rows:
            super()._deposit(deposit, now)
        else:
            self._signals[deposit.id][deposit.signal.id] = deposit.signal


class SignalsForTheEndedAreAccepted(Defective):
    """A signal for an execution that has ended is accepted."""

    caught_by = "a_signal_for_an_ended_execution_is_refused"

    def _permits(self, part: Part) -> bool:
        row = self._rows.get(part.id)
        return (isinstance(part, Deposit) and row is not None and row.status.is_terminal) or super()._permits(part)


class OnlyTheSuspendedAcceptSignals(Defective):
    """A signal that is early is refused."""

    caught_by = """
        a_signal_for_a_live_execution_is_accepted a_signal_is_kept a_signal_id_belongs_to_its_execution
        a_signal_and_a_suspension_do_not_miss_each_other
    """

    def _permits(self, part: Part) -> bool:
        row = self._rows.get(part.id)
        early = isinstance(part, Deposit) and row is not None and row.status is not Status.SUSPENDED
        return not early and super()._permits(part)


class SignalsAreNotCounted(Defective):
    """A Deposit is accepted whatever number of signals it expects."""

    caught_by = "a_signal_that_counted_others_is_refused one_of_many_signals_is_accepted"

    def _permits(self, part: Part) -> bool:
        if isinstance(part, Deposit) and part.id in self._rows:
            part = replace(part, expects=self._rows[part.id].signals)
        return super()._permits(part)


class UsedSignalIdsAreFree(Defective):
    """The id of a signal that was used may be used again."""

    caught_by = "a_signal_id_is_used_once"

    def _permits(self, part: Part) -> bool:
        if isinstance(part, Deposit):
            known = self._signals[part.id].get(part.signal.id)
            if known is not None and known.state is SignalState.USED:
                return True
        return super()._permits(part)


class SignalIdsAreGlobal(Defective):
    """A signal id that another execution has used is refused."""

    caught_by = "a_signal_id_belongs_to_its_execution a_change_of_one_execution_leaves_others_alone"

    def _permits(self, part: Part) -> bool:
        taken = isinstance(part, Deposit) and any(part.signal.id in known for known in self._signals.values())
        return not taken and super()._permits(part)


class SignalsMakeNothingDue(Defective):
    """A signal doesn't make the wait due that it was sent to."""

    caught_by = "a_signal_makes_its_wait_due a_signal_and_a_suspension_do_not_miss_each_other"

    def _deposit(self, deposit: Deposit, now: int) -> None:
        due_at = self._rows[deposit.id].due_at
        super()._deposit(deposit, now)
        self._rows[deposit.id] = replace(self._rows[deposit.id], due_at=due_at)


class SignalsMakeEverythingDue(Defective):
    """A signal makes an execution due wherever it stands."""

    caught_by = "a_signal_for_another_step_makes_nothing_due a_signal_raises_the_counter_only"

    def _deposit(self, deposit: Deposit, now: int) -> None:
        super()._deposit(deposit, now)
        self._store(replace(self._rows[deposit.id], due_at=now), moved=True)


class MarksMissWhatIsNew(Defective):
    """A Change doesn't mark a signal that is laid down in the same unit."""

    caught_by = "a_signal_is_used_where_it_is_laid_down"

    def _commit(self, unit: Unit, now: int) -> bool:
        is_committed = super()._commit(unit, now)
        for part in unit if is_committed else ():
            if isinstance(part, Deposit):
                signals = self._signals[part.id]
                signals[part.signal.id] = replace(signals[part.signal.id], state=SignalState.PENDING)
        return is_committed
