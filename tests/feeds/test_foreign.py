"""What is clearly of another kind is refused by its name, and never read as something else."""

import pytest

from feedkit import read_all, texts
from secondlook.feeds.entries.entry import FeedRefused

RULES = "evil-one.example\nevil-two.example\n"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("{+block{Malware}}\n.evil-one.example\n{-block}\n.good-one.example\n", "Privoxy"),
        ("# x\n{{settings}}\nfor=1\n{ +block{x} -filter }\n.evil.example\n", "Privoxy"),
        ('function FindProxyForURL(url, host) {\n return "DIRECT";\n}\n', "PAC file"),
        ('alert http any any -> $HOME_NET any (msg:"x"; content:"evil.example"; sid:1;)\n', "Suricata"),
        (f"acl bad dstdomain .evil.example\nhttp_access deny bad\n{RULES}", "Squid"),
        ("DOMAIN-SUFFIX,evil.example,REJECT\nDOMAIN,a.evil.example\n", "Clash"),
        ("payload:\n  - '+.evil.example'\n  - 'two.example'\n", "Clash"),
        ("DOMAIN,evil.example\nDOMAIN,two.example\n", "Clash"),
        ("HOST,evil.example,reject\nHOST,two.example,reject\n", "Quantumult"),
        ("[Rule]\nevil.example\n", "Surge"),
        ("[AutoProxy 0.2.9]\n||sought.example\n", "AutoProxy"),
        ("$SOA 3600 ns.example hostmaster.example 0 600 300 86400 300\nevil.example\n", "rbldnsd"),
        (":127.0.0.2:listed\n.evil.example\n!good.example\n", "rbldnsd"),
        ("create bad hash:ip family inet\nadd bad 8.8.4.4\n", "firewall"),
        ('rule evil {\n strings: $a = "evil.example"\n condition: $a\n}\n', "YARA"),
        ("--- a/list\n+++ b/list\n@@ -1,2 +1,2 @@\n-||was.example^\n+||now.example^\n", "patch"),
        (f"version https://git-lfs.github.com/spec/v1\noid sha256:{'ab' * 32}\nsize 7\n", "Git LFS"),
        ("* evil.example * block\n* good.example * allow\n", "uBlock"),
        ('{"name":"x","denied-remote-domains":["evil.example"]}', "Little Snitch"),
        ('{"version":1,"rules":[{"domain_suffix":["evil.example"]}]}', "sing-box"),
        ('[{"trigger":{"url-filter":"evil"},"action":{"type":"block"}}]', "blocking rules"),
        ('{"log":{"version":"1.2","entries":[{"url":"http://evil.example/x"}]}}', "HAR"),
        ('<stix:STIX_Package xmlns:stix="http://stix.mitre.org/stix-1">\nhttp://evil.example/x\n', "STIX 1"),
        ('<!-- x -->\n<ioc xmlns="http://schemas.mandiant.com/2010/ioc">\nevil.example\n', "OpenIOC"),
        ("<feed>\n<entry><url>http://evil.example/x</url></entry></feed>", "news feed"),
        ("<urlset>\nhttp://evil.example/x\n", "XML"),
    ],
)
def test_it_is_refused_by_its_name(data, name):
    with pytest.raises(FeedRefused, match=name):
        read_all(data)


def test_a_section_far_behind_is_met_too():
    with pytest.raises(FeedRefused, match="Privoxy"):
        read_all("evil.example\n" * 10_000 + "{-block}\ngood.example\n")


@pytest.mark.parametrize(
    "line",
    ["alert.example", "acl.example", "payload.example", "domain.example", "rule.example", "log.example"],
)
def test_names_that_only_begin_so_are_names(line):
    assert texts(f"{line}\nevil.example\n") == [line, "evil.example"]
