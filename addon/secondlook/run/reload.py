"""Reading the configuration, in the program that starts (`secondlook run`) and in a child at SIGHUP.

The child looks at the database too: the old service ends before the new one starts, and if that could not
open its ledger (one of a newer program, for one), there would be none.
"""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

from secondlook.config.agent import SINGLE_WORKER_MODES, Settings
from secondlook.config.source import load_settings
from secondlook.ground import collector
from secondlook.ground.errors import ConfigError, LedgerError
from secondlook.run.assembly.check.ledger_opening import look_at_ledger
from secondlook.run.assembly.check.policies import config_rules
from secondlook.run.supervisor.plan import Endpoints, Invocation, Plan
from secondlook.run.supervisor.settings_file import FAULT_EXIT, digest_of


def settings_of(invocation: Invocation, content: bytes | None = None) -> Settings:
    """Load the settings that an invocation asks for. Raises ConfigError.

    `content` is read in place of the file's: what it would mean if it stood there.
    """
    return load_settings(
        Path(invocation.config) if invocation.config is not None else None,
        overrides=invocation.overrides,
        state=Path(invocation.state) if invocation.state is not None else None,
        listen=invocation.listen,
        review=invocation.review,
        workers=invocation.workers,
        serving=True,
        content=content,
    )


def read_plan_of(invocation: Invocation) -> Plan:
    """Read the settings that an invocation asks for, as a plan of the supervisor. Raises ConfigError."""
    digest = digest_of(invocation.config)  # first: a file that is changed meanwhile differs from it
    return replace(plan_of(invocation, settings_of(invocation)), settings_file=digest)


def plan_of(invocation: Invocation, settings: Settings) -> Plan:
    """Make the supervisor's plan of settings, whose rules are tried first. Raises ConfigError."""
    try:
        config_rules(settings, 0.0)
    except ConfigError as error:
        raise ConfigError(f"{invocation.config or 'defaults'}: {error}") from None
    review, gateway, icap = settings.review.listen, settings.gateway, settings.gateway.icap.listen
    return Plan(
        settings=settings.model_dump_json(),
        state=str(settings.state),
        workers=settings.worker_count,
        endpoints=Endpoints(
            proxy=tuple((each.host, each.port) for each in settings.listen) if settings.proxies else (),
            review=(review.host, review.port) if settings.review.enabled else None,
            embedded=settings.servers.embedded.enabled,
            accepts=settings.mode_name not in SINGLE_WORKER_MODES,
            gateway=str(settings.gateway_socket) if gateway.enabled else None,
            gateway_group=gateway.group,
            icap=(icap.host, icap.port) if gateway.enabled and icap is not None else None,
        ),
        gates=gateway.workers if gateway.enabled else 0,
        hung_after_s=settings.hung_after,
        invocation=invocation,
        authority=settings.ca,
    )


def main() -> None:
    """Read an invocation from standard input, write its plan (or its fault; exit 2) to standard output."""
    collector.collect_seldom()
    raw = json.load(sys.stdin)
    invocation = Invocation.of(raw)
    try:
        plan = read_plan_of(invocation)
        look_at_ledger(Settings.model_validate_json(plan.settings))
    except (ConfigError, LedgerError) as error:
        sys.stdout.write(str(error))
        sys.exit(FAULT_EXIT)
    json.dump(asdict(plan), sys.stdout)


if __name__ == "__main__":
    main()
