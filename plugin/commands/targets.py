"""Options that name vector fields which are wanted, and how they become targets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import click

from crosslens.commands.options import decorated
from crosslens.errors import MappingError
from crosslens.ingest.contract.record import Modality
from crosslens.ingest.contract.targets import DEFAULT_INDEX_TYPE, INDEX_TYPES, Target, parse_target
from crosslens.ingest.sources.decoding.shapes import Cutting, MediaLimits

Command = TypeVar("Command", bound=Callable[..., Any])
_SHORTEST_STEP_S = 0.1


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
