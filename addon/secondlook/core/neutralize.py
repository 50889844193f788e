r"""Make hostile text harmless to look at: one rule for terminal, page, CSV and notices.

Control characters (C0, C1, DEL), line separators and everything that reorders text (bidirectional
overrides, isolates and marks, Unicode TR 9) or hides (zero-width, tags) is shown as `\u{XXXX}`.
Escaping for HTML is the template engine's job and comes on top.
"""

import re

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def inert(text: str, limit: int | None = None) -> str:
    """Return `text` with every invisible or reordering character spelled out, cut to `limit` characters."""
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return _HIDDEN.sub(lambda match: f"\\u{{{ord(match[0]):04x}}}", text)


def inert_cell(text: str) -> str:
    """Return `text` for a CSV cell: inert, and never the start of a formula (OWASP CSV injection)."""
    cell = inert(text)
    return f"'{cell}" if cell.startswith(_FORMULA_STARTS) else cell
