"""What the keeper of `e2e.prepared` imports and makes once, for all that it forks.

Prometheus' client decides at its import where it counts, and a process takes the room for its counters before. So it
and what needs it are imported here and put away; a process gets them when it first imports one of them, and its
counters are begun anew then.
"""

import contextlib
import importlib
import os
import pkgutil
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

OTHERS = (  # of others, what ours import when they first need it
    *(
        "alembic.command",
        "alembic.context",
        "sqlalchemy.dialects.sqlite",
        "sqlalchemy.dialects.postgresql.psycopg",
    ),
    *(
        "anyio._backends._asyncio",
        "anyio.streams.tls",
        "encodings.idna",
        "numpy.ma",
        "ruamel.yaml",
        "yara_x",
    ),
    *("uvicorn.lifespan.off", "wsgiref.simple_server"),
)


def import_all() -> None:
    """Import every module of ours, and put away those that count."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy's: who forks has one thread, as `_fork_beside` needs it
    import secondlook
    from secondlook.run.entry import spare_imports

    spare_imports()
    ours = [
        found.name
        for found in pkgutil.walk_packages(secondlook.__path__, "secondlook.")
        if not found.name.endswith(("__main__", "_pb2", ".env")) and ".migrations" not in found.name
    ]
    sys.modules["prometheus_client"] = None  # type: ignore[assignment]  # so that its import fails
    for name in (*ours, *OTHERS):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    _make_what_all_need()
    del sys.modules["prometheus_client"]
    before = set(sys.modules)
    for name in ours:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    sys.meta_path.insert(0, PutAway(set(sys.modules) - before))


def _make_what_all_need() -> None:
    from secondlook import suffix
    from secondlook.config.document import read_document
    from secondlook.config.service import PublishSettings
    from secondlook.config.source import load_server_settings, load_settings
    from secondlook.server.publish.guard import guard_of

    guard_of(suffix.load_suffixes()).root_keys  # noqa: B018 - it is kept
    PublishSettings.model_rebuild()  # pydantic makes a model's code when it is first used
    for load in (load_settings, load_server_settings):
        load(None, overrides=["state=/nowhere"])
    read_document(Path(), {}, b"workers: 1")  # ruamel.yaml compiles its expressions then
    from ledgerkit import copied

    copied.begin()


class PutAway(MetaPathFinder, Loader):
    """Modules that were imported, and are given out when they are imported the next time."""

    def __init__(self, names: set[str]) -> None:
        self._modules = {name: sys.modules.pop(name) for name in names}
        self._specs = {name: module.__spec__ for name, module in self._modules.items()}
        self._given = False

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """Find what was put away."""
        module = self._modules.get(fullname)
        if module is None:
            return None
        return ModuleSpec(fullname, self, is_package=hasattr(module, "__path__"))

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Give the module itself."""
        return self._modules.pop(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Have it as it was; with the first of all, begin the counters anew, where this process counts."""
        module.__spec__ = self._specs[module.__name__]
        if not self._given:
            self._given = True
            _begin_counters()


def _begin_counters() -> None:
    from prometheus_client import REGISTRY, values
    from prometheus_client.metrics import MetricWrapperBase

    values.ValueClass = values.get_value_class()
    for metric in set(REGISTRY._names_to_collectors.values()):
        if isinstance(metric, MetricWrapperBase):
            for each in (metric, *getattr(metric, "_metrics", {}).values()):
                if each._is_observable():
                    each._metric_init()
