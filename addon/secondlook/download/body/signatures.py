"""Signatures: how dangerous formats begin, and how what browsers show begins.

The dangerous ones are those of the formats' own specifications (collected in file(1)'s magic database); the
harmless ones and the tags of HTML are those of the WHATWG's MIME Sniffing (6 and 7.1). Scripts have no magic:
they are known by words that open them, so that a text about scripts may be taken for one, which costs a look.
"""

import re
from collections.abc import Callable
from zlib import crc32

SIGNATURES: tuple[tuple[int, bytes, str], ...] = (  # where, what, name
    (0, b"MZ", "pe"),
    (0, b"\x7fELF", "elf"),
    (0, b"\xfe\xed\xfa\xce", "mach-o"),
    (0, b"\xfe\xed\xfa\xcf", "mach-o"),
    (0, b"\xce\xfa\xed\xfe", "mach-o"),
    (0, b"\xcf\xfa\xed\xfe", "mach-o"),
    (0, b"\xca\xfe\xba\xbe", "java or mach-o"),
    (0, b"\xca\xfe\xba\xbf", "mach-o"),
    (0, b"\xca\xfe\xd0\x0d", "java"),  # pack200
    (0, b"\xac\xed\x00\x05", "java"),  # a serialized object
    (0, b"#!", "script"),
    (0, b"\xef\xbb\xbf#!", "script"),
    (0, b"#@~^", "script"),  # encoded by Microsoft's Script Encoder
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"PK\x07\x08", "zip"),
    (0, b"PK00PK\x03\x04", "zip"),  # once one of several volumes
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"RE~^", "rar"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"\x1f\x9d", "compress"),
    (0, b"\x1f\xa0", "compress"),
    (0, b"\x1f\x9e", "compress"),
    (0, b"\x1f\x1e", "compress"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\x00", "xz"),
    (0, b"LZIP", "lzip"),
    (0, b"\x89LZO\x00\r\n\x1a\n", "lzop"),
    (0, b"\x28\xb5\x2f\xfd", "zstd"),
    *((0, bytes((first,)) + b"\x2a\x4d\x18", "zstd") for first in range(0x50, 0x60)),  # skippable, of lz4 too
    (0, b"\x04\x22\x4d\x18", "lz4"),
    (0, b"\x02\x21\x4c\x18", "lz4"),
    (0, b"\xff\x06\x00\x00sNaPpY", "snappy"),
    (0, b"MSCF", "cab"),
    (0, b"ISc(", "installshield"),
    (0, b"SZDD\x88\xf0\x27\x33", "szdd"),
    (0, b"KWAJ\x88\xf0\x27\xd1", "szdd"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (0, b"{\\rt", "rtf"),  # Word asks for no more
    (0, b"!<arch>\n", "ar"),
    (0, b"!<thin>\n", "ar"),
    (0, b"070701", "cpio"),
    (0, b"070702", "cpio"),
    (0, b"070707", "cpio"),
    (0, b"\xc7\x71", "cpio"),
    (0, b"\x71\xc7", "cpio"),
    (0, b"\xed\xab\xee\xdb", "rpm"),
    (0, b"xar!", "xar"),
    (0, b"\x4c\x00\x00\x00\x01\x14\x02\x00", "lnk"),
    (0, b"[InternetShortcut]", "shortcut"),
    (0, b"[Desktop Entry]", "shortcut"),
    (0, b"REGEDIT4", "registry"),
    (0, b"Windows Registry Editor", "registry"),
    (0, b"\xff\xfeW\0i\0n\0d\0o\0w\0s\0 \0R\0e\0g\0i\0s\0t\0r\0y\0", "registry"),
    (0, b"ITSF", "chm"),
    (0, b"ITOLITLS", "chm"),
    (0, b"?_\x03\x00", "hlp"),
    (0, b"Cr24", "crx"),
    (0, b"conectix", "vhd"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"QFI\xfb", "qcow"),
    (0, b"KDMV", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (64, b"\x7f\x10\xda\xbe", "vdi"),
    (0, b"MSWIM\x00\x00\x00", "wim"),
    (0, b"WLPWM\x00\x00\x00", "wim"),
    (0, b"encrcdsa", "dmg"),
    (0, b"koly\x00\x00\x00\x04", "dmg"),
    (0, b"ER\x02\x00", "disk image"),  # Apple's map of partitions
    (32, b"NXSB", "disk image"),  # APFS
    (0, b"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00", "disk image"),  # sectors of a CD as they are
    (0, b"hsqs", "squashfs"),
    (0, b"sqsh", "squashfs"),
    (0, b"FWS", "flash"),
    (0, b"CWS", "flash"),
    (0, b"ZWS", "flash"),
    (0, b"\x60\xea", "arj"),
    (0, b"zPQ", "zpaq"),
    (0, b"7kSt", "zpaq"),
    (0, b"ArC\x01", "freearc"),
    (0, b"SIT!", "stuffit"),
    (0, b"StuffIt", "stuffit"),
    (2, b"-lh", "lha"),
    (2, b"-lz", "lha"),
    (2, b"-pm", "lha"),
    (7, b"**ACE**", "ace"),
    (20, b"\xdc\xa7\xc4\xfd", "zoo"),
    (0, b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d", "onenote"),
    (0, b"\xa1\x2f\xff\x43\xd9\xef\x76\x4c", "onenote"),
    (0, b"dex\n03", "dex"),
    (0, b"dex\n04", "dex"),
    (0, b"ANDROID BACKUP\n", "android backup"),
    (0, b"CrAU", "android update"),
    (0, b"\x00\x01\x00\x00Standard Jet DB", "access"),
    (0, b"\x00\x01\x00\x00Standard ACE DB", "access"),
    (0, b"FasdUAS ", "applescript"),
    (0, b"bplist00", "plist"),
    (0, b"\x1bLua", "lua"),
    *(
        (0, begin + b"%d" % digit, "uuencode")
        for begin in (b"begin ", b"begin-base64 ")
        for digit in range(8)
    ),
    (0, b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "eicar"),  # the test file is text, whatever it is called
)
_BY_FIRST: dict[int, tuple[tuple[int, bytes, str], ...]] = {
    first: tuple(one for one in SIGNATURES if one[0] == 0 and one[1][0] == first)
    for first in {one[1][0] for one in SIGNATURES if one[0] == 0}
}
_ELSEWHERE = tuple(one for one in SIGNATURES if one[0] != 0)

# Archives that are looked into (`archive.py`), and those that no reader is here for: they cannot be verified.
READ_ARCHIVES = frozenset({"zip", "7z", "gzip", "bzip2", "xz", "tar", "zstd", "lzma", "ar", "blank"})
UNREAD_ARCHIVES = frozenset(
    """
    ace arj cab compress cpio dmg freearc installshield lha lz4 lzip lzop qcow rar rpm snappy squashfs stuffit
    szdd uuencode vdi vhd vhdx vmdk wim xar zoo zpaq
    """.split()  # noqa: SIM905 - a table to read
) | {"android backup", "disk image"}

# Archives that unpackers find behind other bytes (self-extracting ones behind a program): where 7-Zip looks.
BEHIND_WITHIN_BYTES = 8 << 20
BEHIND_HEAD_BYTES = 64  # of such an archive, with at least one member in it
VOLUME_BYTES = 5
VOLUMES = (  # nobody who opens them looks at what stands before
    (0x8001, (b"CD001", b"BEA01", b"NSR02", b"NSR03", b"CDROM")),  # ISO 9660 (ECMA-119), UDF (ECMA-167)
    (1024, (b"H+\x00\x04", b"HX\x00\x05")),  # HFS Plus
)
_AT_END = (  # how far from it the marks stand by which those are known that begin with any bytes
    (512, b"koly\x00\x00\x00\x04", "dmg"),
    (8, b"cdsaencr", "dmg"),
    (512, b"conectix", "vhd"),
)
_BEHIND = {b"7z\xbc\xaf\x27\x1c\x00": "7z", b"Rar!\x1a\x07\x00": "rar", b"Rar!\x1a\x07\x01\x00": "rar"}

TAR_BLOCK_BYTES = 512
_USTAR_AT, _CHECK_AT, _CHECK_END = 257, 148, 156
_OCTAL = re.compile(rb"[ \0]*[0-7]+[ \0]*")
_LZMA_ALONE = re.compile(rb"[\x00-\xe0](?!\x00{4})(....)(?:\xff{8}|.{5}\x00{3})\x00", re.DOTALL)
_LZMA_DICTIONARIES = (
    frozenset(  # the sizes that xz and 7-Zip take; files have been seen with others of 64 KiB on
        size.to_bytes(4, "little") for power in range(31) for size in (1 << power, 3 << power)
    )
    | {b"\xff\xff\xff\xff"}
)
_BLANK_BYTES = 256  # so many zeros begin a disk image: the system area of ISO 9660 and UDF is 32 KiB of them
_BOOT_AT, _BOOT = 510, b"\x55\xaa"
_BOOT_JUMPS = frozenset(b"\xeb\xe9\x33\xfa\xfc\x45\x31\x0e\x8c\xb8\x00")  # what boot code begins with
SIGNATURE_BYTES = TAR_BLOCK_BYTES

MEDIA_ENOUGH_BYTES = 512  # by then a body has shown whether it is something that browsers show
_MEDIA = re.compile(
    b"|".join(
        (
            rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|GIF8[79]a|RIFF.{4}(?:WEBP|WAVE|AVI )|BM.{8}",
            rb"II\*\x00|MM\x00\*|\x00\x00[\x01\x02]\x00",  # TIFF, icons
            rb".{4}(?:ftyp|moov|moof|styp|sidx|emsg)|\x1a\x45\xdf\xa3|FLV\x01|\x00\x00\x01[\xb3\xba]|G.{187}G",
            rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11|OggS\x00|fLaC|MThd\x00|ID3[\x02-\x04]",
            rb"\xff[\xe2-\xe7\xf0-\xfd]",  # frames of MPEG audio
            rb"wOF[F2]|\x00\x01\x00\x00\x00|OTTO|ttcf|true\x00|.{34}LP|\x00asm",
        )
    ),
    re.DOTALL,
)
_PLAYLIST = re.compile(rb"(?:\xef\xbb\xbf)?(?:#EXTM3U|WEBVTT)[\s]")
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?[\t\n\f\r ]*(?:<!doctype html|<!--|<\?xml\s"
    rb"|<(?:html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|svg|rss|feed)[\s>])",
    re.IGNORECASE,
)
_OBJECT = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{\s*(?:\}|"[^"\\]{0,200}"\s*:)')  # no script may begin so
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")  # MIME Sniffing, 3: binary data bytes
_TEXT_MARKS = (b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf")

_BEFORE_MARKUP = b"\xef\xbb\xbf\t\n\f\r "
_APPLICATION = b"hta:application"
_PROGRAM_MARKUP = re.compile(  # scripts, consoles, installers, shortcuts, documents in XML
    rb"<(?:job[\s>]|scriptlet[\s>]|component[\s>]|mmc_consolefile|pcsettings|psconsolefile|jnlp\s|plist[\s>]"
    rb"|librarydescription|persistedquery|searchconnectordescription|installergui|appinstaller\s|\?mso-application"
    rb"|pkg:package|xdp:xdp|\w+:diagnosticpackage"
    rb"|task\s[^>]{0,200}xmlns=.http://schemas\.microsoft\.com/windows"
    rb"|project\s[^>]{0,200}xmlns=.http://schemas\.microsoft\.com/developer/msbuild)"
    rb"|urn:schemas-microsoft-com:(?:asm\.|xslt)",
    re.IGNORECASE,
)
# Shortcuts, themes, connections, archived pages and mails: lines that have to be there, wherever they stand.
_PROGRAM_LINES = re.compile(
    rb"^[ \t]*+(?:\[(?:internetshortcut|desktop entry|shell|autorun|theme|oledb|defaultinstall[\w.]*)\]\s*?$"
    rb"|(?:alternate )?(?:full address|shell):s:|remoteapplicationprogram:s:|gatewayhostname:s:"
    rb"|mime-version:[ \t]*1|snapshot-content-location:|xlodbc\r?$|querytype=(?:oledb|text|web))",
    re.IGNORECASE | re.MULTILINE,
)
_SCRIPT_OPENS = re.compile(
    rb"\s*(?:'|rem\s|option\s+explicit|on\s+error\s+resume|dim\s+\w|set\s+\w+\s*=|@?echo\s+off|@echo|setlocal|::"
    rb"|@?(?:cmd|powershell|pwsh|mshta|certutil|bitsadmin|schtasks)(?:\.exe)?\s|<#|#requires|param\s*\("
    rb"|\[cmdletbinding|\$[\w:]+\s*=|iex\b|set-\w|import-module|add-type|<\?php|id;p|web\s*\r?\n1\s*\r?\nhttp"
    rb"|\[shell\]|\[autorun\]|\[version\]\s*\r?\nsignature)",
    re.IGNORECASE,
)
_SCRIPT_WORDS = re.compile(
    rb"createobject\s*\(|wscript\.|activexobject|invoke-(?:expression|webrequest|restmethod|command|item)"
    rb"|downloadstring|downloadfile|frombase64string|new-object\s|start-process|powershell(?:\.exe)?\s+-|\bmshta\s"
    rb"|regsvr32|rundll32|\bexecuteglobal\b|-encodedcommand|auto_?open\s*\(",
    re.IGNORECASE,
)
_LOOK_BYTES = 2048


def risky_signature(first: bytes) -> str | None:
    """Name the dangerous format that a body begins like, if it does."""
    if not first:
        return None
    if is_tar(first):  # the first name in it may be any other's signature
        return "tar"
    return _mark(first)


def archive_kinds(first: bytes) -> tuple[str, ...]:
    """Name the kinds of archive that some bytes begin: a tar may begin with the mark of another too."""
    tar = ("tar",) if is_tar(first) else ()
    mark = _mark(first) if first else None
    if mark is None or (mark not in READ_ARCHIVES and mark not in UNREAD_ARCHIVES):
        return tar
    return (*tar, mark)


def archive_behind(data: bytes) -> tuple[str, int] | None:
    """Find an archive of 7z or rar in some bytes: its kind, and where it begins.

    It is known by its head, which has a sum and must be here with `BEHIND_HEAD_BYTES`.
    """
    found = [
        (at, kind) for mark, kind in _BEHIND.items() if (at := _head_at(data, mark, _HEADS[kind])) is not None
    ]
    if not found:
        return None
    at, kind = min(found)
    return kind, at


def _head_at(data: bytes, mark: bytes, is_head: Callable[[bytes], bool]) -> int | None:
    at = data.find(mark)  # every page is searched: an expression takes forty times as long
    while at >= 0:
        head = data[at : at + BEHIND_HEAD_BYTES]
        if len(head) == BEHIND_HEAD_BYTES and is_head(head):
            return at
        at = data.find(mark, at + 1)
    return None


def _is_7z(head: bytes) -> bool:
    return crc32(head[12:32]) == int.from_bytes(head[8:12], "little")


def _is_rar(head: bytes) -> bool:
    if head[6] == 0:  # of version 4: the head of the archive is of 13 bytes
        return head[9] == 0x73 and crc32(head[9:20]) & 0xFFFF == int.from_bytes(head[7:9], "little")  # noqa: PLR2004
    size, end = head[12], 13 + head[12]  # of version 5: a number of one byte, as this head is short
    return size > 0 and end <= len(head) and crc32(head[12:end]) == int.from_bytes(head[8:12], "little")


_HEADS = {"7z": _is_7z, "rar": _is_rar}


def image_at_end(last: bytes) -> str | None:
    """Name the kind of disk image that a file is by its last bytes."""
    for distance, mark, kind in _AT_END:
        if last[-distance:].startswith(mark) and len(last) >= distance:
            return kind
    return None


def _mark(first: bytes) -> str | None:
    for offset, signature, name in (*_BY_FIRST.get(first[0], ()), *_ELSEWHERE):
        if first.startswith(signature, offset):
            return name
    if first[_BOOT_AT : _BOOT_AT + 2] == _BOOT and first[0] in _BOOT_JUMPS:
        return "disk image"
    if first[0] == 0 and len(first) >= _BLANK_BYTES and not any(first[:_BLANK_BYTES]):
        return "blank"
    if first[13:14] == b"\0" and is_lzma(first):
        return "lzma"
    if first.lstrip(_BEFORE_MARKUP)[:1] == b"<" and _APPLICATION in first.lower():
        return "hta"
    return None


def may_begin(first: bytes) -> bool:
    """Return whether so few bytes may still turn out to be the beginning of a dangerous signature."""
    if not first:
        return True
    if first[0] == 0 and len(first) < _BLANK_BYTES and not any(first):
        return True
    return any(
        len(first) < len(signature) and signature.startswith(first)
        for _, signature, _ in _BY_FIRST.get(first[0], ())
    )


def is_tar(first: bytes) -> bool:
    """Return whether some bytes begin with a header of tar: by its mark, or by its sum (of v7)."""
    if first[_USTAR_AT : _USTAR_AT + 5] == b"ustar":
        return True
    if len(first) < TAR_BLOCK_BYTES:
        return False
    field = first[_CHECK_AT:_CHECK_END]
    if field[0] == 0x80:  # noqa: PLR2004 - a number in base 256, which GNU tar reads here too
        wanted = int.from_bytes(field[1:])
    elif _OCTAL.fullmatch(field) is None:
        return False
    else:
        wanted = int(field.replace(b"\0", b" ").split()[0], 8)
    block = first[:_CHECK_AT] + b" " * 8 + first[_CHECK_END:TAR_BLOCK_BYTES]
    total = sum(block)
    return wanted in {total, total - 256 * sum(byte > 0x7F for byte in block)}  # noqa: PLR2004 - signed bytes once


def is_lzma(first: bytes) -> bool:
    """Return whether some bytes begin with a header of LZMA alone: properties, dictionary, length."""
    found = _LZMA_ALONE.match(first)
    return found is not None and (found[1][:2] == b"\0\0" or found[1] in _LZMA_DICTIONARIES)


def script_signature(first: bytes) -> str | None:
    """Name the kind of script that a text seems to be."""
    text = first[:_LOOK_BYTES]
    if text[:2] in {b"\xff\xfe", b"\xfe\xff"} or text[1:2] == b"\0":
        text = text[2:].replace(b"\0", b"")
    text = text.removeprefix(b"\xef\xbb\xbf")
    if text.lstrip()[:1] == b"<" and _PROGRAM_MARKUP.search(text) is not None:
        return "script"
    found = _SCRIPT_OPENS.match(text) or _SCRIPT_WORDS.search(text) or _PROGRAM_LINES.search(text)
    return "script" if found is not None else None


def is_binary(first: bytes) -> bool:
    """Return whether a body is no text for a browser, whatever its type says (MIME Sniffing, 7.2)."""
    return not first.startswith(_TEXT_MARKS) and _BINARY.search(first) is not None


def is_media(first: bytes) -> bool:
    """Return whether a body begins like a picture, a sound, a film or a font, and not like a text besides."""
    if _PLAYLIST.match(first) is not None:
        return True
    return _MEDIA.match(first) is not None and _BINARY.search(first) is not None


def is_page(first: bytes) -> bool:
    """Return whether a browser that is given no type shows a body: markup, or an object of JSON."""
    return _MARKUP.match(first) is not None or _OBJECT.match(first) is not None
