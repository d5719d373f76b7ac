"""Speaking to a server of version 8 from asyncio; apart, since it needs aiohttp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elastic_transport import AiohttpHttpNode

from crosslens.client import compatible_with_8

if TYPE_CHECKING:
    from elastic_transport._node import NodeApiResponse


class Compatible8AsyncNode(AiohttpHttpNode):
    """As `crosslens.client.Compatible8Node`."""

    async def perform_request(  # type: ignore[override]  # noqa: D102 - as in the base class
        self, method: str, target: str, body: bytes | None = None, headers: Any = None, request_timeout: Any = None
    ) -> NodeApiResponse:
        rewritten = compatible_with_8(headers)
        return await super().perform_request(method, target, body, rewritten, request_timeout)  # type: ignore[arg-type]
