"""Pages that don't shift while the index changes."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass, replace

from crosslens.errors import QueryError


@dataclass(frozen=True)
class Page:
    """Where a search by pages stands: the point in time, how many documents were shown, and of which search."""

    pit: str
    offset: int
    digest: str

    def next(self, shown: int, found: int) -> str | None:
        """Return the token of the page after this one, which showed ``shown`` documents; None at the end of ``found``.

        The end is the window's: what no leg found is on no page.
        """
        after = self.offset + shown
        return replace(self, offset=after)._token() if shown and after < found else None

    def _token(self) -> str:
        return base64.urlsafe_b64encode(json.dumps([self.pit, self.offset, self.digest]).encode()).decode()

    @classmethod
    def of(cls, token: str, digest: str) -> Page:
        """Return the page that a token continues with. Raises `QueryError` where it belongs to another search."""
        try:
            page = cls(*json.loads(base64.urlsafe_b64decode(token.encode())))
        except (ValueError, TypeError, binascii.Error) as error:
            raise QueryError("that is not a token of a search's next page") from error
        if page.digest != digest:
            raise QueryError("the token belongs to another search; ask for the same with it, but for the size")
        return page
