"""The index contract: what an index's mapping says about its vectors.

Everything here is plain data in and plain data out; what a document says is in `crosslens.ingest.contract.documents`.

The mapping's ``_meta.crosslens`` names each vector field's sources, modality and model. A field's name is a pointer:
its entry's ``path`` says which mapped field holds the vectors at present, so that a change of model (see
`crosslens.ingest.run.migrate`) fills a second field and then switches the pointer. Under ``next`` stand fields being
filled for that, under ``previous`` those that a rollback would return to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from dataclasses import fields as dataclass_fields
from typing import Any, Literal

from crosslens.errors import MappingError
from crosslens.ingest.sources.decoding.shapes import Cutting

Modality = Literal["text", "image", "audio", "video"]
# What of a sound or video makes the vector of each moment: a picture, its sound, the captions' words, or, by a video
# encoder, pictures and sound together.
Part = Literal["frames", "sound", "captions", "both"]
PARTS: tuple[Part, ...] = ("frames", "sound", "captions", "both")

STATE = "crosslens"

META = "crosslens"

META_VERSION = 2
# Of records with a field of passages, or of sound or footage, which earlier releases can't read.
_WITH_PASSAGES = 3
_WITH_MOMENTS = 4

_SEARCH = "search"
_IMAGE_ROOTS = "image_roots"
_LABELS = "labels"
_STAGES = ("fields", "next", "previous")

_READABLE_VERSIONS = (1, 2, _WITH_PASSAGES, _WITH_MOMENTS)


@dataclass(frozen=True)
class VectorField:
    """A vector field as an index's mapping records it; ``path`` is the mapped field that holds it.

    With ``passages``, which come with ``each``, every passage of each value has a vector. Of sound and footage, whose
    ``each`` is always set, every moment of each file has one: made of its ``part``, and cut as ``cutting`` says.
    """

    field: str
    modality: Modality
    sources: tuple[str, ...]
    model: str
    fingerprint: str
    dims: int
    index_type: str
    path: str = ""
    template: str | None = None
    each: bool = False
    passages: bool = False
    part: Part | None = None
    cutting: Cutting | None = None

    def __post_init__(self) -> None:
        if not self.path:
            object.__setattr__(self, "path", self.field)

    @property
    def vector_path(self) -> str:
        """The ``dense_vector`` field: ``path`` itself, or the one in each of its nested objects."""
        return f"{self.path}.vector" if self.each else self.path

    @property
    def moments(self) -> bool:
        """Whether it is made of sound or footage, and has a vector for each moment."""
        return self.modality in ("audio", "video")

    @property
    def refers(self) -> bool:
        """Whether its sources refer to files: pictures, sounds or videos."""
        return self.modality != "text"

    @property
    def compared_as(self) -> Modality:
        """What its vectors show: those of a video's frames a picture, those of its sound a sound, of captions text."""
        shown: dict[Part | None, Modality] = {"frames": "image", "sound": "audio", "captions": "text", "both": "video"}
        return shown.get(self.part, self.modality)

    @property
    def made_from(self) -> str:
        """The sources in a person's words."""
        how = "passages" if self.passages else "each" if self.each else ""
        if self.moments:
            how = f"{self.part}, {_cut_as(self.cutting)}"
        return f"{self.modality}: {self.template or ', '.join(self.sources)}" + (f" ({how})" if how else "")

    @property
    def _making(self) -> tuple[Any, ...]:
        return self.modality, self.sources, self.template, self.each, self.passages, self.part, self.cutting


def _cut_as(cutting: Cutting | None) -> str:
    cutting = cutting or Cutting()
    how = "each shot" if cutting.shots else f"each {cutting.step_s:g} s"
    return how if cutting.most == Cutting().most else f"{how}, at most {cutting.most}"


