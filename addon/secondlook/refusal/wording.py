"""The words of a refusal: careful ones, as lists can be wrong."""

from secondlook.core.verdict import Decision, Stage, Threat


def title(decision: Decision) -> str:
    """Name the reason of a block in a few words."""
    match decision.evidence.stage:
        case Stage.ACCESS:
            return "This address is closed to you here"
        case Stage.RULES:
            return "Blocked by a rule of this network"
        case Stage.UNVERIFIABLE:
            return "This could not be checked just now"
        case Stage.MALFORMED:
            return "This address is malformed"
        case Stage.LEDGER:
            return "This could not be recorded, so it was not let through"
        case _:
            return {
                Threat.MALWARE: "This may harm your computer",
                Threat.SOCIAL_ENGINEERING: "This may be a deception",
                Threat.UNWANTED_SOFTWARE: "This may be unwanted software",
                Threat.POTENTIALLY_HARMFUL: "This may be a harmful app",
                None: "This is listed as harmful",
            }[decision.evidence.threat]


def explanation(decision: Decision) -> str:
    """Return in two sentences why something was blocked; careful words, as lists can be wrong."""
    match decision.evidence.stage:
        case Stage.ACCESS:
            return (
                "Addresses inside this machine or network are not open through the proxy from where you are. "
                "This has nothing to do with what is found there."
            )
        case Stage.RULES:
            return (
                "Whoever runs this proxy has written a rule that blocks this address. "
                "No list of harmful addresses was asked."
            )
        case Stage.UNVERIFIABLE if not decision.evidence.steps:  # nobody was asked: the cause lies here
            return (
                f"It could not be looked at as it must be: {decision.evidence.unverifiable}. "
                "It may be harmless; whoever runs this proxy can tell more."
            )
        case Stage.UNVERIFIABLE:
            return (
                "No reputation server answered in time, and this proxy refuses what it cannot check. "
                "It may be harmless; try again in a moment."
            )
        case Stage.MALFORMED:
            return (
                "The address is written in a way that honest links are not. "
                "Such forms are used to hide where a link leads."
            )
        case Stage.LEDGER:
            return (
                "No reputation server answered, and the note for a second look could not be written. "
                "Tell whoever runs this proxy that its disk or database needs care."
            )
        case _:
            return {
                Threat.MALWARE: (
                    "It is reported to spread software that damages computers or steals data. "
                    "Reports can be wrong, but most are not."
                ),
                Threat.SOCIAL_ENGINEERING: (
                    "It is reported to pass itself off as something else to get passwords, money or consent. "
                    "Reports can be wrong, but most are not."
                ),
                Threat.UNWANTED_SOFTWARE: (
                    "It is reported to offer software that changes computers in ways people do not want. "
                    "Reports can be wrong, but most are not."
                ),
                Threat.POTENTIALLY_HARMFUL: (
                    "It is reported to offer apps that do harm. Reports can be wrong, but most are not."
                ),
                None: (
                    "It stands on a list of harmful addresses or files. "
                    "Reports can be wrong, but most are not."
                ),
            }[decision.evidence.threat]
