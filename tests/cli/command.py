"""The command `stepwell`, as a script that a test can start in a process of its own."""

import sys

from stepwell.cli import main

if __name__ == "__main__":
    sys.exit(main())
