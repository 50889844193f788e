"""Class of use: what a request is for, judged by its headers and its path alone.

`Sec-Fetch-Dest` decides where a browser sends it (never on plain http); else an `Accept` that names text/html
means a page; else the extension and the method speak; no hint at all means a page, the stricter class.
"""

import re
from urllib.parse import unquote

from secondlook.core.verdict import SubjectClass

_PAGE_DESTINATIONS = frozenset({"document", "iframe", "frame", "fencedframe", "embed", "object"})
# programs, installers, scripts, archives, images, macro documents, shortcuts, mails
DOWNLOAD_EXTENSIONS = frozenset(
    """
    7z aab accda accdb accde accdr ace ade adp ahk apk apks appimage appinstaller applescript application
    appref-ms appx appxbundle arj au3 bat bundle bz2 cab chm class cmd com command cpgz cpio cpl crx csh deb
    deskthemepack desktop diagcab diagcfg diagpkg dll dmg dmgpart doc docm dotm dqy egg elf eml esd exe
    fileloc flatpak flatpakref gadget gem gz hlp hta img inetloc inf ins ipa iqy iso isp jar jnlp jse kext
    ksh lha library-ms lnk lz lz4 lzh lzma mcl mda mdb mde mdw mdz mht mhtml mobileconfig mof mpkg msc msh
    msi msix msixbundle msp mst msu nupkg ocx odc one onepkg oqy osax pax pif pkg pot potm ppa ppam pps ppsm
    ppt pptm prf ps1 ps1xml ps2 psc1 psd1 psm1 pyc pyd pyo pyz pyzw qcow2 rar rdp reg rgs rpm rqy run scf
    scpt scptd scr sct search-ms searchconnector-ms settingcontent-ms sfx sh shar shb shs sldm slk snap
    sparsebundle sparseimage swf swm sys tar tbz tbz2 terminal tgz theme themepack tlz tpz txz tzst udeb udf
    udl url uue vbe vbs vdi vhd vhdx vmdk vsix vsmacros vsto webarchive webloc website wflow whl wim
    workflow wsc wsf wsh xapk xar xbap xip xla xlam xll xls xlsb xlsm xltm xnk xpi xrm-ms xz z zip zipx zst
    """.split()  # noqa: SIM905 - a table to read
)
_PART_EXTENSIONS = frozenset(
    """
    aac avi avif bmp css cur eot flac gif ico jpeg jpg js json m3u8 m4a m4s map mjs mov mp3 mp4 mpd oga ogg
    otf pbf png svg tif tiff ts ttf vtt wasm wav webm webmanifest webp woff woff2 xml
    """.split()  # noqa: SIM905 - a table to read
)
_READING_METHODS = frozenset({"GET", "HEAD"})
_LONGEST_EXTENSION = max(map(len, DOWNLOAD_EXTENSIONS))
# Windows cuts dots and spaces off, Firefox every kind of space that Unicode has
_CUT_OFF = (
    ". \t\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_CUT = re.compile(r"[;\0]")


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


def extension_of(name: str) -> str:
    """Return the extension of a file's name as the system that opens it reads it, in lower case; "" for none.

    Dots and spaces are cut off the end, and by whatever reads C strings all from a NUL on; what follows a
    semicolon is a parameter of the path (RFC 3986, 3.3).
    """
    _, dot, extension = _CUT.split(name, maxsplit=1)[0].rstrip(_CUT_OFF).rpartition(".")
    return extension.lower() if dot and len(extension) <= _LONGEST_EXTENSION else ""


def _extension(path: str) -> str:
    return extension_of(unquote(path.partition("?")[0].partition("#")[0].rpartition("/")[2]))
