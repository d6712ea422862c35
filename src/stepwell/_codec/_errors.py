"""What is raised for data that can't be stored or read, and how a place within it is written."""

from __future__ import annotations

import re
from typing import Final

from stepwell._errors import StepwellError
from stepwell._failure import describe, escaped, shorten

_WHAT: Final = 200
_PATH: Final = 300
_REASON: Final = 600
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")

Path = tuple["Path", object] | None
"""A place within a value: the path of what holds it, and its key, index or field; None is the value itself."""


class PayloadError(StepwellError, ValueError):
    """Raised when data can't be stored and read back equal, or what is stored does not fit the annotated type.

    Attributes:
        what: The data it is about, such as `the output of step 'pay'`.
        path: Where in the data, such as `$.metrics[3].value`; `$` is all of it.
        reason: What is wrong there, and what to do.
    """

    def __init__(self, what: str, path: str, reason: str) -> None:
        self.what = shorten(escaped(what), _WHAT)
        self.path = shorten(escaped(path), _PATH)
        self.reason = shorten(escaped(reason), _REASON)
        super().__init__(what, path, reason)

    def __str__(self) -> str:
        return f"{self.what}: at {self.path}: {self.reason}"


class LimitExceeded(PayloadError):
    """Raised when data is larger or nested deeper than the engine's limits allow; the message has both numbers.

    Attributes:
        limit: What is allowed.
        actual: What was found, or a lower bound of it if counting on would have cost too much.
    """

    def __init__(self, what: str, path: str, reason: str, limit: int, actual: int) -> None:
        super().__init__(what, path, reason)
        self.args = (what, path, reason, limit, actual)
        self.limit = limit
        self.actual = actual


class UnsupportedType(StepwellError, TypeError):
    """Raised when a workflow is registered and a type of its data can't be stored as JSON."""


def path_text(path: Path) -> str:
    """Return `$.metrics[3].value`; a key that is no plain name is quoted and shortened."""
    labels: list[object] = []
    while path is not None:
        path, label = path
        labels.append(label)
    return "$" + "".join(_label_text(label) for label in reversed(labels))


def _label_text(label: object) -> str:
    if type(label) is str and _PLAIN_KEY.fullmatch(label):
        return f".{label}"
    return f"[{describe(label, 40)}]"
