"""Which bodies can hurt by their headers: programs, installers, scripts, archives, documents, disk images.

What a browser would save as a file is a download: what is attached, what has no type or one that says nothing
(then, unless the first bytes are of something that browsers show), and what a browser that goes there cannot
show. Whatever the headers say, the first bytes are judged too (`signatures.py`).
"""

import re
from contextlib import suppress
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote

from secondlook.agent.check.request_context import DOWNLOAD_EXTENSIONS, extension_of
from secondlook.core.neutralize import inert
from secondlook.core.verdict import SubjectClass
from secondlook.download.body.response_facts import types_of
from secondlook.ground.quickly import quickly_made

_RISKY_TYPES = re.compile(
    r"application/(?:"
    r"x-(?:ms-?(?:dos-?program|download|dos-executable|installer|i|shortcut)|dosexec|executable|elf|mach-binary"
    r"|sharedlib|object|sh|csh|shellscript|bat|powershell|perl|python|php|7z-compressed|rar(?:-compressed)?|tar"
    r"|gtar|xz|lzma|bzip2?|gzip|zip(?:-compressed)?|zstd|compress(?:ed)?|lz4|lzip|ace-compressed|arj|cab|archive"
    r"|cpio|iso9660-image|cd-image|raw-disk-image|apple-diskimage|virtualbox-\w+|qemu-disk|rpm|redhat-package-manager"
    r"|debian-package|deb|xpinstall|chrome-extension|java-(?:archive|jnlp-file)|wheel\+zip|gem|shockwave-flash)"
    r"|vnd\.(?:microsoft\.portable-executable|android\.package-archive|debian\.binary-package|rar|ms-cab-compressed"
    r"|apple\.installer\+xml|ms-htmlhelp|ms-(?:word|excel|powerpoint)(?:\..*macroenabled.*)?|flatpak|snap"
    r"|ms-(?:word|excel|powerpoint)\..*)"
    r"|zip|gzip|zstd|java-archive|msword|hta|bat|x-msi|exe)"
    r"|text/(?:vbscript|x-(?:sh|shellscript|python|perl|php|msdos-batch|powershell))",
    re.IGNORECASE,
)
_DISPLAYED = (  # by a browser that goes there; all else it saves, under the name in the URL
    r"text/(?:html|css|xml|javascript|event-stream)|application/(?:json|xml|javascript|pdf|[\w.+-]+\+(?:json|xml))"
    r"|image/(?:a?png|avif|gif|p?jpe?g|webp|(?:x-)?(?:ms-)?bmp|svg\+xml|x-icon|vnd\.microsoft\.icon)"
)
_SHOWN_ALONE = re.compile(_DISPLAYED, re.IGNORECASE)
_SHOWN = re.compile(
    rf"{_DISPLAYED}|(?:image|audio|video|font)/.*|application/(?:wasm|graphql|x-www-form-urlencoded)",
    re.IGNORECASE,
)
_MEDIA = re.compile(r"(?:image|audio|video|font)/", re.IGNORECASE)
_TELLS_NOTHING = re.compile(
    r"(?:application|binary)/(?:octet-?stream|(?:x-|vnd\.)?(?:force-?)?download|(?:x-)?(?:unknown|binary|data|file)"
    r"|save(?:-?as)?)|(?:unknown|content)/(?:unknown|type)|[^/]*|\*/.*|.*/\*?|.*[^\x21-\x7e].*",
    re.IGNORECASE | re.DOTALL,
)
_TYPES_KEPT = 256
_KEPT_MAX_CHARS = 200  # an origin may send a longer one each time: what is kept of them would be megabytes
_MOST_TYPES = 8  # of a body: who gives more of them hides the one that counts
_UNTYPED = frozenset({"", "*/*", "unknown/unknown", "application/unknown"})  # MIME Sniffing, 5.1
_LIVE = re.compile(
    r"text/event-stream|application/(?:grpc|x-ndjson|ndjson|jsonl|x-json-stream|stream\+json|json-seq"
    r"|vnd\.docker\.(?:raw|multiplexed)-stream)"
    r"|multipart/x-mixed-replace",
    re.IGNORECASE,
)
_MIXED = "multipart/x-mixed-replace"
_NAME_STAR = re.compile(r"""filename\*\s*=\s*"?(?:([^';"]*)'[^']*')?([^;"]+)""", re.IGNORECASE)
_CHARSETS = frozenset(  # in which a dot and a letter are the bytes that they are in ASCII
    """
    utf-8 utf8 us-ascii iso-8859-1 iso-8859-2 iso-8859-5 iso-8859-7 iso-8859-9 iso-8859-15 windows-1250
    windows-1251 windows-1252 windows-1253 windows-1254 windows-1255 windows-1256 koi8-r koi8-u
    shift_jis euc-jp euc-kr gbk gb2312 gb18030 big5
    """.split()  # noqa: SIM905 - a table to read
)
_WORD_CHARSET = re.compile(r"=\?([^?]*)\?[bq]\?", re.IGNORECASE)  # RFC 2047, 2
_NAME_IN_PIECES = re.compile(r"filename\*\d", re.IGNORECASE)  # RFC 2231, 3
_NAME = re.compile(r"""filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]+))""", re.IGNORECASE)
# In a URL they name what a server runs and are no sign of what the answer is; as the name of a file they do.
_RUN_BY_SERVERS = frozenset({"asp", "aspx", "cgi", "jsp", "php", "pl", "ps", "py", "rb", "sh"})
_RISKY_IN_URLS = DOWNLOAD_EXTENSIONS | {"mjs", "pyw"}
_RISKY_IN_STREAMS = _RISKY_IN_URLS - _RUN_BY_SERVERS - {"com"}  # hosts end with .com
_RISKY_GIVEN = _RISKY_IN_URLS | _RUN_BY_SERVERS | {"js", "svg"}
_LONGEST_NAME = 255
_LONGEST_WRITTEN = 1_024  # of a name with its escapes: who writes a longer one hides what it ends with
_CONTROLS = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029])
_LONGEST_DISPOSITION = 8_192  # each type that is given reads it: a longer one would take the loop's time
_MOST_NAMES = 8  # of a file: who gives more of them hides the one that counts


