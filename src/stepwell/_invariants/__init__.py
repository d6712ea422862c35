"""What must hold of every execution at any moment, read from its row, its journal and its signals alone. Pure.

Rule 1: every rule that can be checked afterwards lives in this package, under the one table `RULES`.
Rule 2: what belongs to one execution comes as of one moment (`Stored`). What belongs to two is read one after the
        other, so `check_children` and `check_parent` find a suspicion, which whoever reads confirms by reading again.
Rule 3: a rule that is broken is a value, a `Breach`; nothing here raises, whatever it is given.
Rule 4: where the journal itself isn't whole, what follows from it isn't looked at.

The numbers of promises are those of `docs/promises.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stepwell._history import History
from stepwell._invariants._breach import RULES, Breach
from stepwell._invariants._family import check_children, check_parent, children_of
from stepwell._invariants._journal import check_entries, check_order
from stepwell._invariants._path import check_path
from stepwell._invariants._row import check_row, check_signals, check_standing

if TYPE_CHECKING:
    from stepwell._definition import Workflow
    from stepwell._model import Stored

__all__ = ["RULES", "Breach", "check_children", "check_execution", "check_parent", "children_of"]

_NOT_WHOLE: Final = frozenset({"begins", "numbered"})


def check_execution(stored: Stored, workflow: Workflow[Any, Any] | None = None) -> list[Breach]:
    """Return what is broken in one execution; with its *workflow*, also whether its visits are a path of the graph."""
    found = [*check_order(stored)]
    if any(breach.rule in _NOT_WHOLE for breach in found):
        return found
    try:
        history = History.of(stored.journal)
        found += check_entries(stored)
        found += check_row(stored, history)
        found += check_standing(stored, history)
        found += check_signals(stored)
        if workflow is not None:
            found += check_path(stored, workflow)
    except (KeyError, TypeError, ValueError) as error:  # an entry that no fold can read
        text = f"{type(error).__name__}: {error}"
        found.append(Breach.of("readable", stored.row.id, "a journal that can be folded", text))
    return found