@dataclass(frozen=True)
class LabelEntry:
    """A field that labels are written to: the vector ``field`` they are given by, its ``kind`` (keyword, boolean or
    caption; see `crosslens.ingest.contract.label_set`), and the label set's ``fingerprint`` and number of labels.

    ``model`` is the fingerprint of the vectors that they were made for; empty where no pipeline may give them."""

    field: str
    kind: str
    fingerprint: str
    count: int
    false_alarms: float
    model: str = ""


_KEYS = {each.name for each in dataclass_fields(VectorField)} - {"field"}
_NEEDED = _KEYS - {"path", "template", "each", "passages", "part", "cutting"}
_CUTTING = {each.name for each in dataclass_fields(Cutting)}


@dataclass(frozen=True)
class Record:
    """All that an index's ``_meta.crosslens`` holds, by field name; ``switched`` is when a pointer was last switched.

    ``search`` is how the index's owner chose to fuse: ``weights`` by leg and a ``normalizer``, as `crosslens tune`
    records them. ``image_roots`` are the folders that image paths were last read from, by field, as they were given.
    ``labels`` are the fields that labels are written to.
    """

    fields: dict[str, VectorField] = field(default_factory=dict)
    next: dict[str, VectorField] = field(default_factory=dict)
    previous: dict[str, VectorField] = field(default_factory=dict)
    switched: str | None = None
    search: dict[str, Any] = field(default_factory=dict)
    image_roots: dict[str, str] = field(default_factory=dict)
    labels: dict[str, LabelEntry] = field(default_factory=dict)

    def with_fields(self, fields: Iterable[VectorField]) -> Record:
        """The same, with ``fields`` added or replaced."""
        return replace(self, fields={**self.fields, **{each.field: each for each in fields}})

    def with_image_roots(self, roots: Mapping[str, str]) -> Record:
        """The same, with the folders that images were read from, by field."""
        return replace(self, image_roots={**self.image_roots, **roots})

    @property
    def all_fields(self) -> list[VectorField]:
        """Every entry, in use or not."""
        return [*self.fields.values(), *self.next.values(), *self.previous.values()]


def with_labels(record: Record, into: str, entry: LabelEntry | None) -> Record:
    """The record with an entry of labels for the field ``into`` (None: without)."""
    others = {name: each for name, each in record.labels.items() if name != into}
    return replace(record, labels=others if entry is None else {**others, into: entry})


def read_record(mapping: Mapping[str, Any]) -> Record:
    """What one index's mapping (its ``mappings`` object) records.

    Raises `MappingError` when the record was written by a newer crosslens, or can't be understood.
    """
    meta = (mapping.get("_meta") or {}).get(META) or {}
    if not isinstance(meta, dict):
        raise MappingError(f"the index's _meta.{META} is not an object, so it isn't crosslens's", hint="rename it")
    if meta and meta.get("version") not in _READABLE_VERSIONS:
        raise MappingError(
            f"the index's _meta.{META} is of version {meta.get('version')}, this crosslens reads {_WITH_MOMENTS}",
            hint="upgrade crosslens",
        )
    fields, following, previous = (
        {name: _read_entry(part, name, entry) for name, entry in (meta.get(part) or {}).items()} for part in _STAGES
    )
    # Releases before 0.4 wrote "normaliser".
    search = {
        "normalizer" if name == "normaliser" else name: value for name, value in (meta.get(_SEARCH) or {}).items()
    }
    labels = {into: _read_labels(into, entry) for into, entry in (meta.get(_LABELS) or {}).items()}
    roots = dict(meta.get(_IMAGE_ROOTS) or {})
    return Record(fields, following, previous, meta.get("switched"), search, roots, labels)


def _read_labels(into: str, entry: Any) -> LabelEntry:
    """A field's entry of labels; keys that aren't known are ignored."""
    known = [each.name for each in dataclass_fields(LabelEntry)]
    needed = [name for name in known if name != "model"]
    if not isinstance(entry, dict) or any(name not in entry for name in needed):
        place = f"the entry {into!r} of the index's _meta.{META}.{_LABELS}"
        raise MappingError(f"{place} lacks one of {', '.join(needed)}", hint="correct the mapping's _meta")
    return LabelEntry(**{name: entry[name] for name in known if name in entry})


