"""Class of use: what a request is for, judged by its headers and its path alone.

`Sec-Fetch-Dest` decides where a browser sends it (never on plain http); else an `Accept` that names
text/html means a page; else the extension and the method speak; no hint at all means a page, the
stricter class.
"""

from secondlook.core.verdict import SubjectClass

_PAGE_DESTINATIONS = frozenset({"document", "iframe", "frame", "fencedframe", "embed", "object"})
DOWNLOAD_EXTENSIONS = frozenset(  # programs, installers, scripts, archives, images, macro documents
    """
    7z apk appimage appx bat bz2 cab chm cmd com cpl crx deb dll dmg docm dotm exe gz hta img iso jar jnlp
    jse lnk lzh mobileconfig msi msix msp pif pkg potm ppam ppsm pptm ps1 rar reg rpm run scf scr sh sldm
    tar tbz tgz url vbe vbs vhd vhdx whl wsf xlam xlsb xlsm xltm xpi xz z zip zst
    """.split()  # noqa: SIM905 - a table to read
)
_PART_EXTENSIONS = frozenset(
    """
    aac avi avif bmp css cur eot flac gif ico jpeg jpg js json m3u8 m4a m4s map mjs mov mp3 mp4 mpd oga ogg
    otf pbf png svg tif tiff ts ttf vtt wasm wav webm webmanifest webp woff woff2 xml
    """.split()  # noqa: SIM905 - a table to read
)
_READING_METHODS = frozenset({"GET", "HEAD"})
_LONGEST_EXTENSION = 12


def classify(
    sec_fetch_dest: str | None, accept: str | None, method: str | None, path: str | None
) -> SubjectClass:
    """Judge the class of use of a request; `path` may carry a query, which takes no part."""
    extension = _extension(path or "")
    if sec_fetch_dest and sec_fetch_dest != "empty":
        if sec_fetch_dest not in _PAGE_DESTINATIONS:
            return SubjectClass.SUBRESOURCE
        return SubjectClass.DOWNLOAD if extension in DOWNLOAD_EXTENSIONS else SubjectClass.PAGE
    if extension in DOWNLOAD_EXTENSIONS:
        return SubjectClass.DOWNLOAD
    if sec_fetch_dest == "empty":
        return SubjectClass.SUBRESOURCE
    if accept and "text/html" in accept:
        return SubjectClass.PAGE
    if extension in _PART_EXTENSIONS:
        return SubjectClass.SUBRESOURCE
    if method is not None and method.upper() not in _READING_METHODS:
        return SubjectClass.SUBRESOURCE
    if accept and "*/*" not in accept:
        return SubjectClass.SUBRESOURCE
    return SubjectClass.PAGE


def _extension(path: str) -> str:
    name = path.partition("?")[0].partition("#")[0].rpartition("/")[2]
    _, dot, extension = name.rpartition(".")
    return extension.lower() if dot and len(extension) <= _LONGEST_EXTENSION else ""
