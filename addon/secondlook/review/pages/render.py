"""Templates: one environment, the filters, and what every page shows around its content."""

from collections.abc import Mapping
from importlib.metadata import version
from urllib.parse import urlencode

from jinja2 import ChoiceLoader, Environment, PackageLoader, PrefixLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from secondlook.core.display import readable
from secondlook.core.neutralize import inert
from secondlook.ground.program_name import typed
from secondlook.refusal.language import ENGLISH
from secondlook.review import words
from secondlook.review.operations.statistics import RANGES
from secondlook.review.session import session_of

VERSION = version("secondlook")

NO_FAULTS: Mapping[str, str] = {}
"""What is wrong with what was typed, by the name of its field."""

PAGES = (
    ("/", "Overview"),
    ("/log", "Log"),
    ("/clients", "Clients"),
    ("/flagged", "Flagged"),
    ("/late", "Late verdicts"),
    ("/rules", "Rules"),
    ("/check", "Check"),
    ("/quarantine", "Quarantine"),
    ("/lists", "Lists and servers"),
    ("/settings", "Settings"),
    ("/setup", "Set-up"),
)


def _harmless(value: object) -> object:
    """Spell out what hides or reorders in every text that a template shows; lines stay lines."""
    if isinstance(value, str) and not isinstance(value, Markup):
        if value.isascii() and value.isprintable():
            return value  # nearly all of a page: there is nothing to spell out
        return "\n".join(inert(line) for line in value.split("\n"))
    return value


def _environment() -> Environment:
    environment = Environment(
        # what people meet in place of a page and here too, such as what to click on each system
        loader=ChoiceLoader(
            [
                PackageLoader("secondlook.review"),
                PrefixLoader({"refusal": PackageLoader("secondlook.refusal")}),
            ]
        ),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "plain", "utc", "size", "subject", "why", "headline",
        "list_title", "shorten", "scope", "turn", "address",
    ):  # fmt: skip
        environment.filters[name] = getattr(words, name)
    environment.filters["readable"] = readable
    environment.globals["_"] = ENGLISH.say
    environment.globals["version"] = VERSION
    environment.globals["command_line"] = typed
    environment.globals["all_ranges"] = RANGES
    return environment


ENVIRONMENT = _environment()


def fragment(name: str, **values: object) -> str:
    """Render a part of a page: table rows for the live log."""
    return ENVIRONMENT.get_template(name).render(**values)


def page(
    request: Request,
    name: str,
    *,
    status: int = 200,
    counts: Mapping[str, int] | None = None,
    flash: object = None,
    late: object = None,
    titles: Mapping[str, str] = words.NO_TITLES,
    names: Mapping[str, str] = words.NO_NAMES,
    faults: Mapping[str, str] = NO_FAULTS,
    **values: object,
) -> HTMLResponse:
    """Render a whole page for a request; `counts` puts figures beside the names of pages."""
    session = session_of(request)

    def csrf_field() -> Markup:
        token = escape(session.csrf) if session else ""
        return Markup('<input type="hidden" name="csrf" value="{}">').format(token)

    content = ENVIRONMENT.get_template(name).render(
        session=session,
        here=request.url.path,
        navigation=[(path, title, (counts or {}).get(path, 0)) for path, title in PAGES],
        csrf_field=csrf_field,
        flash=flash,
        late=late,
        titles=titles,
        names=names,
        faults=faults,
        **values,
    )
    return HTMLResponse(content, status_code=status)


def query_string(values: Mapping[str, object]) -> str:
    """Encode the filters that are set, for links that keep them."""
    return urlencode({key: value for key, value in values.items() if value}, doseq=True)
