"""The names of loom.control.requests by which some modules know them."""

from loom.control.requests.reading import Paging, read_body, read_query

__all__ = ["Paging", "read_body", "read_query"]
