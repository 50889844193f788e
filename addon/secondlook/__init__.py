"""Second Look: a web proxy that checks every URL and every download, and looks twice."""

import os

# pydantic would read the metadata of every installed package, to see whether one is a plugin of it
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
