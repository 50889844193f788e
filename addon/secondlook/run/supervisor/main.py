"""The process above all others: `python -m secondlook.run.supervisor.main PLAN`, no package but ours.

State locked ─► sockets opened ─► metrics emptied ─► CA made ─► the family runs (`supervisor`).
"""

import os
import subprocess
import sys
from pathlib import Path

from secondlook.run.supervisor.authority_files import CERTIFICATES, whole
from secondlook.run.supervisor.console import report
from secondlook.run.supervisor.descriptors import MOST, raise_file_limit
from secondlook.run.supervisor.listening import CannotListenError, Sockets
from secondlook.run.supervisor.plan import read_plan
from secondlook.run.supervisor.runfile import StateLock
from secondlook.run.supervisor.supervisor import Supervisor


def make_authority(state: Path, kind: str) -> bool:
    """Make the CA where there is none yet, or not all of it, before workers would each make one."""
    if all(whole(state / "ca", name) for name in CERTIFICATES):
        return True
    command = [sys.executable, "-P", "-m", "secondlook.run.authority", str(state / "ca"), kind]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603 - our own module


def prepare_metrics(folder: Path) -> None:
    """Empty the folder where all processes keep their counters, and name it to them."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for old in folder.glob("*.db"):
        old.unlink()
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def main() -> None:
    """Supervise the plan whose descriptor is the first argument."""
    plan = read_plan(int(sys.argv[1]))
    os.close(int(sys.argv[1]))
    state = Path(plan.state)
    raise_file_limit(MOST)
    try:
        lock = StateLock(state)
    except BlockingIOError:
        report(f"another Second Look runs on {state}; stop it, or give this one its own folder with --state")
        sys.exit(1)
    except OSError as error:
        report(f"cannot use the state folder {state}: {error.strerror}; choose another with --state")
        sys.exit(1)
    try:
        sockets = Sockets(plan)
    except CannotListenError as error:
        report(str(error))
        sys.exit(1)
    try:
        prepare_metrics(state / "metrics")
        made = make_authority(state, plan.authority)
        supervisor = Supervisor(plan, sockets)
    except OSError as error:
        report(f"cannot start: {error}")
        sys.exit(1)
    if not made:
        report(f"cannot make the certificate authority in {state / 'ca'}")
        sys.exit(1)
    status = supervisor.run()
    lock.release()
    sys.exit(status)


if __name__ == "__main__":
    main()
