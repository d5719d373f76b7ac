"""Options that several commands share, and how their values become objects."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from elasticsearch import Elasticsearch

from crosslens.client import Connection
from crosslens.errors import MappingError
from crosslens.index import Index
from crosslens.ingest.contract.record import Modality
from crosslens.ingest.contract.targets import DEFAULT_INDEX_TYPE, INDEX_TYPES, Target, parse_target
from crosslens.ingest.model.devices import DEVICES
from crosslens.ingest.sources.access import ImageAccess
from crosslens.ingest.sources.decoding.shapes import Cutting, MediaLimits
from crosslens.ingest.sources.formats.common import MAX_PIXELS

Command = TypeVar("Command", bound=Callable[..., Any])
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
_SHORTEST_STEP_S = 0.1


def connection_options(command: Command) -> Command:
    """--url, --api-key, --user, --password, --ca-certs and --cloud-id; what they leave open the environment says."""
    options = [
        click.option(
            "--url", help="Address of the cluster. Default: the running embedded node, else http://localhost:9200."
        ),
        click.option("--api-key", help="API key."),
        click.option("--user", help="User name."),
        click.option("--password", help="Password; better given by a variable than on the command line."),
        click.option("--ca-certs", type=FILE, help="Certificate authority of the cluster, PEM."),
        click.option("--cloud-id", help="Elastic Cloud ID."),
    ]
    return decorated(command, options)


def connection(
    url: str | None,
    api_key: str | None,
    user: str | None,
    password: str | None,
    ca_certs: Path | None,
    cloud_id: str | None,
) -> Connection:
    """The connection that `connection_options` and the environment describe."""
    return Connection.from_environment(url, api_key, user, password, ca_certs, cloud_id)


def target_options(command: Command) -> Command:
    """--text, --image, --audio, --video and --index-type: vector fields that are wanted, as one list of them, called
    ``targets``."""

    @functools.wraps(command)
    def gathered(
        *arguments: Any,
        texts: tuple[str, ...],
        images: tuple[str, ...],
        sounds: tuple[str, ...],
        videos: tuple[str, ...],
        moments: str | None,
        most_moments: int | None,
        index_type: str,
        **others: Any,
    ) -> Any:
        named: dict[Modality, tuple[str, ...]] = {"text": texts, "image": images, "audio": sounds, "video": videos}
        return command(*arguments, targets=parse_targets(named, index_type, moments, most_moments), **others)

    return decorated(
        cast(Command, gathered),
        [
            click.option(
                "--text",
                "texts",
                multiple=True,
                metavar="[NAME=]SOURCE",
                help="Text to encode into one vector: FIELD, FIELD,FIELD, or a template as in '{title} by {brand}'; "
                "FIELD[passages] for a vector of each passage of a long text. NAME is the vector field's, FIELD_vector "
                "by default.",
            ),
            click.option(
                "--image",
                "images",
                multiple=True,
                metavar="[NAME=]FIELD",
                help="Field that refers to an image; FIELD[] or FIELD[].PART for a vector of each of several.",
            ),
            click.option(
                "--audio",
                "sounds",
                multiple=True,
                metavar="[NAME=]FIELD",
                help="Field that refers to a sound, for a vector of each of its moments; FIELD[captions] for one of "
                "the words in the captions beside it.",
            ),
            click.option(
                "--video",
                "videos",
                multiple=True,
                metavar="[NAME=]FIELD",
                help="Field that refers to footage, for a vector of each of its moments: FIELD[frames], FIELD[sound], "
                "FIELD[captions], or FIELD[both] with a model that reads video, which is then the default; else "
                "frames.",
            ),
            click.option(
                "--moments",
                metavar="shots|SECONDS",
                help="What a moment of new fields is: a shot, or so many seconds. Default: a shot of footage, 5 s of "
                "sound.",
            ),
            click.option(
                "--most-moments",
                type=click.IntRange(1, MediaLimits().moments),
                help=f"Most moments of a file; of longer files they are longer. Default: {Cutting().most}.",
            ),
            click.option(
                "--index-type",
                type=click.Choice(INDEX_TYPES),
                default=DEFAULT_INDEX_TYPE,
                show_default=True,
                help="How Elasticsearch indexes the vectors of new fields.",
            ),
        ],
    )


def parse_targets(
    named: Mapping[Modality, Sequence[str]],
    index_type: str = DEFAULT_INDEX_TYPE,
    moments: str | None = None,
    most: int | None = None,
) -> list[Target]:
    """The vector fields that `target_options` describe. Raises `click.BadParameter` for what can't be understood."""
    targets = []
    for modality, specs in named.items():
        cutting = _cutting(modality, moments, most)
        try:
            targets += [parse_target(spec, modality, index_type, cutting) for spec in specs]
        except MappingError as error:
            raise click.BadParameter(str(error), param_hint=f"--{modality}") from error
    return targets


