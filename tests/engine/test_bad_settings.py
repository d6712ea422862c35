"""What an engine can't be made with: told when it is made, with the name of the setting."""

from __future__ import annotations

import math
from typing import Any

import pytest

from stepwell import Engine, InvalidArgument, SQLiteStorage
from tests.engine.small import healthy

BAD_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"lease": 0}, "lease"),
    ({"lease": -5}, "lease"),
    ({"lease": math.nan}, "lease"),
    ({"lease": "60s"}, "lease"),
    ({"lease": True}, "lease"),
    ({"lease": 10, "renew_every": 20}, "renew_every"),
    ({"lease": 10, "renew_every": 9.5}, "renew_every"),
    ({"renew_every": 0}, "renew_every"),
    ({"default_timeout": 0}, "default_timeout"),
    ({"default_timeout": math.inf}, "default_timeout"),
    ({"max_crashes": -1}, "max_crashes"),
    ({"max_crashes": True}, "max_crashes"),
    ({"max_crashes": 1.5}, "max_crashes"),
    ({"limits": {"payload": 5}}, "limits"),
    ({"name": "my engine"}, "name"),
    ({"name": 5}, "name"),
    ({"workflows": healthy}, "workflows"),
    ({"workflows": [healthy, None]}, "a Workflow is needed"),
]


@pytest.mark.parametrize(("options", "told"), BAD_SETTINGS, ids=[f"{case[0]!r:.40}" for case in BAD_SETTINGS])
def test_a_nonsensical_setting_is_told_when_the_engine_is_made(options: dict[str, Any], told: str) -> None:
    with pytest.raises((ValueError, TypeError), match=told):
        Engine(**options)


@pytest.mark.parametrize("storage", ["flows.db", SQLiteStorage, 5], ids=repr)
def test_what_is_no_storage_is_told_when_the_engine_is_made(storage: Any) -> None:
    with pytest.raises(InvalidArgument, match="storage"):
        Engine(storage)
