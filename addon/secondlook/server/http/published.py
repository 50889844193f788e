"""Published generations as plain files, for replicas: `current` and the files of kept generations.

The same paths can be served by any static web server from a copy of the folder (`current`, `generations/…`).
"""

import re

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from secondlook.server.store.store import ServerStore

_PATH = re.compile(r"generations/\d{6,}/[A-Za-z0-9][A-Za-z0-9.-]*")


async def published_file(store: ServerStore | None, request: Request) -> Response:
    """Answer with one published file; 404 for anything else."""
    path: str = request.path_params["path"]
    if store is not None and (path == "current" or _PATH.fullmatch(path)):
        file = store.root / path
        if file.is_file():
            lasting = path != "current"
            caching = "public, max-age=31536000, immutable" if lasting else "no-cache"
            return FileResponse(
                file, media_type="application/octet-stream", headers={"cache-control": caching}
            )
    return Response("no such file\n", 404, media_type="text/plain")
