"""`secondlook server run` as a process: what it asks of the system (0.5 s)."""

import resource
import subprocess
import sys

PROGRAM = """
import resource
from secondlook.run.supervisor.descriptors import raise_file_limit
raise_file_limit(2000)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_a_low_limit_of_open_files_is_raised_for_the_connections():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = 2000 if hard == resource.RLIM_INFINITY else min(2000, hard)
    for soft, then in ((100, most), (most, most)):
        command = ["sh", "-c", f'ulimit -Sn {soft}; exec "$0" -c "$1"', sys.executable, PROGRAM]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        assert int(told) == then
