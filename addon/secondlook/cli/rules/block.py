"""`secondlook block`: a rule that refuses something whatever the lists say."""

from secondlook.cli.rules.rulemaking import rule_app

app = rule_app("block")
