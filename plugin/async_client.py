"""Connecting from asyncio; apart, since it needs aiohttp."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from elastic_transport import AiohttpHttpNode
from elasticsearch import AsyncElasticsearch

from crosslens.client import Connection, opened
from crosslens.dialect import compatible_with_8
from crosslens.failover import AsyncFailoverTransport

if TYPE_CHECKING:
    from elastic_transport._node import NodeApiResponse


class Compatible8AsyncNode(AiohttpHttpNode):
    """The asyncio counterpart of `crosslens.dialect.Compatible8Node`."""

    async def perform_request(  # type: ignore[override]  # noqa: D102 - as in the base class
        self, method: str, target: str, body: bytes | None = None, headers: Any = None, request_timeout: Any = None
    ) -> NodeApiResponse:
        rewritten = compatible_with_8(headers)
        return await super().perform_request(method, target, body, rewritten, request_timeout)  # type: ignore[arg-type]


async def connect_async(connection: Connection | None = None) -> AsyncElasticsearch:
    """Connect as `connect` does, for asyncio; needs aiohttp (``pip install 'elasticsearch[async]'``).

    Close the client after use.
    """
    # The synchronous path reports every failure with a proper message.
    options, version = await asyncio.to_thread(opened, connection or Connection.from_environment())
    options["transport_class"] = AsyncFailoverTransport
    if version[0] == 8:
        return AsyncElasticsearch(**options, node_class=Compatible8AsyncNode)
    return AsyncElasticsearch(**options)
