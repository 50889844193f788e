"""The commands; one file a command group."""

import sys

if sys.platform == "win32":  # said here, before the first import that Windows does not have
    raise SystemExit("Second Look runs on Linux and macOS; on Windows, in WSL 2 (see docs/operation.md)")
