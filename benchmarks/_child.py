"""`python -m benchmarks._child BENCHMARK SETTINGS FOLDER`: runs one program, and prints what it measured as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks._all import BENCHMARKS


def main(arguments: list[str]) -> None:
    """Run the program that is named, with its settings (JSON), in a folder that is its own."""
    name, settings, folder = arguments
    json.dump(BENCHMARKS[name].measure(json.loads(settings), Path(folder)), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
