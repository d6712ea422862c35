"""Deterministic simulation: the real engine, on simulated processes, a simulated wire and virtual time."""

from __future__ import annotations

from stepwell.testing._simulation._client import Client
from stepwell.testing._simulation._faults import FAULTS, Fault
from stepwell.testing._simulation._loops import BACKENDS, Backend, Livelock
from stepwell.testing._simulation._nodes import WorkerSettings
from stepwell.testing._simulation._simulate import SimulationFailed, SimulationReport, simulate
from stepwell.testing._simulation._world import Outcome, Scenario

__all__ = [
    "BACKENDS",
    "FAULTS",
    "Backend",
    "Client",
    "Fault",
    "Livelock",
    "Outcome",
    "Scenario",
    "SimulationFailed",
    "SimulationReport",
    "WorkerSettings",
    "simulate",
]
