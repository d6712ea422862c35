"""`python -m tests.chaos.soak [--db sqlite] [--minutes 10] [--executions 50000] [--seed N]`.

Three worker processes, clients, and every nemesis there is, at random, from a seed that is printed. Then all is healed:
what was acknowledged must end as it has to, `stepwell verify` must find no breach, and each nemesis must have struck.
Exits with 0 where all of that holds, else with 1.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Final

import anyio

from tests.chaos.soak.soak import Plan, soak

STORAGES: Final = ("postgres", "sqlite")


def main() -> int:
    """Run a soak as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.soak", description=__doc__)
    parser.add_argument("--db", choices=STORAGES, default="postgres")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--executions", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio", help="of the clients")
    given = parser.parse_args()
    again = f"--db {given.db} --minutes {given.minutes:g} --executions {given.executions} --seed {given.seed}"
    print(f"nox -s soak -- {again}", flush=True)
    plan = Plan(
        db=given.db,
        seconds=given.minutes * 60,
        executions=given.executions,
        seed=given.seed,
        workers=given.workers,
    )
    random.seed(given.seed)  # of the jitter in this process
    with tempfile.TemporaryDirectory(prefix="stepwell-soak-") as folder:
        return anyio.run(soak, plan, Path(folder), backend=given.backend)


if __name__ == "__main__":
    sys.exit(main())
