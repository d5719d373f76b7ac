"""The file that says what `crosslens sync` follows: one TOML file, without secrets."""

from __future__ import annotations

import difflib
import ipaddress
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from crosslens.errors import SettingsError
from crosslens.ingest.model.devices import DEVICES
from crosslens.ingest.sources.access import ImageAccess
from crosslens.ingest.sources.formats.common import MAX_PIXELS

_SECRETS = {"api_key", "password", "token", "user", "url", "cloud_id"}
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class IndexSettings:
    """What is followed under one ``name`` (an index, alias, pattern or data stream), and how.

    ``fields`` are its vector fields (None: all). Images are read as `ImageAccess` says. ``pictures_per_minute`` have
    their content compared with what was encoded (0: none). ``documents_per_second`` are read at most while the whole
    index is looked through (0: as many as can be). A failed document is tried again after ``retry_first_s`` seconds,
    then twice as late each time, up to ``retry_most_s``.
    """

    name: str
    fields: tuple[str, ...] | None = None
    image_root: str | None = None
    allow_private_urls: bool = False
    allow_schemes: tuple[str, ...] = ()
    max_bytes: int | None = None
    max_pixels: int = MAX_PIXELS
    tolerate_truncated: bool = False
    pictures_per_minute: float = 60.0
    documents_per_second: float = 0.0
    retry_first_s: float = 30.0
    retry_most_s: float = 3600.0

    @property
    def images(self) -> ImageAccess:
        """How images are read."""
        return ImageAccess(
            self.image_root,
            self.allow_private_urls,
            self.allow_schemes,
            max_bytes=self.max_bytes,
            max_pixels=self.max_pixels,
            tolerate_truncated=self.tolerate_truncated,
        )


@dataclass(frozen=True)
class SyncSettings:
    """All that the file says: each ``index`` that is followed, and with what.

    Changes are looked for every ``look_s`` seconds. ``listen`` is where metrics and health are served ("": nowhere).
    ``models`` are folders of models; those of fields that none of them made are looked for as elsewhere, and
    ``in_cluster`` first in the cluster. ``batch_size``, ``threads`` and ``device`` as in `Encoder`; ``workers`` threads
    read images, which decoded take ``image_memory_mb`` at most (None: a quarter of the machine's).
    """

    index: tuple[IndexSettings, ...]
    look_s: float = 2.0
    listen: str = "127.0.0.1:9464"
    models: tuple[str, ...] = ()
    in_cluster: bool = False
    batch_size: int | None = None
    threads: int = 0
    workers: int = 0
    device: str = "auto"
    image_memory_mb: int | None = None

    @property
    def address(self) -> tuple[str, int] | None:
        """``listen`` as a host and a port; None for nowhere."""
        if not self.listen:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def read_settings(path: Path) -> SyncSettings:
    """The settings in a file. Raises `SettingsError`, which names the place, for what can't be understood."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise SettingsError(f"{path} is larger than {_MOST_BYTES:,} bytes", hint="name the settings of sync")
        values = tomllib.loads(data.decode("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(f"there is no file {path}", hint="write one from your indices", parameter="init") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} can't be read: {error}", hint="correct it") from error
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror or error}") from error
    return parse_settings(values, str(path))


def parse_settings(values: Mapping[str, Any], place: str) -> SyncSettings:
    """The settings in a parsed file, called ``place``. Raises as `read_settings` does."""
    entries = values.get("index")
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f"{place} names no index", hint='begin a part [[index]] with name = "..."')
    indices = tuple(
        IndexSettings(**_checked(IndexSettings, entry, f"{place}: index {i}")) for i, entry in enumerate(entries, 1)
    )
    rest = {name: value for name, value in values.items() if name != "index"}
    settings = SyncSettings(index=indices, **_checked(SyncSettings, rest, place))
    _check(settings, place)
    return settings


def _checked(kind: type[Any], values: Any, place: str) -> dict[str, Any]:
    """The values for a dataclass, with lists as tuples and whole numbers as floats where it wants those."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{place} isn't a table", hint="write [[index]] before its settings")
    known = {each.name: each for each in fields(kind) if each.name != "index"}
    hints = get_type_hints(kind)
    for name in values:
        if name in known:
            continue
        if name in _SECRETS:
            raise SettingsError(
                f"{place} has {name!r}, but where the cluster is and who asks isn't kept in this file",
                hint="set ELASTICSEARCH_URL and ELASTICSEARCH_API_KEY in the environment",
            )
        alike = difflib.get_close_matches(name, known)
        raise SettingsError(
            f"{place} has {name!r}, which isn't a setting",
            hint=f"did you mean {alike[0]}?" if alike else f"settings are {', '.join(known)}",
        )
    for name in [each.name for each in known.values() if _needed(each) and each.name not in values]:
        raise SettingsError(f"{place} lacks {name!r}")
    return {name: _value(hints[name], value, f"{place}: {name}") for name, value in values.items()}


