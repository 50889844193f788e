"""The commands are forked from a prepared process, as those of the stories are."""

from e2e import prepared

prepared.allow()
