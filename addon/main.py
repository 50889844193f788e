"""Second Look for `mitmdump -s addon/main.py` and mitmweb: for development; else run `secondlook run`."""

from secondlook.run.development import make_addons

addons = make_addons()
