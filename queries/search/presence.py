"""Whether the cluster has a server plugin that makes whole searches (`crosslens.queries.search.joined`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elasticsearch import ApiError

from crosslens.client import JSON_HEADERS
from crosslens.queries.search.requests import ServerRequest, Steps

PATH = "/_crosslens/search"
_LOG = logging.getLogger("crosslens")
# As in RestHybrid.java: another form would be misunderstood.
_FORM = 1


@dataclass
class Presence:
    """Whether it is there, by the last answer of any of the cluster's nodes."""

    there: bool


@dataclass(frozen=True)
class AskForm(ServerRequest):
    """Whether the plugin answers searches, and in which form."""

    def sent_by(self, client: Any) -> Any:
        """``GET _crosslens/search``."""
        return client.perform_request("GET", PATH, headers=JSON_HEADERS)


def is_there() -> Steps[bool]:
    """Return whether the cluster has a plugin that answers searches as this package understands them."""
    try:
        answer = yield AskForm()
    except ApiError as error:
        # Without the plugin, or by an older one, the address isn't known; nor need others be allowed to ask for it.
        _LOG.debug("searches are made without the server plugin: %s", error)
        return False
    return isinstance(answer, Mapping) and answer.get("form") == _FORM
