"""Risks have one order."""

from secondlook.core.verdict import SEVERITY, Risk


def test_the_worst_comes_first():
    assert sorted(Risk, key=SEVERITY.__getitem__) == [
        Risk.DANGEROUS, Risk.HIGHLY_SUSPICIOUS, Risk.SUSPICIOUS, Risk.UNTESTED, Risk.SAFE
    ]  # fmt: skip
