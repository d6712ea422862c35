"""The command `stepwell` in a terminal of its own: Ctrl-C reaches it as from a keyboard.

With `--without-rich` as its first argument, as if `rich` were not installed.
"""

import fcntl
import sys
import termios

if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    arguments = sys.argv[1:]
    if arguments[0] == "--without-rich":
        sys.modules["rich"] = None  # type: ignore[assignment]
        del arguments[0]
    from stepwell.cli import main

    sys.exit(main(arguments))
