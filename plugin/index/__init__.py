"""One object for an index: everything that the command line does, as methods of the same names."""

from crosslens.index.index import Index, IndexStatus

__all__ = ["Index", "IndexStatus"]
