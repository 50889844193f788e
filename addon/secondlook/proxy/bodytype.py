"""Which bodies can hurt: programs, installers, scripts, archives, documents with macros, disk images.

Judged by what the headers say, and by the first bytes whatever the headers say. The signatures are those of
the formats' own specifications (collected in file(1)'s magic database); everything that is only shown or
played by a browser is left out.
"""

import re
import struct
from dataclasses import dataclass
from urllib.parse import unquote

from secondlook.agent.use import DOWNLOAD_EXTENSIONS, extension_of
from secondlook.core.inert import inert

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"MZ", "pe"),
    (0, b"\x7fELF", "elf"),
    (0, b"\xfe\xed\xfa\xce", "mach-o"),
    (0, b"\xfe\xed\xfa\xcf", "mach-o"),
    (0, b"\xce\xfa\xed\xfe", "mach-o"),
    (0, b"\xcf\xfa\xed\xfe", "mach-o"),
    (0, b"\xca\xfe\xba\xbe", "java or mach-o"),
    (0, b"#!", "script"),
    (0, b"\xef\xbb\xbf#!", "script"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"PK\x07\x08", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"\x1f\x8b\x08", "gzip"),
    (0, b"\x1f\x9d", "compress"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (257, b"ustar", "tar"),
    (0, b"MSCF", "cab"),
    (0, b"ISc(", "installshield"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (0, b"!<arch>\n", "ar"),
    (0, b"\xed\xab\xee\xdb", "rpm"),
    (0, b"xar!", "xar"),
    (0, b"\x4c\x00\x00\x00\x01\x14\x02\x00", "lnk"),
    (0, b"ITSF", "chm"),
    (0, b"Cr24", "crx"),
    (0, b"conectix", "vhd"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"QFI\xfb", "qcow"),
    (0, b"KDMV", "vmdk"),
    (0, b"hsqs", "squashfs"),
    (0, b"FWS", "flash"),
    (0, b"CWS", "flash"),
    (0, b"ZWS", "flash"),
    (0, b"\x60\xea", "arj"),
    (2, b"-lh", "lha"),
    (7, b"**ACE**", "ace"),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", "onenote"),
    (0, b"dex\n03", "dex"),
    (0, b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "eicar"),  # the test file is text, whatever it is called
)
ZIP_END_BYTES = 22 + 0xFFFF  # its fixed part and the longest comment
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP_ENTRY_BYTES = 46
_ZIP64 = 0xFFFFFFFF
ARCHIVES = frozenset({"zip", "7z", "gzip", "bzip2", "xz", "tar"})  # signatures of what `archive.py` reads
SIGNATURE_BYTES = max(at + len(signature) for at, signature, _ in _SIGNATURES)
_BY_FIRST: dict[int, tuple[tuple[int, bytes, str], ...]] = {
    first: tuple(one for one in _SIGNATURES if one[0] == 0 and one[1][0] == first)
    for first in {one[1][0] for one in _SIGNATURES if one[0] == 0}
}
_ELSEWHERE = tuple(one for one in _SIGNATURES if one[0] != 0)

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
_SHOWN = re.compile(
    r"(?:image|audio|video|font)/|text/(?:html|css|xml|event-stream)|application/(?:json|[\w.+-]+\+(?:json|xml)"
    r"|xhtml\+xml|xml|javascript|pdf|wasm|manifest\+json|ld\+json|graphql|x-www-form-urlencoded)|text/javascript",
    re.IGNORECASE,
)
_LIVE = re.compile(
    r"text/event-stream|application/(?:grpc|x-ndjson|ndjson|jsonl|x-json-stream|stream\+json|json-seq)"
    r"|multipart/x-mixed-replace",
    re.IGNORECASE,
)
_NAME_STAR = re.compile(r"""filename\*\s*=\s*"?(?:([\w-]+)'[^']*')?([^;"]+)""", re.IGNORECASE)
_NAME = re.compile(r"""filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;]+))""", re.IGNORECASE)
# In a URL they name what a server runs and tell nothing of the answer; as the name of a file they do.
_RUN_BY_SERVERS = frozenset({"asp", "aspx", "cgi", "jsp", "php", "pl", "ps", "py", "rb", "sh"})
_RISKY_IN_URLS = DOWNLOAD_EXTENSIONS | {"mjs", "pyw"}
_RISKY_IN_STREAMS = _RISKY_IN_URLS - _RUN_BY_SERVERS - {"com"}  # hosts end with .com
_RISKY_GIVEN = _RISKY_IN_URLS | _RUN_BY_SERVERS | {"js", "svg"}
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Declared:
    """What the headers of a response say about its body."""

    content_type: str  # lower case, without parameters
    full_type: str
    filename: str | None  # harmless to look at
    risky: bool
    live: bool  # its first bytes may be few, and nobody may wait for more


def declared(content_type: str | None, disposition: str | None, path: str) -> Declared:
    """Judge a body by its headers; `path` is the target of the request."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    given = filename_of(disposition, "")
    name = given or filename_of(None, path)
    endings = {extension_of(name or ""), extension_of((name or "").rpartition(";")[2])}
    attached = (disposition or "").lstrip()[:10].lower() == "attachment"
    streaming = bool(_LIVE.match(kind)) and not attached
    if attached or given is not None:
        table = _RISKY_GIVEN
    else:
        table = _RISKY_IN_STREAMS if streaming else _RISKY_IN_URLS
    named = not endings.isdisjoint(table)
    if streaming:  # nobody is shown a program as a stream of events
        risky = named
    elif _RISKY_TYPES.fullmatch(kind):
        risky = True
    else:
        shown = bool(_SHOWN.match(kind))
        risky = (named or not shown) if attached else (named and not shown)
    return Declared(kind, content_type or "", name and inert(name), risky, live=streaming and not risky)


def risky_signature(first: bytes) -> str | None:
    """Name the dangerous format that a body begins like, if it does."""
    if not first:
        return None
    for offset, signature, name in (*_BY_FIRST.get(first[0], ()), *_ELSEWHERE):
        if first.startswith(signature, offset):
            return name
    return None


def ends_like_zip(last: bytes, size: int) -> bool:
    """Tell whether a body of `size` bytes that ends so has a zip's directory at its end (APPNOTE, 4.3.16).

    What stands before the zip does not matter to those who open it: a program (self-extracting), a picture.
    """
    at = last.rfind(b"PK\x05\x06")
    if at < 0 or len(last) - at < _ZIP_END.size:
        return False
    _, disk, first_disk, here, entries, directory, offset, comment = _ZIP_END.unpack_from(last, at)
    whole = disk == first_disk == 0 and here == entries > 0 and at + _ZIP_END.size + comment <= len(last)
    fits = directory >= _ZIP_ENTRY_BYTES * entries and directory + offset <= size
    return whole and (fits or _ZIP64 in {directory, offset})


def may_begin(first: bytes) -> bool:
    """Tell whether so few bytes may still turn out to be the beginning of a dangerous signature."""
    if not first:
        return True
    return any(
        len(first) < len(signature) and signature.startswith(first)
        for _, signature, _ in _BY_FIRST.get(first[0], ())
    )


def filename_of(disposition: str | None, path: str) -> str | None:
    """Give the name a client would save a body under: RFC 6266, else the last part of the path."""
    if disposition:
        star = _NAME_STAR.search(disposition)
        if star is not None:
            try:
                return _base(unquote(star[2].strip(), star[1] or "utf-8", "replace"))
            except LookupError:
                pass
        plain = _NAME.search(disposition)
        if plain is not None:
            text = plain[1] if plain[1] is not None else plain[2]
            return _base(re.sub(r"\\(.)", r"\1", text.strip()))
    return _base(unquote(path.partition("?")[0].partition("#")[0]))


def _base(name: str) -> str | None:
    last = name.replace("\\", "/").rpartition("/")[2]
    return None if last in {"", ".", ".."} else last[-_LONGEST_NAME:]
