"""Connecting to Elasticsearch: a cluster of the user's, or the embedded node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import elasticsearch
from elastic_transport import ConnectionError as TransportConnectionError
from elastic_transport import TlsError
from elasticsearch import ApiError, Elasticsearch

from crosslens.dialect import Compatible8Node
from crosslens.errors import ConnectionFailedError
from crosslens.local import running_url

DEFAULT_URL = "http://localhost:9200"
_OLDEST_SERVER = (8, 15)


@dataclass(frozen=True)
class Connection:
    """Where the cluster is and how to authenticate. Secrets are left out of its representation.

    ``url`` None means the running embedded node, else `DEFAULT_URL`; ``cloud_id`` replaces the address.
    """

    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_certs: Path | None = None
    cloud_id: str | None = None
    timeout_s: float = 60.0


def connect(connection: Connection | None = None) -> Elasticsearch:
    """A client that has been answered once. It retries nothing by itself: what may be sent again, callers decide.

    Raises `ConnectionFailedError` when nothing answers, the certificate isn't trusted, the credentials are refused, or
    the server is older than 8.15.
    """
    connection = connection or Connection()
    options = client_options(connection)
    where = "the cloud deployment" if connection.cloud_id else _without_secrets(options["hosts"][0])
    try:
        info = Elasticsearch(**options, node_class=Compatible8Node).info()
    except ApiError as error:
        if error.status_code in (401, 403):
            raise ConnectionFailedError(
                f"{where} refused the credentials ({error.status_code}); give --api-key, or --user and --password"
            ) from error
        raise ConnectionFailedError(f"{where} answered with an error: {error}") from error
    except TlsError as error:
        raise ConnectionFailedError(
            f"{where}: the certificate isn't trusted ({error.message}); give --ca-certs"
        ) from error
    except (TransportConnectionError, elasticsearch.ConnectionTimeout) as error:
        raise ConnectionFailedError(
            f"no Elasticsearch answers at {where} ({error.message}); check --url, or start one: crosslens node start"
        ) from error
    except elasticsearch.UnsupportedProductError as error:
        raise ConnectionFailedError(f"{where} is not Elasticsearch: {error}") from error
    version = parse_version(str(info["version"]["number"]))
    if version < _OLDEST_SERVER:
        raise ConnectionFailedError(
            f"{where} runs Elasticsearch {info['version']['number']}; crosslens needs 8.15 or newer"
        )
    if version[0] == 8:
        return Elasticsearch(**options, node_class=Compatible8Node)
    return Elasticsearch(**options)


def server_version(client: Elasticsearch) -> tuple[int, ...]:
    """The server's version, as in (9, 5, 3)."""
    return parse_version(str(client.info()["version"]["number"]))


def parse_version(text: str) -> tuple[int, ...]:
    """(9, 5, 3) of 9.5.3 or 9.5.3-SNAPSHOT."""
    return tuple(int(part) for part in re.findall(r"\d+", text.split("-")[0]))


def _address(connection: Connection) -> str:
    url = connection.url
    if url is None:
        url = running_url() or DEFAULT_URL
    if not re.match(r"https?://", url):
        raise ConnectionFailedError(
            f"{_without_secrets(url)!r} is not an address; it must start with http:// or https://"
        )
    return url


def _without_secrets(url: str) -> str:
    """The address without the user and password it may hold, for messages."""
    return re.sub(r"//[^/@]*@", "//", url)


def client_options(connection: Connection) -> dict[str, Any]:
    """The keyword arguments of a client for ``connection``. Raises `ConnectionFailedError` where they contradict."""
    if connection.api_key and connection.user:
        raise ConnectionFailedError("give either an API key or a user, not both")
    if connection.user and connection.password is None:
        raise ConnectionFailedError(
            f"the user {connection.user} needs a password: --password or ELASTICSEARCH_PASSWORD"
        )
    options: dict[str, Any] = {"request_timeout": connection.timeout_s, "max_retries": 0, "retry_on_timeout": False}
    if connection.cloud_id:
        options["cloud_id"] = connection.cloud_id
    else:
        options["hosts"] = [_address(connection)]
    if connection.api_key:
        options["api_key"] = connection.api_key
    if connection.user:
        options["basic_auth"] = (connection.user, connection.password)
    if connection.ca_certs:
        if not connection.ca_certs.exists():
            raise ConnectionFailedError(f"the certificate file {connection.ca_certs} doesn't exist")
        options["ca_certs"] = str(connection.ca_certs)
    return options


def reason(error: Any) -> str:
    """The first cause in the server's description of an error."""
    if not isinstance(error, Mapping):
        return str(error)
    causes = error.get("root_cause") or [error]
    return str(causes[0].get("reason") or error.get("reason") or error)