def _needed(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _value(wanted: Any, value: Any, place: str) -> Any:
    kinds = get_args(wanted) if get_origin(wanted) is UnionType else (wanted,)
    (kind,) = [each for each in kinds if each is not NoneType]
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
            raise SettingsError(f"{place} must be a list of texts")
        return tuple(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        said = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise SettingsError(f"{place} must be {said}, not {value!r}")
    if kind in (int, float) and not 0 <= value < 1e15:
        raise SettingsError(f"{place} must be 0 or more, not {value!r}")
    return value


def _check(settings: SyncSettings, place: str) -> None:
    names = [each.name for each in settings.index]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SettingsError(f"{place} names {', '.join(map(repr, twice))} twice", hint="put its settings together")
    for each in settings.index:
        if not each.name or each.name.startswith(("_", "-", "+")) or set(each.name) & set(' ,"/\\?#<>|'):
            raise SettingsError(f"{place}: {each.name!r} can't be the name of an index", hint="name each by itself")
        if not 1 <= each.retry_first_s <= each.retry_most_s:
            raise SettingsError(f"{place}: retry_first_s of {each.name} must be from 1 to retry_most_s")
    if not 0.1 <= settings.look_s <= 3600:
        raise SettingsError(f"{place}: look_s must be from 0.1 to 3600 seconds, not {settings.look_s:g}")
    if settings.device not in DEVICES:
        raise SettingsError(f"{place}: device must be one of {', '.join(DEVICES)}, not {settings.device!r}")
    host, _, port = settings.listen.rpartition(":")
    if settings.listen and not (host and port.isdecimal() and int(port) < 1 << 16 and _is_host(host)):
        raise SettingsError(
            f"{place}: listen must be an address and a port, not {settings.listen!r}", hint="as in 127.0.0.1:9464"
        )


def _is_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Known:
    """What an index records of itself, for its settings; ``models`` are folders, ``lacking`` models that have none."""

    name: str
    fields: Sequence[str]
    roots: Sequence[str]
    pictures: bool
    models: Sequence[str] = ()
    lacking: Sequence[str] = field(default_factory=tuple)


def as_toml(known: Sequence[Known]) -> str:
    """The file for these indices, with what else could be set."""
    models = list(dict.fromkeys(folder for each in known for folder in each.models))
    lacking = list(dict.fromkeys(model for each in known for model in each.lacking))
    lines = [
        "# What `crosslens sync` follows. Where the cluster is, and the credentials, come from the environment:",
        "# ELASTICSEARCH_URL and ELASTICSEARCH_API_KEY. SIGHUP reads this file again.",
        "",
        "look_s = 2.0 # seconds between looks for changes",
        'listen = "127.0.0.1:9464" # /metrics and /healthz; "" for nowhere',
        *(f"# no folder is known here of {json.dumps(model)}; add it to models" for model in lacking),
        f"models = {_listed(models)}",
        "# in_cluster = true # let the server plugin encode",
        "# threads = 0 # of the encoder; 0: all cores",
    ]
    for each in known:
        lines += ["", "[[index]]", f"name = {_quoted(each.name)}", f"fields = {_listed(each.fields)}"]
        if each.pictures:
            if len(each.roots) == 1:
                lines.append(f"image_root = {_quoted(each.roots[0])}")
            else:
                lines.append('# image_root = "/srv/pictures" # else the folders that the index records')
            lines.append("pictures_per_minute = 60 # whose content is compared with what was encoded")
        lines += [
            "# documents_per_second = 500 # while the whole index is looked through",
            "retry_first_s = 30 # after a failure, then twice as late each time",
            "retry_most_s = 3600",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    # A JSON string without surrogate pairs is a basic string of TOML, but for DEL.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _listed(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"
