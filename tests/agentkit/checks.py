"""A check of one URL or file, and what decides it."""

from agentkit.house import House
from ledgerkit.samples import make_rule
from secondlook.core.rules.rule import Rule, Scope
from secondlook.core.subject import RequestContext
from secondlook.core.verdict import SubjectClass

PAGE = RequestContext(SubjectClass.PAGE, client="127.0.0.1", url="http://bad.test/x", method="GET")


FILE = RequestContext(SubjectClass.DOWNLOAD, client="127.0.0.1", url="http://files.test/a.exe", method="GET")


def listed(url: str, house: House) -> bytes:
    return house.subject(url).hashes[0]


def check(house, url="http://bad.test/x", context=PAGE):
    return house.run(house.checker.check(house.subject(url), context))


def rule(action="allow", scope=Scope.DOMAIN, subject="bad.test", **more) -> Rule:
    return make_rule(**{"id": "r1", "action": action, "scope": scope, "subject": subject} | more)
