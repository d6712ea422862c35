"""What a defective storage is: right in everything but one thing."""

from __future__ import annotations

from typing import ClassVar

from stepwell.storage.memory import MemoryStorage

__all__ = ["Defective"]


class Defective(MemoryStorage):
    """A storage whose docstring tells its one defect."""

    caught_by: ClassVar[str]
    """names of the checks that must find it, without `check_`, separated by white space"""
