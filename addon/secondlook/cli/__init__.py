"""The commands; one file a command group."""

import os
import sys

if sys.platform == "win32":  # reported here, before the first import that Windows does not have
    raise SystemExit("Second Look runs on Linux and macOS; on Windows, in WSL 2 (see docs/operation.md)")

# help is plain text: to Typer, Rich takes longer to import than all else that help needs
os.environ.setdefault("TYPER_USE_RICH", "0")
# httpx goes without its command line, which would bring Rich and Click: None is "not to be found" to Python
sys.modules["httpx._main"] = None  # type: ignore[assignment]