@quickly_made
@dataclass(frozen=True, slots=True)
class Declared:
    """What the headers of a response claim about its body."""

    content_type: str  # lower case, without parameters
    full_type: str
    filename: str | None  # harmless to look at
    risky: bool
    live: bool  # its first bytes may be few, and nobody may wait for more
    saved: bool = False  # saved as a file, unless its first bytes are of something that browsers show
    untyped: bool = False  # there is no type: a browser goes by the bytes, and shows pages too
    mixed: bool = False  # a browser that goes there takes it apart, and saves parts that it does not show
    text: bool = False  # claimed to be a text, of no kind that browsers do more with than to show it


class _Stated(NamedTuple):
    """What a Content-Type says by itself; the same few stand in nearly all responses."""

    kind: str  # lower case, without parameters
    live: bool
    kept: bool  # of what is live: no browser shows it to who goes there
    risky: bool
    shown: bool
    shown_alone: bool
    media: bool
    nothing: bool


def declared(
    content_type: str | None,
    disposition: str | None,
    path: str,
    *,
    cls: SubjectClass = SubjectClass.PAGE,
    part: bool = False,
    browsed: bool = True,
) -> Declared:
    """Judge a body by its headers; `path` is the target of the request.

    `cls` is what the request is for; `part`: its browser says that the answer is a part of a page; `browsed`:
    the client shows pages, others keep all under the name in the URL. Of several types each may be the one
    that a client goes by.
    """
    if disposition is not None and len(disposition) > _LONGEST_DISPOSITION:
        disposition = f"{disposition[:_LONGEST_DISPOSITION]};\nattachment; filename=hidden.exe"
    several = types_of(content_type)
    if len(several) > _MOST_TYPES:
        several = [*several[:_MOST_TYPES], "application/x-msdownload"]
    if len(several) > 1:
        each = [declared(one, disposition, path, cls=cls, part=part, browsed=browsed) for one in several]
        return max(each, key=lambda said: (said.risky, said.saved, not said.live))
    stated = (_stated if len(content_type or "") <= _KEPT_MAX_CHARS else _stated.__wrapped__)(content_type)
    kind, shown = stated.kind, stated.shown
    given = filename_of(disposition, "")
    name = given or filename_of(None, path)
    attached = disposition is not None and _is_attached(disposition)
    gone_to = browsed and not part and cls is not SubjectClass.SUBRESOURCE
    streaming = stated.live and not attached and not (gone_to and stated.kept)
    if attached or given is not None or _NAME_IN_PIECES.search(disposition or ""):
        names = (name or "", *_names_of(disposition or ""))
        named = any(_has_ending(one, _RISKY_GIVEN) for one in names)
    else:
        named = _has_ending(name or "", _RISKY_IN_STREAMS if streaming else _RISKY_IN_URLS)
    saved = untyped = text = False
    mixed = kind == _MIXED and streaming and browsed and not part
    if streaming:  # nobody is shown a program as a stream of events
        risky = named and not mixed  # of whose parts none may be a file
    elif stated.risky:
        risky = True
    else:
        nothing = stated.nothing
        untyped = nothing and kind in _UNTYPED
        text = not shown and kind.startswith("text/")
        harmless = shown if part else (stated.media if attached else stated.shown_alone)
        risky = (named or not harmless) if attached else (named and not harmless)
        elsewhere = not (shown or text) and cls is not SubjectClass.SUBRESOURCE
        kept = named and not browsed
        untyped |= kept  # a page is what its bytes are, whatever its name
        saved = not part and (attached or nothing or elsewhere or kept)
    return Declared(
        kind,
        content_type or "",
        name and inert(name),
        risky,
        live=streaming and not risky,
        saved=saved,
        untyped=untyped,
        mixed=mixed,
        text=text,
    )


