"""The errors that crosslens raises on purpose: each says what was wrong and where, and its hint how to fix it."""

from __future__ import annotations


class CrosslensError(Exception):
    """Base of every error below; the command line prints the message and the hint, and exits with ``exit_code``.

    ``message`` says what was wrong and where. ``hint`` says what to do, in words that suit every caller; where that
    means a method of `crosslens.Index` (and so the command of the same name), ``verb`` names it, as in "migrate"; what
    `crosslens.node` does is named as in "node start". Where it means an argument, ``parameter`` names that. The command
    line turns both into its own words.
    """

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", verb: str | None = None, parameter: str | None = None):
        super().__init__(message)
        self.message, self.hint, self.verb, self.parameter = message, hint, verb, parameter

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


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


class MediaError(CrosslensError):
    """One sound or video can't be read; recorded for its document, the run goes on."""


class TextError(CrosslensError):
    """One text can't be encoded; recorded for its document, the run goes on."""


class LabelError(CrosslensError):
    """Labels, captions, or the examples that they are judged by can't be used as they are given."""


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


class NotCalibratedError(QueryError):
    """A search needs corpus statistics that the index doesn't have yet."""


class ServingError(CrosslensError):
    """The search page and its API can't be served as asked."""
