"""The command `stepwell`: a demo, and a look at what an SQLite database of Stepwell holds.

Exit codes: 0, 1 for what went wrong, 2 for a command that can't be understood, 130 and 143 after Ctrl-C and SIGTERM.
`verify` keeps 1 for a broken promise: there, 2 is also a database that can't be looked at.
What goes wrong is one line on the standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from stepwell import StepwellError
from stepwell.cli._arguments import parsed
from stepwell.cli._errors import CommandError, first_error
from stepwell.cli._text import one_line

__all__ = ["main"]

_INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* asks for (the process's own arguments, if None); return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if (reconfigure := getattr(stream, "reconfigure", None)) is not None:
            reconfigure(errors="backslashreplace")  # data may hold what the terminal's encoding doesn't
    try:
        arguments = parsed(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except SystemExit as end:  # argparse has told why
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        return _without_reader()
    except (CommandError, StepwellError, OSError, BaseExceptionGroup) as error:
        cause = first_error(error)
        if isinstance(cause, KeyboardInterrupt):
            return _INTERRUPTED
        if isinstance(cause, BrokenPipeError):
            return _without_reader()
        if not isinstance(cause, CommandError | StepwellError | OSError):
            raise
        print(f"stepwell: {one_line(cause)}", file=sys.stderr)
        return cause.exit_code if isinstance(cause, CommandError) else 1
    return code


def _without_reader() -> int:
    """Whoever read our output has gone (`stepwell list | head -1`): end quietly."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # so that the interpreter's own flush at exit finds somebody
    return 1