def _cutting(modality: Modality, moments: str | None, most: int | None) -> Cutting | None:
    """How sound or footage is cut into moments; None where nothing is said of it, or there is nothing to cut."""
    if modality not in ("audio", "video") or (moments is None and most is None):
        return None
    usual = Cutting()
    cutting = replace(usual, shots=modality == "video", most=usual.most if most is None else most)
    if moments is None or moments == "shots":
        return cutting
    try:
        step = float(moments.removesuffix("s"))
    except ValueError:
        step = 0.0
    if not _SHORTEST_STEP_S <= step < float("inf"):
        raise click.BadParameter(
            f"{moments!r} is neither 'shots' nor {_SHORTEST_STEP_S:g} seconds or more", param_hint="--moments"
        )
    return replace(cutting, shots=False, step_s=step)


@dataclass(frozen=True)
class Encoding:
    """What `encoding_options` gather."""

    images: ImageAccess
    batch_size: int | None
    threads: int
    workers: int
    failures: Path
    in_cluster: bool = False
    device: str = "auto"
    text_model: Path | None = None


def opened(
    index: str,
    client: Elasticsearch,
    model: Path | None = None,
    encoding: Encoding | None = None,
    *,
    text_model: Path | None = None,
    device: str = "auto",
    image_root: Path | None = None,
) -> Index:
    """The index as the options describe it; ``device`` and ``image_root`` where there is no ``encoding``."""
    how = encoding or Encoding(ImageAccess(image_root), None, 0, 0, Path(), device=device)
    return Index(
        index,
        client=client,
        model=model,
        text_model=text_model or how.text_model,
        images=how.images,
        in_cluster=how.in_cluster,
        batch_size=how.batch_size,
        threads=how.threads,
        workers=how.workers,
        device=how.device,
    )


_DEVICE = click.option(
    "--device",
    type=click.Choice(DEVICES),
    default="auto",
    show_default=True,
    metavar="DEVICE",
    help=f"What the encoder runs on: {', '.join(DEVICES[1:])}, or auto: the first of cuda, rocm and directml that "
    "works here, else cpu.",
)


def device_option(command: Command) -> Command:
    """--device, for commands that encode queries only."""
    return decorated(command, [_DEVICE])


