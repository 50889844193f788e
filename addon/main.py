"""Second Look for `mitmdump -s addon/main.py` and mitmweb: for development, `secondlook run` is the real thing."""

from secondlook.run.development import make_addons

addons = make_addons()
