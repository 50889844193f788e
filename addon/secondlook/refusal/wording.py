"""The words of a refusal: careful ones, as lists can be wrong."""

from secondlook.core.verdict import Decision, Evidence, Stage, Threat, Verdict
from secondlook.refusal.language import ENGLISH, Language, phrase

IN_A_CIRCLE = (
    "this request goes in a circle: by its `Via` it came here before (see `via`, and what leads here)"
)
"""Why a request is refused that comes round, for the log."""

_OF_STAGES = {
    Stage.ACCESS: (
        phrase("You cannot open this address here"),
        phrase("Addresses inside this machine or network are not open through the proxy from where you are."),
        phrase("This has nothing to do with what is found there."),
    ),
    Stage.RULES: (
        phrase("Blocked by a rule of this network"),
        phrase("The administrator of this proxy has made a rule that blocks this address."),
        phrase("No list of harmful addresses was consulted."),
    ),
    Stage.UNVERIFIABLE: (
        phrase("This could not be checked just now"),
        phrase("No reputation server answered in time, and this proxy refuses what it cannot check."),
        phrase("It may be harmless; try again in a moment."),
    ),
    Stage.MALFORMED: (
        phrase("This address is malformed"),
        phrase("The address is written in a way that honest links are not."),
        phrase("Such forms are used to hide where a link leads."),
    ),
    Stage.LEDGER: (
        phrase("This could not be recorded, so it was not let through"),
        phrase("No reputation server answered, and the note for a second look could not be written."),
        phrase("Please inform the administrator of this proxy: its disk or database needs attention."),
    ),
}
_OF_A_CIRCLE = (
    _OF_STAGES[Stage.ACCESS][0],
    phrase("The request came back to this proxy again and again and cannot reach its site."),
    _OF_STAGES[Stage.ACCESS][2],
)
_OF_THE_UNKNOWN = (
    phrase("Nothing is known about this"),
    phrase("No list knows this address or file, and this proxy refuses what is not known."),
    phrase("It may be harmless; ask the administrator of this proxy."),
)
"""Where the policy blocks what no list knows (`policy.block_untested`)."""
_REPORTS = phrase("Reports can be wrong, but most are not.")
_OF_THREATS = {
    Threat.MALWARE: (
        phrase("This may harm your computer"),
        phrase("It is reported to spread software that damages computers or steals data."),
    ),
    Threat.SOCIAL_ENGINEERING: (
        phrase("This may be a deception"),
        phrase("It is reported to pretend to be something else, to get passwords, money or consent."),
    ),
    Threat.UNWANTED_SOFTWARE: (
        phrase("This may be unwanted software"),
        phrase("It is reported to offer software that changes computers in ways people do not want."),
    ),
    Threat.POTENTIALLY_HARMFUL: (
        phrase("This may be a harmful app"),
        phrase("It is reported to offer apps that do harm."),
    ),
    None: (
        phrase("This is listed as harmful"),
        phrase("It is on a list of harmful addresses or files."),
    ),
}
THREATS: dict[str | None, str] = {
    Threat.MALWARE: phrase("malware"),
    Threat.SOCIAL_ENGINEERING: phrase("a deception"),
    Threat.UNWANTED_SOFTWARE: phrase("unwanted software"),
    Threat.POTENTIALLY_HARMFUL: phrase("a harmful app"),
}
"""What something turned out to be: the end of a sentence."""


def title(decision: Decision, language: Language = ENGLISH) -> str:
    """Return the reason of a block in a few words."""
    evidence = decision.evidence
    return language.say((_without_a_list(evidence) or _OF_THREATS[evidence.threat])[0])


def explanation(decision: Decision, language: Language = ENGLISH) -> str:
    """Return in two sentences why something was blocked; careful words, as lists can be wrong."""
    evidence = decision.evidence
    if evidence.stage is Stage.UNVERIFIABLE and not evidence.steps:  # nobody was asked: the cause lies here
        return language.joined(
            language.say("The proxy itself could not check it: %(cause)s.", cause=evidence.unverifiable),
            language.say("It may be harmless; ask the administrator of this proxy."),
        )
    found = _OF_A_CIRCLE if evidence.detail == IN_A_CIRCLE else _without_a_list(evidence)
    if found is not None:
        return language.joined(*map(language.say, found[1:]))
    return language.joined(language.say(_OF_THREATS[evidence.threat][1]), language.say(_REPORTS))


def _without_a_list(evidence: Evidence) -> tuple[str, str, str] | None:
    """Return the words for what no list has named; None where one has."""
    unknown = _OF_THE_UNKNOWN if evidence.verdict is Verdict.UNKNOWN else None
    return _OF_STAGES.get(evidence.stage, unknown)
