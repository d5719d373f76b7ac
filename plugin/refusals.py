"""Why a cluster can't be connected to: one sentence with the cause, and what to do about it."""

from __future__ import annotations

import contextlib
import html
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from elastic_transport import ConnectionTimeout, SerializationError, TlsError, TransportError
from elasticsearch import ApiError, UnsupportedProductError

from crosslens.addresses import Host, without_secrets
from crosslens.errors import ConnectionFailedError

_HANDSHAKE_S = 5.0
_WORDS = 200
# OpenSSL's error codes for certificates.
_EXPIRED, _NOT_YET_VALID, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64
_SELF_SIGNED = (18, 19)


def check_certificates(path: Path) -> None:
    """Raise `ConnectionFailedError` where ``path`` isn't a file of certificates in PEM."""
    if not path.exists():
        raise _of_certificates(f"the certificate file {path} doesn't exist")
    if path.is_dir():
        raise _of_certificates(f"{path} is a folder, not a certificate file")
    try:
        if not path.read_bytes().strip():
            raise _of_certificates(f"the certificate file {path} is empty")
        ssl.create_default_context(cafile=str(path))
    except ssl.SSLError:
        raise _of_certificates(
            f"{path} is not a certificate file in PEM", "it begins with -----BEGIN CERTIFICATE-----"
        ) from None
    except OSError as error:
        raise _of_certificates(f"the certificate file {path} can't be read ({error.strerror or error})") from error


def _of_certificates(message: str, hint: str = "") -> ConnectionFailedError:
    return ConnectionFailedError(message, hint=hint, parameter="ca_certs")


@contextlib.contextmanager
def explained(where: str, hosts: list[Host], *, default: bool, signed_in: str) -> Iterator[None]:
    """Translate the client's errors into `ConnectionFailedError`.

    ``where`` is the cluster's name in messages, ``default`` whether nobody named an address, and ``signed_in`` the
    parameter that the credentials come from ("" without any).
    """
    try:
        yield
    except UnsupportedProductError as error:
        raise ConnectionFailedError(
            f"{where} is not Elasticsearch: it doesn't say so in its answer", hint="check the address", parameter="url"
        ) from error
    except ApiError as error:
        raise _answered(where, error, signed_in) from error
    except TlsError as error:
        raise _untrusted(where, error) from error
    except ConnectionTimeout as error:
        raise _silent(where, "it took too long", default=default) from error
    except SerializationError as error:
        raise ConnectionFailedError(
            f"{where} is not Elasticsearch: its answer is not JSON", hint="check the address", parameter="url"
        ) from error
    except TransportError as error:
        if any(host.scheme == "http" and _speaks_tls(host) for host in hosts):
            raise ConnectionFailedError(
                f"{where} speaks https, not http", hint="write the address with https://", parameter="url"
            ) from error
        raise _silent(where, _network(error), default=default) from error
    except (ValueError, TypeError, OSError) as error:
        # The client's message may repeat its arguments, including secrets.
        raise ConnectionFailedError(
            f"the client can't be set up for {where} ({type(error).__name__})", hint="check the address and credentials"
        ) from None


def _answered(where: str, error: ApiError, signed_in: str) -> ConnectionFailedError:
    status, said = error.status_code, said_by(error)
    if status == 401:
        what = "refused the API key" if signed_in == "api_key" else "refused the user or the password"
        return ConnectionFailedError(
            f"{where} {what if signed_in else 'wants credentials'} (401: {said})",
            hint="check it" if signed_in else "give an API key, or a user and a password",
            parameter=signed_in or "api_key",
        )
    if status == 403:
        return ConnectionFailedError(
            f"{where} knows who asks, and refuses (403: {said})",
            hint="grant the cluster privilege monitor, or read on an index",
        )
    location = error.meta.headers.get("location")
    if 300 <= status < 400 and location:
        return ConnectionFailedError(
            f"{where} redirects to {without_secrets(location)} ({status})",
            hint="give that address, if it is Elasticsearch's",
            parameter="url",
        )
    return ConnectionFailedError(f"{where} answered {status}: {said}", hint="" if status < 500 else "try again later")


