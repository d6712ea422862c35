"""All benchmarks, in the order in which they run."""

from __future__ import annotations

from typing import Final

from benchmarks import backlog, cpu, latency, memory, starts, throughput
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
    )
}
