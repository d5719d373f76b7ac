"""Options that several commands share, and how their values become objects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from crosslens.client import Connection

Command = TypeVar("Command", bound=Callable[..., Any])
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)

# Results go to standard output, everything said along the way to standard error, so that pipes get results only.
out = Console()
note = Console(stderr=True)


def connection_options(command: Command) -> Command:
    """--url, --api-key, --user, --password, --ca-certs, --cloud-id, and the variables Elasticsearch's tools read."""
    options = [
        click.option(
            "--url",
            envvar=["ELASTICSEARCH_URL", "ES_URL", "ELASTICSEARCH_HOSTS"],
            help="Address of the cluster. Default: the running embedded node, else http://localhost:9200.",
        ),
        click.option("--api-key", envvar=["ELASTICSEARCH_API_KEY", "ELASTIC_API_KEY", "ES_API_KEY"], help="API key."),
        click.option("--user", envvar=["ELASTICSEARCH_USERNAME", "ELASTIC_USERNAME", "ES_USERNAME"], help="User name."),
        click.option(
            "--password",
            envvar=["ELASTICSEARCH_PASSWORD", "ELASTIC_PASSWORD", "ES_PASSWORD"],
            help="Password; better given by a variable than on the command line.",
        ),
        click.option(
            "--ca-certs",
            type=FILE,
            envvar=["ELASTICSEARCH_CA_CERTS", "ELASTICSEARCH_SSL_CERTIFICATEAUTHORITIES", "ES_CA_CERT"],
            help="Certificate authority of the cluster, PEM.",
        ),
        click.option("--cloud-id", envvar=["ELASTICSEARCH_CLOUD_ID", "ELASTIC_CLOUD_ID"], help="Elastic Cloud ID."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def connection(
    url: str | None,
    api_key: str | None,
    user: str | None,
    password: str | None,
    ca_certs: Path | None,
    cloud_id: str | None,
) -> Connection:
    """The connection that `connection_options` describe. A password without a user, left in a variable, is ignored."""
    return Connection(
        url=url,
        api_key=api_key,
        user=user,
        password=password if user else None,
        ca_certs=ca_certs,
        cloud_id=cloud_id,
    )


def parse_json(value: str | None, option: str) -> Any:
    """The JSON value of an option, None for none. Raises `click.BadParameter` where it can't be read."""
    if value is None:
        return None
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"not JSON ({error}): {value}", param_hint=option) from error


def parse_weights(value: str | None) -> dict[str, float]:
    """``keyword=1,photo_vector=2`` as a dictionary. Raises `click.BadParameter` for anything else."""
    weights: dict[str, float] = {}
    for part in (value or "").split(","):
        if not part.strip():
            continue
        name, equals, number = part.partition("=")
        try:
            weights[name.strip()] = float(number)
        except ValueError:
            equals = ""
        if not equals:
            raise click.BadParameter(f"{part!r} is not NAME=NUMBER", param_hint="--weights")
    return weights


def print_json(value: object) -> None:
    """One JSON document on standard output, never wrapped or coloured."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))
