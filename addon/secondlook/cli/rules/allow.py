"""`secondlook allow`: a rule that lets something through whatever the lists say."""

from secondlook.cli.rules.rulemaking import rule_app

app = rule_app("allow")
