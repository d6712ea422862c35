"""Where random numbers come from."""

from __future__ import annotations

import re
from pathlib import Path

import stepwell

SHARED = re.compile(
    r"^import random$(?s:.*)\brandom\.(?!(Random|SystemRandom)\b)|^from random import (?!(Random|SystemRandom)$)",
    re.MULTILINE,
)


def test_nothing_draws_from_the_generator_that_user_code_may_seed() -> None:
    """Such a draw is no jitter once it is seeded, and changes what the user's own code draws next."""
    sources = sorted(Path(stepwell.__file__).parent.rglob("*.py"))
    assert len(sources) > 100
    assert [path.name for path in sources if SHARED.search(path.read_text("utf-8"))] == []
    assert SHARED.search("import random\n\nPAUSE = 2 * random.random()\n"), "it would be found"
