"""Speaking the REST dialect of Elasticsearch 8, which servers of versions 8 and 9 both understand."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from elastic_transport import Urllib3HttpNode

if TYPE_CHECKING:
    from elastic_transport._node import NodeApiResponse

_COMPATIBLE_WITH = re.compile(r"compatible-with=\d+")


class Compatible8Node(Urllib3HttpNode):
    """Speaks the REST dialect of Elasticsearch 8, which version 9 of the client doesn't offer.

    Servers of versions 8 and 9 both understand it; an 8 server refuses the client's own dialect.
    """

    def perform_request(  # noqa: D102 - as in the base class
        self, method: str, target: str, body: bytes | None = None, headers: Any = None, request_timeout: Any = None
    ) -> NodeApiResponse:
        rewritten = compatible_with_8(headers)
        return super().perform_request(method, target, body, rewritten, request_timeout)  # type: ignore[arg-type]


def compatible_with_8(headers: Any) -> dict[str, str]:
    """Return the headers, changed to ask for the REST dialect of version 8."""
    return {k: _COMPATIBLE_WITH.sub("compatible-with=8", v) for k, v in dict(headers or {}).items()}
