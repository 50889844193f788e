"""Settings of the engines that look into files."""

from typing import Annotated

from pydantic import Field

from secondlook.config.value import Bytes, FilePath, Section, SomeSeconds, section


class YaraSettings(Section):
    """YARA-X, in the process that reads archives."""

    rules: tuple[FilePath, ...] = ()  # files, and folders with all .yar and .yara below them
    timeout: SomeSeconds = 5.0  # of one file with all that lies in it
    max_bytes: Bytes = 256 << 20  # of one file or member; beyond it, it is unverifiable


class ScanSettings(Section):
    """Engines that look into risky files. Without any only our own few YARA rules do."""

    yara: YaraSettings = section()
    report: bool = False  # what engines find, to our own servers (servers.intranet)
    remember: Annotated[int, Field(ge=0)] = 50_000  # files whose results are kept across restarts
