"""The children of the server's tests are forked from a prepared process."""

from e2e.prepared_children import prepared_children

__all__ = ("prepared_children",)
