"""Having it logged that a configuration was refused."""

import json
import subprocess
import sys


def report_refusal(settings: str, why: str) -> "subprocess.Popen[bytes]":
    """Start the process that writes the event, with the settings (JSON) that stay in force."""
    reporter = subprocess.Popen([sys.executable, "-P", "-m", "secondlook.run.refused"], stdin=subprocess.PIPE)
    assert reporter.stdin is not None
    with reporter.stdin as pipe:
        pipe.write(json.dumps({"settings": settings, "why": why}).encode())
    return reporter
