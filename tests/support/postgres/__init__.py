"""A Postgres to test on: found, or started in a temporary folder; databases of its own for each test.

`launched()` needs no pytest; the benchmarks use it too. `fixtures` is for pytest alone.
"""

from tests.support.postgres._launcher import PostgresUnavailable, Server, StopMode, launched

__all__ = ["PostgresUnavailable", "Server", "StopMode", "launched"]