def _read_entry(part: str, name: str, entry: Any) -> VectorField:
    """A field's entry. One with a key that isn't known is refused: ignoring it might mean other vectors."""
    place = f"the entry {name!r} of the index's _meta.{META}.{part}"
    if not isinstance(entry, dict):
        raise MappingError(f"{place} is not an object", hint="correct the mapping's _meta")
    unknown, lacking = sorted(entry.keys() - _KEYS), sorted(_NEEDED - entry.keys())
    if unknown:
        raise MappingError(
            f"{place} has {', '.join(map(repr, unknown))}, which this crosslens doesn't know", hint="upgrade crosslens"
        )
    if lacking:
        raise MappingError(f"{place} lacks {', '.join(map(repr, lacking))}", hint="correct the mapping's _meta")
    if not isinstance(entry["sources"], list | tuple):
        raise MappingError(f"the sources in {place} are not a list", hint="correct the mapping's _meta")
    if entry["modality"] in ("audio", "video"):
        entry = {**entry, "cutting": _read_moments(place, entry)}
    return VectorField(field=name, **{**entry, "sources": tuple(entry["sources"])})


def _read_moments(place: str, entry: Mapping[str, Any]) -> Cutting:
    """How the moments of sound or footage are cut. Raises `MappingError` for an entry that doesn't say it."""
    cutting = entry.get("cutting")
    if entry.get("part") not in PARTS or not isinstance(cutting, dict) or not cutting.keys() <= _CUTTING:
        said = f"part: {entry.get('part')!r}, cutting: {cutting!r}"
        raise MappingError(
            f"{place} says what its moments are made of otherwise than known ({said})", hint="upgrade crosslens"
        )
    return Cutting(**cutting)


def vector_fields(mapping: Mapping[str, Any]) -> dict[str, VectorField]:
    """The vector fields in use that one index's mapping records, by name. Raises as `read_record` does."""
    return read_record(mapping).fields


def own_paths(mapping: Mapping[str, Any]) -> list[str]:
    """Every path of a document that is crosslens's: vectors and states, old ones included."""
    return [STATE, *dict.fromkeys(each.path for each in read_record(mapping).all_fields)]


def meta_update(mapping: Mapping[str, Any], record: Record) -> dict[str, Any]:
    """The ``_meta`` that says ``record``, keeping what else the index's ``_meta`` holds."""
    meta = dict(mapping.get("_meta") or {})
    known = (*_STAGES, "switched", _SEARCH, _IMAGE_ROOTS, _LABELS)
    body = {k: v for k, v in (meta.get(META) or {}).items() if k not in known}
    body["version"] = max((_version(each) for each in record.all_fields), default=META_VERSION)
    for part in _STAGES:
        entries = {name: _entry(each) for name, each in getattr(record, part).items()}
        if entries or part == "fields":
            body[part] = entries
    if record.switched:
        body["switched"] = record.switched
    if record.search:
        body[_SEARCH] = record.search
    if record.image_roots:
        body[_IMAGE_ROOTS] = record.image_roots
    if record.labels:
        body[_LABELS] = {into: asdict(entry) for into, entry in record.labels.items()}
    meta[META] = body
    return meta


def _entry(each: VectorField) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "path": each.path,
        "modality": each.modality,
        "sources": list(each.sources),
        "model": each.model,
        "fingerprint": each.fingerprint,
        "dims": each.dims,
        "index_type": each.index_type,
    }
    if each.template is not None:
        entry["template"] = each.template
    if each.each:
        entry["each"] = True
    if each.passages:
        entry["passages"] = True
    if each.part is not None:
        entry["part"] = each.part
    if each.cutting is not None:
        entry["cutting"] = asdict(each.cutting)
    return entry


def _version(each: VectorField) -> int:
    """The first version whose readers understand the field."""
    return _WITH_MOMENTS if each.moments else _WITH_PASSAGES if each.passages else META_VERSION
