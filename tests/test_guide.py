"""The guide's blocks are one program, and it runs."""

import re
from pathlib import Path
from typing import Any

import anyio
import pytest

GUIDE = Path(__file__).parent.parent / "docs" / "workflows.md"

pytestmark = pytest.mark.real_time


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_guide_runs(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    program: dict[str, Any] = {"__name__": "guide"}
    exec(compile("\n\n".join(blocks), str(GUIDE), "exec"), program)  # noqa: S102 (our own text)
    anyio.run(program["main"], backend=backend)
    assert capsys.readouterr().out.splitlines() == [
        "order 1 is on its way: P1",
        "order 2 is on its way: P2",
        "[True]",
    ]
    program["test_a_small_order_needs_no_approval"]()
    anyio.run(program["test_an_order_that_nobody_approves_waits"], backend=backend)
    end = program["sold_out"](program["Context"](None, failures={"reserve": _Failure()}))
    assert end == "sold out: none is left"


class _Failure:
    message = "none is left"