def encoding_options(command: Command) -> Command:
    """--image-root, --batch-size and the like, which reach the command as one `Encoding`, called ``encoding``."""

    @functools.wraps(command)
    def gathered(
        *arguments: Any,
        image_root: Path | None,
        allow_private_urls: bool,
        schemes: tuple[str, ...],
        max_bytes: int | None,
        max_pixels: int,
        tolerate_truncated: bool,
        image_memory: int | None,
        batch_size: int | None,
        threads: int,
        workers: int,
        failures: Path,
        device: str,
        in_cluster: bool = False,
        text_model: Path | None = None,
        **others: Any,
    ) -> Any:
        images = ImageAccess(
            image_root,
            allow_private_urls,
            schemes,
            max_bytes=max_bytes,
            max_pixels=max_pixels,
            tolerate_truncated=tolerate_truncated,
            memory=None if image_memory is None else image_memory << 20,
        )
        encoding = Encoding(images, batch_size, threads, workers, failures, in_cluster, device, text_model)
        return command(*arguments, encoding=encoding, **others)

    return decorated(
        cast(Command, gathered),
        [
            click.option(
                "--image-root",
                "--media-root",
                "image_root",
                type=FOLDER,
                help="Folder that paths of images, sounds and footage start in, and must stay in.",
            ),
            click.option(
                "--allow-private-urls",
                is_flag=True,
                help="Fetch images also from addresses of your own network (loopback, private, link-local).",
            ),
            click.option(
                "--allow-scheme",
                "schemes",
                multiple=True,
                metavar="SCHEME",
                help="Read images by this fsspec scheme, as in s3, with this machine's credentials.",
            ),
            click.option(
                "--max-bytes",
                type=click.IntRange(1),
                help="Refuse larger image files. Default: 100 MB, or 32 MB where they are fetched by http.",
            ),
            click.option(
                "--max-pixels",
                type=click.IntRange(1),
                default=MAX_PIXELS,
                show_default=True,
                help="Refuse images of more pixels.",
            ),
            click.option(
                "--tolerate-truncated", is_flag=True, help="Encode JPEGs that lack only their last rows; count them."
            ),
            click.option(
                "--image-memory",
                type=click.IntRange(1),
                metavar="MB",
                help="Memory for all images that are decoded at once. Default: a quarter of the machine's.",
            ),
            click.option(
                "--batch-size",
                type=click.IntRange(1),
                help="Most inputs for one encoding. Default: 32, or 256 on a device with memory of its own, and of "
                "images as many as prove fastest.",
            ),
            click.option(
                "--threads", type=click.IntRange(0), default=0, help="Threads of the encoder. Default: all cores."
            ),
            _DEVICE,
            click.option(
                "--workers",
                type=click.IntRange(0),
                default=0,
                help="Threads that fetch and open images. Default: as many as cores, or 16 where images are URLs.",
            ),
            click.option(
                "--failures",
                type=FILE,
                default=Path("crosslens-failures.jsonl"),
                show_default=True,
                help="Where failed documents are listed, one JSON object a line; written only if there are any.",
            ),
        ],
    )


def writing_options(command: Command) -> Command:
    """`encoding_options`, --text-model and --in-cluster."""
    option = click.option(
        "--in-cluster", is_flag=True, help="Let the server plugin encode; this machine then needs no model."
    )
    return encoding_options(decorated(command, [text_model_option("Text model that makes new text fields."), option]))


def text_model_option(help: str) -> Callable[[Command], Command]:
    """--text-model: the text model of an index that has another model for its pictures."""
    return click.option("--text-model", type=FOLDER, envvar="CROSSLENS_TEXT_MODEL", help=help)


def decorated(command: Command, options: Sequence[Callable[[Command], Command]]) -> Command:
    """The command with several options, in the order given."""
    for option in reversed(options):
        command = option(command)
    return command


def parse_json(value: str | None, option: str) -> Any:
    """The JSON value of an option, None for none. Raises `click.BadParameter` where it can't be read."""
    if value is None:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        shown = value if len(value) <= 200 else f"{value[:197]}..."
        raise click.BadParameter(f"not JSON ({error}): {shown}", param_hint=option) from error


def parse_object(value: str | None, option: str) -> dict[str, Any] | None:
    """The JSON object of an option, None for none. Raises `click.BadParameter` for anything else."""
    found = parse_json(value, option)
    if found is not None and not isinstance(found, dict):
        raise click.BadParameter("must be a JSON object", param_hint=option)
    return found


def parse_weights(value: str | None) -> dict[str, float]:
    """``keyword=1,photo_vector=2`` as a dictionary. Raises `click.BadParameter` for anything else."""
    weights: dict[str, float] = {}
    for name, number in parse_names(value, "--weights", "NUMBER").items():
        try:
            weights[name] = float(number)
        except ValueError as error:
            raise click.BadParameter(f"'{name}={number}' is not NAME=NUMBER", param_hint="--weights") from error
    return weights


def parse_names(value: str | None, option: str, what: str = "VALUE") -> dict[str, str]:
    """``keyword=words,title_vector=words`` as a dictionary. Raises `click.BadParameter` for anything else."""
    named: dict[str, str] = {}
    for part in (value or "").split(","):
        if not part.strip():
            continue
        name, equals, given = part.partition("=")
        if not equals or not name.strip() or not given.strip():
            raise click.BadParameter(f"{part!r} is not NAME={what}", param_hint=option)
        named[name.strip()] = given.strip()
    return named