@lru_cache(maxsize=_TYPES_KEPT)
def _stated(content_type: str | None) -> _Stated:
    kind = (content_type or "").partition(";")[0].strip().lower()
    shown = _SHOWN.fullmatch(kind) is not None
    return _Stated(
        kind=kind,
        live=_LIVE.match(kind) is not None,
        kept=kind.startswith("application/"),
        risky=_RISKY_TYPES.fullmatch(kind) is not None,
        shown=shown,
        shown_alone=_SHOWN_ALONE.fullmatch(kind) is not None,
        media=_MEDIA.match(kind) is not None,
        nothing=not shown and _TELLS_NOTHING.fullmatch(kind) is not None,
    )


def _has_ending(name: str, endings: frozenset[str]) -> bool:
    """Return whether a name has one of these endings, read up to its first parameter or in its last.

    Firefox leaves out what is no part of a text.
    """
    readings = (name,) if name.isprintable() else (name, name.translate(_CONTROLS))
    return any(extension_of(part) in endings for one in readings for part in (one, one.rpartition(";")[2]))


def _is_attached(disposition: str) -> bool:
    """Return whether a body is to be saved: any kind of disposition but `inline` says so (RFC 6266, 4.2)."""
    kinds = (one.partition(";")[0].strip().lower() for one in disposition.split("\n"))
    return any(kind not in {"", "inline"} and "=" not in kind for kind in kinds)


def filename_of(disposition: str | None, path: str) -> str | None:
    """Return the name a client would save a body under: RFC 6266, else the last part of the path."""
    if disposition:
        star = _NAME_STAR.search(disposition)
        if star is not None:
            charset = (star[1] or "utf-8").strip().lower()
            if charset in _CHARSETS:
                return _base(unquote(star[2].strip(), charset, "replace"))
        plain = _NAME.search(disposition)
        if plain is not None:
            text = plain[1] if plain[1] is not None else plain[2]
            return _base(re.sub(r"\\(.)", r"\1", text.strip()))
    return _base(unquote(path.partition("?")[0].partition("#")[0]))


def _names_of(disposition: str) -> list[str]:
    """Return all names that some client may save a body under: escaped and encoded ones as they are and read.

    Chromium undoes `%` and RFC 2047 in a plain name, Firefox `%` twice, and puts a name in pieces together;
    others take another of several than we do. Of an odd charset (UTF-7, EBCDIC) nobody here knows the ending.
    """
    stars = list(islice(_NAME_STAR.finditer(disposition), _MOST_NAMES))
    found = [star[2] for star in stars]
    plain = islice(_NAME.finditer(disposition), _MOST_NAMES)
    found += [each[1] if each[1] is not None else each[2] for each in plain]
    longest = max(map(len, found), default=0)
    hidden = len(found) >= _MOST_NAMES or longest > _LONGEST_WRITTEN
    hidden = hidden or _NAME_IN_PIECES.search(disposition) is not None
    charsets = [star[1] for star in stars if star[1]] + _WORD_CHARSET.findall(disposition)
    hidden = hidden or any(one.strip().lower() not in _CHARSETS for one in charsets)
    names = ["hidden.exe"] if hidden else []
    for raw in found:
        name = raw[-_LONGEST_WRITTEN:].strip(" \t'\"")
        if "=?" in name and not hidden:
            with suppress(HeaderParseError, ValueError):
                parts = decode_header(name)
                name = "".join(
                    one.decode(code or "latin-1", "replace") if isinstance(one, bytes) else one
                    for one, code in parts
                )
        once, read = unquote(name), name.encode("latin-1", "replace").decode("utf-8", "replace")
        names += [name, once, unquote(once), read]
    return names


def _base(name: str) -> str | None:
    last = name.replace("\\", "/").rpartition("/")[2]
    return None if last in {"", ".", ".."} else last[-_LONGEST_NAME:]
