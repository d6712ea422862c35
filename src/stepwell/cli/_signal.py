"""`stepwell signal`."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from stepwell import Engine
from stepwell.cli._database import Database, existing, options_of
from stepwell.cli._errors import USAGE, CommandError
from stepwell.cli._known import known_workflows, register_for
from stepwell.cli._text import command, say

__all__ = ["send_signal"]


async def send_signal(database: Database, execution: str, step: str, payload: str, *, app: str | None) -> int:
    """Send a signal to a step; its workflow must be the demo's, or one of *app* (`module:name`)."""
    value = _read(payload)
    workflows = known_workflows(app)
    async with existing(database) as storage, Engine(storage) as engine:
        found = await engine.get(execution)
        register_for(found, engine, workflows)
        await engine.signal(execution, step, value)
    say(f"signal to step {step} of execution {execution}: taken")
    say(f"see what becomes of it: {command('stepwell', 'show', *options_of(database), execution)}")
    return 0


def _read(text: str) -> Any:
    def refused(constant: str) -> None:
        raise CommandError(f"the payload is not JSON: {constant} is no JSON number", exit_code=USAGE)

    def finite(digits: str) -> float:
        number = float(digits)
        if not math.isfinite(number):
            raise CommandError(f"the payload: {digits:.40} is beyond the range of a float", exit_code=USAGE)
        return number

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counted = Counter(key for key, _ in pairs)
        twice = next((key for key, count in counted.items() if count > 1), None)
        if twice is not None:
            raise CommandError(f"the payload: the key {twice[:40]!r} is given twice; keep one", exit_code=USAGE)
        return dict(pairs)

    try:
        return json.loads(text, parse_constant=refused, parse_float=finite, object_pairs_hook=object_of)
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"the payload is not JSON: {error}; write for example '\"text\"'", exit_code=USAGE
        ) from error
