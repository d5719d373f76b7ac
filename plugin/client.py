"""Connecting to Elasticsearch: a cluster of the user's, or the embedded node."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_transport.client_utils import parse_cloud_id
from elasticsearch import ApiError, AuthorizationException, BadRequestError, Elasticsearch

from crosslens.addresses import Host, has_user, parse_hosts, without_secrets
from crosslens.dialect import Compatible8Node
from crosslens.errors import ConnectionFailedError
from crosslens.failover import FailoverTransport
from crosslens.local import running_url
from crosslens.refusals import check_certificates, explained, said_by

DEFAULT_URL = "http://localhost:9200"
# Of requests that the client has no method for.
JSON_HEADERS = {"accept": "application/json", "content-type": "application/json"}
VARIABLES = {
    "url": ("ELASTICSEARCH_URL", "ES_URL", "ELASTICSEARCH_HOSTS"),
    "api_key": ("ELASTICSEARCH_API_KEY", "ELASTIC_API_KEY", "ES_API_KEY"),
    "user": ("ELASTICSEARCH_USERNAME", "ELASTIC_USERNAME", "ES_USERNAME"),
    "password": ("ELASTICSEARCH_PASSWORD", "ELASTIC_PASSWORD", "ES_PASSWORD"),
    "ca_certs": ("ELASTICSEARCH_CA_CERTS", "ELASTICSEARCH_SSL_CERTIFICATEAUTHORITIES", "ES_CA_CERT"),
    "cloud_id": ("ELASTICSEARCH_CLOUD_ID", "ELASTIC_CLOUD_ID"),
}
"""The environment variables for each part of a connection; the first one set is used."""
_LOG = logging.getLogger(__name__)
OLDEST_SERVER = (8, 15)
# A search that finds nothing, with syntax that servers accept from this version on. Where they reject the syntax, the
# server may be older, and features that depend on a version stay unused.
UNDERSTANDS = (9, 2)
# Elastic Cloud Serverless names a number for clients to read, 8.11 for long, that says nothing of what it can do:
# it is updated continually. https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-info
SERVERLESS = (9, 5)
OF_NOTHING: dict[str, Any] = {"index": "crosslens-none-*", "size": 0, "source": {"exclude_vectors": False}}


@dataclass(frozen=True)
class Connection:
    """Where the cluster is and how to authenticate. Its representation leaves secrets out.

    ``url`` is one address, several with commas between them, or a JSON list of them, each perhaps with a user and a
    password (``https://user:password@host:9200``); None means the running embedded node, else `DEFAULT_URL`.
    Give ``cloud_id`` instead of it for Elastic Cloud. `from_environment` fills in the environment's settings.
    """

    url: str | None = None
    api_key: str | None = None
    user: str | None = None
    password: str | None = None
    ca_certs: Path | None = None
    cloud_id: str | None = None
    timeout_s: float = 60.0

    def __repr__(self) -> str:
        given = {
            "url": without_secrets(self.url) if self.url is not None else None,
            "user": self.user,
            "ca_certs": self.ca_certs,
            "cloud_id": self.cloud_id,
            "timeout_s": self.timeout_s,
        }
        return f"Connection({', '.join(f'{name}={value!r}' for name, value in given.items())})"

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
        """Return the connection that the arguments describe, completed from the variables of Elasticsearch's own tools
        (`VARIABLES`).

        A given address or given credentials are used whole: the environment's alternatives to them are ignored.
        A password without a user, left in a variable, is ignored, and so is a certificate file for an http address.
        """
        if url is None and cloud_id is None:
            cloud_id = _variable("cloud_id")
            url = None if cloud_id else _variable("url")
        if api_key is None and user is None and not has_user(url):
            api_key, user = _variable("api_key"), _variable("user")
        if user is not None and password is None:
            password = _variable("password")
        plain = cloud_id is None and (url or "http:").lower().lstrip(' ["').startswith("http:")
        certificates = ca_certs or (None if plain else _variable("ca_certs"))
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
    """Return a client whose first request was answered; without a ``connection``, from the environment.

    It doesn't repeat a request that may have reached a host: callers decide what may be sent again. With several hosts,
    the next one is asked where one can't be reached. A user who may not ask for the server's version (the cluster
    privilege ``monitor``) is still connected if the server answers a search; `server_version` is then a lower bound.

    Raises `ConnectionFailedError` when nothing answers, the certificate isn't trusted, the credentials are refused, or
    the server is older than 8.15.
    """
    options, version = opened(connection or Connection.from_environment())
    if version[0] == 8:
        return Elasticsearch(**options, node_class=Compatible8Node)
    return Elasticsearch(**options)


def opened(connection: Connection) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Return a client's keyword arguments for ``connection``, and the server's version. Raises as `connect`."""
    options = client_options(connection)
    hosts = _hosts(connection)
    where = ", ".join(map(str, hosts)) or "the cloud deployment"
    signed_in = "api_key" if connection.api_key else "password" if connection.user else ""
    if "basic_auth" in options and not signed_in:
        signed_in = "url"
    with explained(where, hosts, default=connection.url is None, signed_in=signed_in):
        try:
            with Elasticsearch(**options, node_class=Compatible8Node) as careful:
                info = careful.info().body
            version = reported_version(info)
        except AuthorizationException as refused:
            try:
                with Elasticsearch(**options) as plain:
                    version = _least_version(plain)
            except ApiError:
                # A search fails as well; the first error says more.
                raise refused from None
            _LOG.warning(
                "%s doesn't say its version to this user (%s); it is taken to be %s.%s or newer. "
                "The cluster privilege monitor lets a user ask.",
                *(where, said_by(refused), *version),
            )
            return options, version
        except KeyError:
            raise ConnectionFailedError(f"{where} is not Elasticsearch: it names no version") from None
    if version < OLDEST_SERVER:
        raise ConnectionFailedError(
            f"{where} runs Elasticsearch {info['version']['number']}; crosslens needs 8.15 or newer"
        )
    return options, version


def server_version(client: Elasticsearch) -> tuple[int, ...]:
    """Return the server's version, as in (9, 5, 3); for a user who may not ask for it, a lower bound."""
    try:
        return reported_version(client.info().body)
    except AuthorizationException:
        return _least_version(client)


def _least_version(client: Elasticsearch) -> tuple[int, ...]:
    """Return a lower bound from a request's syntax, which the server checks before the user's rights."""
    try:
        client.search(**OF_NOTHING)
    except BadRequestError:
        return OLDEST_SERVER
    return UNDERSTANDS


def reported_version(info: Any) -> tuple[int, ...]:
    """Return the version in an answer to ``GET /``; for a serverless cluster, that of the releases it is ahead of.

    Raises `KeyError` where it names none.
    """
    version = info.get("version") if isinstance(info, Mapping) else None
    if not isinstance(version, Mapping) or "number" not in version:
        raise KeyError("version")
    return SERVERLESS if version.get("build_flavor") == "serverless" else parse_version(str(version["number"]))


def parse_version(text: str) -> tuple[int, ...]:
    """Return (9, 5, 3) for 9.5.3 or 9.5.3-SNAPSHOT."""
    return tuple(int(part) for part in re.findall(r"\d+", text.split("-")[0]))


def _hosts(connection: Connection) -> list[Host]:
    if connection.cloud_id:
        return []
    return parse_hosts(connection.url if connection.url is not None else running_url() or DEFAULT_URL)


def client_options(connection: Connection) -> dict[str, Any]:
    """Return a client's keyword arguments. Raises `ConnectionFailedError` where the connection contradicts itself."""
    if connection.url is not None and connection.cloud_id:
        raise ConnectionFailedError("give either an address or a cloud ID, not both", parameter="cloud_id")
    hosts = _hosts(connection)
    options: dict[str, Any] = {
        "request_timeout": connection.timeout_s,
        "max_retries": 0,
        "retry_on_timeout": False,
        "transport_class": FailoverTransport,
        **_credentials(connection, hosts),
    }
    if connection.cloud_id:
        try:
            known = parse_cloud_id(connection.cloud_id).es_address
        except ValueError:
            known = None
        if known is None:
            raise ConnectionFailedError(
                "the cloud ID can't be read", hint="copy it whole from the deployment's page", parameter="cloud_id"
            )
        options["cloud_id"] = connection.cloud_id
    else:
        options["hosts"] = [{"scheme": h.scheme, "host": h.name, "port": h.port, "path_prefix": h.path} for h in hosts]
    if connection.ca_certs:
        if any(host.scheme == "http" for host in hosts):
            raise ConnectionFailedError(
                "a certificate file is for https, and the address begins with http://",
                hint="write https://, or leave the file out",
                parameter="ca_certs",
            )
        check_certificates(connection.ca_certs)
        options["ca_certs"] = str(connection.ca_certs)
    return options


def _credentials(connection: Connection, hosts: list[Host]) -> dict[str, Any]:
    # The client sends one host's credentials to all of them, so there can be only one pair.
    named = {(host.user, host.password) for host in hosts if host.user is not None}
    if len(named) > 1:
        raise ConnectionFailedError("the addresses name different users", hint="give one for all", parameter="url")
    if bool(connection.api_key) + bool(connection.user) + bool(named) > 1:
        raise ConnectionFailedError("give either an API key or a user, not both, and the user in one place only")
    if connection.user and connection.password is None:
        raise ConnectionFailedError(
            f"the user {connection.user} needs a password",
            hint="give it, or set ELASTICSEARCH_PASSWORD",
            parameter="password",
        )
    if connection.api_key:
        if not re.fullmatch(r"[!-~]+", connection.api_key):
            raise ConnectionFailedError(
                "the API key holds a space, a line break or another character that no key has",
                hint="copy it again, in its encoded form",
                parameter="api_key",
            )
        return {"api_key": connection.api_key}
    if connection.user:
        return {"basic_auth": (connection.user, connection.password)}
    return {"basic_auth": named.pop()} if named else {}
