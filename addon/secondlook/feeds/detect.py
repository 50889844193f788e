"""Telling the format of a feed by its content; the file's name is only a hint."""

import re
from enum import StrEnum

from secondlook.feeds.entry import FeedRefused
from secondlook.feeds.plain import COMMENT

SAMPLE_CHARS = 65_536
MAX_CONTROL_SHARE = 0.02

_HTML = re.compile(r"\s*(?:<!doctype\s+html|<html|<head|<body|<script)", re.IGNORECASE)
_HOSTS_LINE = re.compile(r"(?:0\.0\.0\.0|127\.0\.0\.\d+|::1?|0)\s+\S", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\udc80-\udcff]")


class Format(StrEnum):
    """The formats a feed can have; the value names it on the command line (`--format`)."""

    PLAIN = "plain"
    HOSTS = "hosts"


def detect(sample: str, name: str = "") -> Format:
    """Tell the format of a feed from its first characters.

    Raises FeedRefused when it is empty, HTML or binary.
    """
    del name
    if not sample.strip():
        raise FeedRefused("empty: the feed holds nothing")
    if _HTML.match(sample):
        raise FeedRefused("HTML: a web page came instead of a feed")
    if len(_CONTROL.findall(sample)) > MAX_CONTROL_SHARE * len(sample):
        raise FeedRefused("binary: the feed is no text and no known container")
    lines = [line.strip() for line in sample.splitlines()[:500]]
    data = [line for line in lines if line and not COMMENT.match(line)]
    if data and sum(1 for line in data if _HOSTS_LINE.match(line)) * 2 > len(data):
        return Format.HOSTS
    return Format.PLAIN
