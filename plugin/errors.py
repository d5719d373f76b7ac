"""The errors that crosslens raises on purpose. Each message says what was wrong, where, and what to do."""

from __future__ import annotations


class CrosslensError(Exception):
    """Base of every error below; the command line prints the message and exits with `exit_code`."""

    exit_code = 2


class ConnectionFailedError(CrosslensError):
    """No Elasticsearch answers at the address, or it refuses the credentials."""


class NodeError(CrosslensError):
    """The embedded node can't be set up, started or stopped."""


class ModelError(CrosslensError):
    """A model folder is incomplete, altered, or of a kind that crosslens can't run."""


class ExportError(CrosslensError):
    """A checkpoint can't be exported, or its export doesn't reproduce PyTorch's vectors."""


class ImageError(CrosslensError):
    """One image can't be read; recorded for its document, the run goes on."""


class MappingError(CrosslensError):
    """The index, its mapping, or a field named for it doesn't fit what was asked."""


class MixedModelsError(MappingError):
    """The indices behind one name hold vectors of different models in one field."""


class BlockedError(CrosslensError):
    """An index refuses writes as a whole, so that going on would fail every document."""


class MigrationError(CrosslensError):
    """An index can't be copied, or its model changed, as asked; what served before still serves."""


class QueryError(CrosslensError):
    """A search can't be made as asked."""
