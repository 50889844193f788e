"""zstd as Python has it from 3.14 on, and before that as its backport has it, which mitmproxy brings."""

import sys
from typing import Final

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

__all__ = ["WINDOW_LOG", "ZstdDecompressor", "ZstdError", "begin_frame"]

WINDOW_LOG: Final = 27  # 128 MiB, the most that the command of that name takes without being asked


def begin_frame() -> ZstdDecompressor:
    """Return what unpacks one frame: it raises ZstdError, and EOFError behind its end."""
    return ZstdDecompressor(options={DecompressionParameter.window_log_max: WINDOW_LOG})
