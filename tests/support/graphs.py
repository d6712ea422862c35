"""Random workflows for Hypothesis: blocks of steps, one in another, that always hang together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

from stepwell._definition import Workflow, activity, decision, fail, subworkflow, succeed, wait
from stepwell._retry import Retry

__all__ = ["Declined", "workflows"]

RETRIES: Final = (1, 2, 3, Retry(max_attempts=2, backoff=5.0), Retry(max_attempts=3, backoff=1.0, jitter=1.0))
MAX_BLOCKS: Final = 3


class Declined(Exception):
    """What an activity's catch may name."""


def _plain(ctx: Any) -> Any: ...


async def _async(ctx: Any) -> Any: ...


def _resolver(ctx: Any, signal: Any) -> Any: ...


class _Builder:
    """Builds one workflow from its end to its start."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any], name: str, depth: int) -> None:
        self.draw = draw
        self.name = name
        self.depth = depth
        self.edges: list[Any] = []
        self.steps = 0
        self.children = 0
        self.done: Any = succeed(name="done")(_plain)
        self.failed: Any = fail(name="failed")(_plain)

    def build(self) -> Workflow[Any, Any]:
        start = self.chain(self.done, looped=False)
        return Workflow[Any, Any](self.name, version="1", start=start, edges=self.edges)

    def one_of(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def chain(self, target: Any, *, looped: bool, blocks: int = MAX_BLOCKS) -> Any:
        for _ in range(self.draw(st.integers(0, blocks))):
            target = self.block(target, looped=looped)
        return target

    def named(self, *, looped: bool) -> dict[str, Any]:
        """Return a name of its own and a bound, which in a loop may be lower than that of the loop."""
        self.steps += 1
        return {"name": f"s{self.steps}", "max_visits": self.one_of(1, 2, 3) if looped else 1}

    def block(self, target: Any, *, looped: bool) -> Any:
        kinds = [self.activity, self.activity, self.decision, self.wait]
        if not looped:
            kinds.append(self.loop)
        if self.depth:
            kinds.append(self.subworkflow)
        return self.one_of(*kinds)(target, looped=looped)

    def activity(self, target: Any, *, looped: bool) -> Any:
        named = self.named(looped=looped)
        step: Any = activity(retry=self.one_of(*RETRIES), **named)(self.one_of(_plain, _async))
        where = [None, self.failed, target, *([step] if named["max_visits"] > 1 else [])]
        caught = self.one_of(*where)
        error = self.one_of(Declined, Exception)
        self.edges.append(step.then(target, catch=None if caught is None else {error: caught}))
        return step

    def decision(self, target: Any, *, looped: bool) -> Any:
        named = self.named(looped=looped)
        step: Any = decision(retry=self.one_of(*RETRIES), **named)(self.one_of(_plain, _plain, _async))
        other = self.one_of(self.failed, target) if looped else self.chain(target, looped=looped, blocks=1)
        self.edges.append(step.to({"on": target, "aside": other}))
        return step

    def wait(self, target: Any, *, looped: bool) -> Any:
        timeout = self.one_of(None, 30.0)
        step: Any = wait(timeout=timeout, **self.named(looped=looped))(_resolver)
        late = None if timeout is None else self.one_of(self.failed, target)
        self.edges.append(step.to({"on": target}, timeout=late))
        return step

    def subworkflow(self, target: Any, *, looped: bool) -> Any:
        self.children += 1
        child = _Builder(self.draw, f"{self.name}_{self.children}", self.depth - 1).build()
        step: Any = subworkflow(child, **self.named(looped=looped))(_plain)
        failed, cancelled = self.one_of(self.failed, target), self.one_of(self.failed, target)
        self.edges.append(step.to(succeeded=target, failed=failed, cancelled=cancelled))
        return step

    def loop(self, target: Any, *, looped: bool) -> Any:
        self.steps += 1
        again: Any = decision(name=f"again{self.steps}", max_visits=self.one_of(2, 3))(self.one_of(_plain, _async))
        entry = self.chain(again, looped=True)
        self.edges.append(again.to({"again": entry, "out": target}))
        return entry


@st.composite
def workflows(draw: Callable[[st.SearchStrategy[Any]], Any]) -> Workflow[Any, Any]:
    """Draw a workflow with up to two levels of children."""
    return _Builder(draw, "w", draw(st.integers(0, 2))).build()
