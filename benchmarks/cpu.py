"""What one step costs the processor where no disk is in the way: memory, 200 executions at a time.

The ceiling is the skeleton on the same backend. With `--profile`, further runs tell which functions and modules take
the time. `--executions` is the number behind each figure, in all rounds together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks._plan import BACKENDS, Benchmark, Figure, Measured, Samples, Scale, Settings, Variant, figure
from benchmarks._profile import LOOKS, Look, calls_table, counting_calls, sampling, shares_table
from benchmarks._workload import STEPS, Tally, opened, order_workflow, run, run_backlog, warm_up
from benchmarks.throughput import engine_rate, skeleton_rate
from stepwell import Engine

__all__ = ["BENCHMARK"]

_CONCURRENCY: Final = 200
_SHOWN: Final = 15
"""lines of the profile in the table; the JSON has all"""


def variants(scale: Scale) -> Iterator[Variant]:
    """Give the programs of one round."""
    for backend in BACKENDS:
        settings = {"backend": backend, "concurrency": _CONCURRENCY, "executions": scale.per_round}
        yield Variant(f"skeleton/{backend}", {"program": "skeleton", **settings})
        yield Variant(f"engine/{backend}", {"program": "engine", "storage": "memory", **settings})
        if scale.is_profiled:
            for look in LOOKS:
                yield Variant(_profile_of(look, backend), {"program": "profile", "look": look, **settings})


def _profile_of(look: Look, backend: str) -> str:
    return f"profile/{look}/{backend}"


def measure(settings: Settings, folder: Path) -> Measured:
    """Run one program."""
    match settings["program"]:
        case "skeleton":
            return skeleton_rate(settings)
        case "engine":
            return engine_rate(settings, folder)
        case _:
            profiled: Measured = run(settings["backend"], _profiled, settings["look"], folder, settings["executions"])
            return profiled


async def _profiled(look: Look, folder: Path, amount: int) -> Measured:
    tally = Tally()
    workflow = order_workflow(tally)
    samples: dict[str, float] = {}
    calls: dict[str, float] = {}
    seconds: dict[str, float] = {}
    async with opened("memory", folder) as storage, Engine(storage, workflows=[workflow]) as engine:
        await run_backlog(engine, workflow, tally, warm_up(amount), concurrency=_CONCURRENCY)
        watching = sampling(samples) if look == "samples" else counting_calls(calls, seconds)
        await run_backlog(engine, workflow, tally, amount, concurrency=_CONCURRENCY, watching=watching)
    return {"steps": amount * STEPS, "samples": samples, "calls": calls, "seconds": seconds}


def figures(samples: Samples) -> Sequence[Figure]:
    """Hold each backend against the skeleton."""
    return [
        figure(
            f"memory/{backend}",
            "CPU µs/step end",
            samples.of(f"engine/{backend}", "cpu_per_step"),
            ceiling=("skeleton", samples.of(f"skeleton/{backend}", "cpu_per_step")),
        )
        for backend in BACKENDS
    ]


def details(samples: Samples) -> dict[str, Any]:
    """Tell where the time goes, if that was asked for."""
    if _profile_of("samples", BACKENDS[0]) not in samples.rounds:
        return {}
    profiles: dict[str, Any] = {}
    for backend in BACKENDS:
        counted = samples.rounds[_profile_of("calls", backend)]
        sampled = samples.rounds[_profile_of("samples", backend)]
        profiles[backend] = {
            **shares_table([one["samples"] for one in sampled]),
            "calls": calls_table(
                [one["calls"] for one in counted],
                [one["seconds"] for one in counted],
                steps=sum(one["steps"] for one in counted),
            ),
        }
    return {"profile": profiles}


def notes(samples: Samples) -> str:
    """Return the profile as text; empty without one."""
    lines: list[str] = []
    for backend, profile in details(samples).get("profile", {}).items():
        lines += (f"{backend}: share of the samples, by module", *_shares(profile["modules"], "module"))
        lines += (f"{backend}: share of the samples, by function", *_shares(profile["functions"], "function"))
        lines.append(f"{backend}: calls for each step end, and µs of their own under cProfile")
        for one in profile["calls"]:
            lines.append(f"{one['calls_per_step']:8.2f} {one['own_us_per_step']:8.2f}  {one['function']}")
        lines.append("")
    return "\n".join(lines)


def _shares(shares: Sequence[dict[str, Any]], what: str) -> list[str]:
    return [f"{one['share']:8.1%}  {one[what]}" for one in shares]


BENCHMARK: Final = Benchmark(
    "cpu",
    "what a step costs the processor, without a disk",
    lambda scale: list(variants(scale)),
    measure,
    figures,
    budget=60,
    details=details,
    notes=notes,
)
