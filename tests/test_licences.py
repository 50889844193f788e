"""The table of licences is current, and the bill of materials says what is in the lock (3 s)."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest
from cyclonedx.model.bom import Bom
from license_expression import get_spdx_licensing


@pytest.fixture(scope="module")
def licences(repository: Path):
    spec = importlib.util.spec_from_file_location("licences", repository / "scripts" / "licences.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["licences"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    yield module
    del sys.modules["licences"]


def test_the_page_is_current(licences):
    assert licences.PAGE.read_text() == licences.page(), "make licences"


def test_every_package_of_the_lock_has_a_licence_that_spdx_knows(licences, repository):
    found = licences.packages()
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (repository / "requirements.txt").read_text(), re.MULTILINE))
    assert locked - licences.BUILDING == {each.name for each in found if each.extra is None}
    assert {each.extra for each in found} == {None, "notices", "postgresql", "valkey", "yara"}
    spdx = get_spdx_licensing()
    for each in found:
        faults = spdx.validate(re.sub(r"LicenseRef-[\w-]+", "MIT", each.licence)).errors
        assert not faults, (each.name, each.licence)
        assert each.needed_by, each.name
    assert licences.SAID.keys() <= {each.name for each in found}, "some are no longer needed"


def test_what_an_extra_brings_is_told(licences):
    extras = {each.name: each.extra for each in licences.packages()}
    assert (extras["psycopg-binary"], extras["redis"], extras["requests"], extras["yara-x"]) == (
        "postgresql",
        "valkey",
        "notices",
        "yara",
    )
    assert extras["numpy"] is None


def test_the_bill_of_materials_can_be_read_and_is_complete(licences, tmp_path):
    licences.main(["--sbom", str(tmp_path / "bom.json")])
    raw = json.loads((tmp_path / "bom.json").read_text())
    assert (raw["bomFormat"], raw["specVersion"]) == ("CycloneDX", "1.6")
    bom = Bom.from_json(raw)
    assert bom.metadata.component.name == "secondlook"
    packages = {each.name: each for each in licences.packages()}
    assert {each.name: each.version for each in bom.components} == {
        name: each.version for name, each in packages.items()
    }
    needed = {str(each.ref): {str(one.ref) for one in each.dependencies} for each in bom.dependencies}
    assert {"mitmproxy", "numpy", "redis"} <= needed["secondlook"]
    assert "h11" in needed["httpcore"]


def test_a_package_without_a_licence_is_named(licences):
    with pytest.raises(SystemExit, match="no-such-package is not installed"):
        licences.Package("no-such-package", "1").licence  # noqa: B018


def test_what_newer_pythons_bring_themselves_is_not_locked_for_them(repository):
    """Without its marker nothing could be installed on Python 3.14: there is no such package for it."""
    for name in ("requirements.txt", "requirements-extra.txt", "requirements-dev.txt"):
        lines = (repository / name).read_text().splitlines()
        (line,) = [line for line in lines if line.startswith("backports-zstd==")]
        assert line.endswith('; python_version < "3.14" \\'), name
