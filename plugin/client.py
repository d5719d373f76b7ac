"""Connecting to Elasticsearch: a cluster of the user's, or the embedded node."""

from __future__ import annotations

import os
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
VARIABLES = {
    "url": ("ELASTICSEARCH_URL", "ES_URL", "ELASTICSEARCH_HOSTS"),
    "api_key": ("ELASTICSEARCH_API_KEY", "ELASTIC_API_KEY", "ES_API_KEY"),
    "user": ("ELASTICSEARCH_USERNAME", "ELASTIC_USERNAME", "ES_USERNAME"),
    "password": ("ELASTICSEARCH_PASSWORD", "ELASTIC_PASSWORD", "ES_PASSWORD"),
    "ca_certs": ("ELASTICSEARCH_CA_CERTS", "ELASTICSEARCH_SSL_CERTIFICATEAUTHORITIES", "ES_CA_CERT"),
    "cloud_id": ("ELASTICSEARCH_CLOUD_ID", "ELASTIC_CLOUD_ID"),
}
"""The environment variables that each part of a connection is read from, the first one that is set."""
_OLDEST_SERVER = (8, 15)


@dataclass(frozen=True)
class Connection:
    """Where the cluster is and how to authenticate. Secrets are left out of its representation.

    ``url`` None means the running embedded node, else `DEFAULT_URL`; ``cloud_id`` replaces the address.
    `from_environment` fills in what the environment says.
    """

    url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_certs: Path | None = None
    cloud_id: str | None = None
    timeout_s: float = 60.0

    @classmethod
    def from_environment(
        cls,
        url: str | None = None,
        api_key: str | None = None,
        user: str | None = None,
        password: str | None = None,
        ca_certs: Path | str | None = None,
        cloud_id: str | None = None,
    ) -> Connection:
        """The connection that the arguments describe, and where they leave something open, the variables that
        Elasticsearch's own tools read (`VARIABLES`).

        An address or credentials that are given come whole: none of the other kind is then taken from the environment.
        A password without a user, left in a variable, is ignored.
        """
        if url is None and cloud_id is None:
            url, cloud_id = _variable("url"), _variable("cloud_id")
        if api_key is None and user is None:
            api_key, user = _variable("api_key"), _variable("user")
        if user is not None and password is None:
            password = _variable("password")
        certificates = ca_certs or _variable("ca_certs")
        return cls(
            url=url,
            api_key=api_key,
            user=user,
            password=password if user else None,
            ca_certs=Path(certificates) if certificates else None,
            cloud_id=cloud_id,
        )


def _variable(name: str) -> str | None:
    return next((value for each in VARIABLES[name] if (value := os.environ.get(each))), None)


def connect(connection: Connection | None = None) -> Elasticsearch:
    """A client that has been answered once; without a ``connection``, as the environment says.

    It retries nothing by itself: what may be sent again, callers decide.

    Raises `ConnectionFailedError` when nothing answers, the certificate isn't trusted, the credentials are refused, or
    the server is older than 8.15.
    """
    connection = connection or Connection.from_environment()
    options = client_options(connection)
    where = "the cloud deployment" if connection.cloud_id else _without_secrets(options["hosts"][0])
    try:
        info = Elasticsearch(**options, node_class=Compatible8Node).info()
    except ApiError as error:
        if error.status_code in (401, 403):
            raise ConnectionFailedError(
                f"{where} refused the credentials ({error.status_code})",
                hint="give an API key, or a user and a password",
                parameter="api_key",
            ) from error
        raise ConnectionFailedError(f"{where} answered with an error: {error}") from error
    except TlsError as error:
        raise ConnectionFailedError(
            f"{where}: the certificate isn't trusted ({error.message})",
            hint="name the certificate authority's file",
            parameter="ca_certs",
        ) from error
    except (TransportConnectionError, elasticsearch.ConnectionTimeout) as error:
        raise ConnectionFailedError(
            f"no Elasticsearch answers at {where} ({error.message})",
            hint="check the address, or start the embedded node",
            parameter="url",
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
            f"the user {connection.user} needs a password",
            hint="give it, or set ELASTICSEARCH_PASSWORD",
            parameter="password",
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
