"""Questions about what user code raised, asked without running any more of its code.

`isinstance` asks the object for its `__class__` and the class for its `__instancecheck__`, and `group.subgroup` may be
overridden, recurses, and takes exponential time for groups that share members. Any of these would get out of the place
that catches whatever user code does.
"""

from __future__ import annotations

from typing import Any, Final, cast

__all__ = ["holds", "is_a", "is_caught"]

_MEMBERS: Final[Any] = vars(BaseExceptionGroup)["exceptions"]


def is_a(error: BaseException, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Tell whether *error* is of a class, whatever it says about that itself. *kinds* are not the user's."""
    return issubclass(type(error), kinds)


def holds(error: BaseException, kinds: type[BaseException] | tuple[type[BaseException], ...]) -> bool:
    """Tell whether *error*, or what it holds at any depth if it is a group, is of a class. *kinds* as for `is_a`."""
    pending = [error]
    seen = set[int]()
    while pending:
        one = pending.pop()
        if is_a(one, kinds):
            return True
        if is_a(one, BaseExceptionGroup) and id(one) not in seen:
            seen.add(id(one))
            pending += cast("tuple[BaseException, ...]", _MEMBERS.__get__(one))
    return False


def is_caught(error: BaseException, kind: type[BaseException]) -> bool:
    """Tell whether *error* is an instance of a class of the user's; not, if that class or the error raises when asked.

    KeyboardInterrupt goes on.
    """
    try:
        return bool(isinstance(error, kind))
    except KeyboardInterrupt:
        raise
    except BaseException:  # a metaclass, or a property of the error's named __class__
        return type.__subclasscheck__(kind, type(error))
