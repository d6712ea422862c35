"""All benchmarks, in the order in which they run."""

from __future__ import annotations

from typing import Final

from benchmarks import (
    backlog,
    cpu,
    latency,
    memory,
    peers,
    postgres,
    postgres_backlog,
    postgres_bloat,
    postgres_latency,
    postgres_wal,
    reaction,
    starts,
    throughput,
)
from benchmarks._plan import Benchmark

__all__ = ["BENCHMARKS"]

BENCHMARKS: Final[dict[str, Benchmark]] = {
    benchmark.name: benchmark
    for benchmark in (
        throughput.BENCHMARK,
        starts.BENCHMARK,
        latency.BENCHMARK,
        backlog.BENCHMARK,
        cpu.BENCHMARK,
        memory.BENCHMARK,
        postgres.BENCHMARK,
        postgres_latency.BENCHMARK,
        postgres_backlog.BENCHMARK,
        postgres_bloat.BENCHMARK,
        postgres_wal.BENCHMARK,
        reaction.BENCHMARK,
        peers.BENCHMARK,
    )
}