def said_by(error: ApiError) -> str:
    """Return an answer's explanation: Elasticsearch's reason, or the text of a proxy's page."""
    body = error.body
    if isinstance(body, bytes):
        body = body.decode(errors="replace")
    if isinstance(body, Mapping):
        given = body.get("error") or body.get("message") or ""
        text = reason(given) if given else ""
    else:
        text = html.unescape(re.sub(r"<(style|script|head)\b.*?</\1>|<[^>]*>", " ", str(body or ""), flags=re.S | re.I))
        text = text if text.strip() else str(body or "")
    text = " ".join(text.split())
    return (text[:_WORDS] + "…" if len(text) > _WORDS else text) or "no reason given"


def reason(error: Any) -> str:
    """Return the first cause in the server's description of an error."""
    if not isinstance(error, Mapping):
        return str(error)
    causes = error.get("root_cause") or [error]
    return str(causes[0].get("reason") or error.get("reason") or error)


def _untrusted(where: str, error: TlsError) -> ConnectionFailedError:
    cause = next((each for each in _causes(error) if isinstance(each, ssl.SSLError)), None)
    code = getattr(cause, "verify_code", 0)
    text = re.sub(r"\s*\(_ssl\.c:\d+\)|\[[^\]]*\]\s*", "", str(error.message))
    if re.search(r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST", str(error.message)):
        return ConnectionFailedError(
            f"{where} speaks http, not https", hint="write the address with http://", parameter="url"
        )
    if code == _EXPIRED:
        return ConnectionFailedError(
            f"{where}: the certificate has expired", hint="have it renewed; on this machine check the clock"
        )
    if code == _NOT_YET_VALID:
        return ConnectionFailedError(f"{where}: the certificate is not valid yet", hint="check this machine's clock")
    if code in (_OTHER_NAME, _OTHER_ADDRESS) or "doesn't match" in text:
        return ConnectionFailedError(
            f"{where}: the certificate is another host's ({text})",
            hint="use a name that it was made for",
            parameter="url",
        )
    if code:
        made = "self-signed" if code in _SELF_SIGNED else "signed by an authority that isn't known here"
        return ConnectionFailedError(
            f"{where}: the certificate isn't trusted, it is {made} ({text})",
            hint="name the file of the certificate authority",
            parameter="ca_certs",
        )
    return ConnectionFailedError(f"{where}: no secure connection ({text})", hint="check the address", parameter="url")


def _silent(where: str, why: str, *, default: bool) -> ConnectionFailedError:
    message = f"no Elasticsearch answers at {where} ({why})"
    if default:
        return ConnectionFailedError(message, hint="start the embedded node, or name an address", verb="node start")
    return ConnectionFailedError(message, hint="check the address", parameter="url")


def _network(error: TransportError) -> str:
    found = _causes(error)
    if any(isinstance(each, socket.gaierror) for each in found):
        return "the name doesn't resolve to an address"
    refused = next((each for each in found if isinstance(each, OSError) and each.strerror), None)
    if isinstance(refused, ConnectionRefusedError):
        return "connection refused"
    return str(getattr(refused, "strerror", None) or error.message)


def _speaks_tls(host: Host) -> bool:
    """Return whether a TLS handshake succeeds; nothing else is sent, and the certificate isn't trusted for it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((host.name, host.port), _HANDSHAKE_S) as plain:
            context.wrap_socket(plain, server_hostname=host.name).close()
    except (OSError, ValueError):
        return False
    return True


def _causes(error: BaseException) -> list[BaseException]:
    """Return the error and its chain of causes, outermost first."""
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None:
        found += [each, *(part for part in each.args if isinstance(part, BaseException))]
        each = each.__cause__ or each.__context__
    return found
