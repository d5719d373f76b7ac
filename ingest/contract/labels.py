"""Labels that documents can be given: their names, the words that stand for each, and how they are read from a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crosslens.errors import LabelError

MOST_LABELS = 10_000
MOST_CAPTIONS = 50_000
_MOST_TEXTS = 100
_LONGEST = 1_000
_DEEPEST = 32
_MOST_BYTES = 64 << 20
# Radford et al. (2021), Learning Transferable Visual Models From Natural Language Supervision, arXiv:2103.00020,
# section 3.1.4: "a photo of a {label}." suits models that learnt from whole captions. The bare name beside it is for
# those that learnt from names.
PICTURE_TEMPLATES = ("{}", "a photo of a {}.")
TEXT_TEMPLATES = ("{}",)
_NAME, _TEXTS, _CAPTION = ("label", "name"), ("texts", "phrasings"), ("caption", "text")


@dataclass(frozen=True)
class Label:
    """A label: ``texts`` are what to call it to the model (none: its ``name``), ``parent`` another label that every
    document gets as well that gets this one."""

    name: str
    texts: tuple[str, ...] = ()
    parent: str | None = None

    @property
    def phrasings(self) -> tuple[str, ...]:
        """What it is called: its texts, or else its name."""
        return self.texts or (self.name,)


def read_labels(path: Path) -> list[Label]:
    """The labels of a file: a name a line, or JSON Lines of ``{"label": ..., "texts": [...], "parent": ...}``.

    ``name`` may stand for ``label``, ``phrasings`` for ``texts``; only the first is needed. Raises `LabelError`, with
    the line's number, for a file that can't be understood, a label that is given twice, more than 10,000, or none.
    """
    labels: list[Label] = []
    seen: dict[str, int] = {}
    for number, line in _lines(path):
        place = f"{path}:{number}"
        label = _parsed(line, place) if line.startswith("{") else Label(line)
        _check(label, place)
        if label.name in seen:
            raise LabelError(f"{place} gives the label {label.name!r} again, which line {seen[label.name]} gave")
        if len(labels) == MOST_LABELS:
            raise LabelError(f"{place}: more than {MOST_LABELS} labels")
        seen[label.name] = number
        labels.append(label)
    if not labels:
        raise LabelError(f"{path} holds no label", hint="write one a line")
    ancestors(labels)
    return labels


def checked_labels(labels: Iterable[Label | str]) -> list[Label]:
    """Labels that a caller gives as such, a bare name standing for one. Raises `LabelError` as `read_labels` does."""
    made = [Label(each.strip()) if isinstance(each, str) else each for each in labels]
    for number, label in enumerate(made, 1):
        _check(label, f"label {number}")
    names = [label.name for label in made]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise LabelError(f"the label {twice[0]!r} is given twice")
    if not made or len(made) > MOST_LABELS:
        raise LabelError(f"{len(made)} labels were given; give 1 to {MOST_LABELS}")
    ancestors(made)
    return made


def read_captions(path: Path) -> list[str]:
    """The captions of a file, each once: one a line, or JSON Lines of ``{"caption": ...}`` (or ``"text"``).

    Raises `LabelError`, with the line's number, for what can't be understood, more than 50,000 captions, or none.
    """
    found: dict[str, None] = {}
    for number, line in _lines(path):
        place = f"{path}:{number}"
        text = line
        if line.startswith("{"):
            entry = _object(line, place)
            text = next((entry[key] for key in _CAPTION if isinstance(entry.get(key), str)), "").strip()
            if not text:
                raise LabelError(f"{place} has no caption", hint='write {"caption": "..."}')
        found[_encodable(text, place)] = None
        if len(found) > MOST_CAPTIONS:
            raise LabelError(f"{place}: more than {MOST_CAPTIONS} captions", hint="choose among them")
    if not found:
        raise LabelError(f"{path} holds no caption", hint="write one a line")
    return list(found)


def ancestors(labels: Sequence[Label]) -> dict[str, list[str]]:
    """By label the labels above it, nearest first; a parent need not be among ``labels``.

    Raises `LabelError` where labels are each other's parents, or lie more than 32 deep.
    """
    parents = {label.name: label.parent for label in labels}
    above: dict[str, list[str]] = {}
    for name in parents:
        chain: list[str] = []
        parent = parents[name]
        while parent is not None:
            if parent == name or parent in chain:
                raise LabelError(f"the label {name!r} is above itself: {' > '.join([name, *chain, parent])}")
            if len(chain) == _DEEPEST:
                raise LabelError(f"the label {name!r} lies more than {_DEEPEST} labels deep")
            chain.append(parent)
            parent = parents.get(parent)
        above[name] = chain
    return above


def check_templates(templates: Sequence[str]) -> tuple[str, ...]:
    """The templates, each once. Raises `LabelError` for one that has no place for the label, ``{}``, or for none."""
    for template in templates:
        if "{}" not in template:
            raise LabelError(f"the template {template!r} has no {{}}, where the label goes", parameter="template")
    if not templates:
        raise LabelError("name at least one template, such as {}", parameter="template")
    return tuple(dict.fromkeys(templates))


def prompted(label: Label, templates: Sequence[str]) -> list[str]:
    """Each of the label's phrasings in each template."""
    return [template.replace("{}", text) for text in label.phrasings for template in templates]


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that hold more than white space, stripped, with their numbers."""
    if path.stat().st_size > _MOST_BYTES:
        raise LabelError(f"{path} is larger than {_MOST_BYTES >> 20} MB")
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise LabelError(f"{path}:{number} is not UTF-8 text") from error
        if text:
            yield number, text


def _object(line: str, place: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{place} begins like a JSON object, but can't be read as one ({error})") from error
    return dict(entry)


def _parsed(line: str, place: str) -> Label:
    entry = _object(line, place)
    unknown = sorted(entry.keys() - {*_NAME, *_TEXTS, "parent"})
    if unknown:
        known = ", ".join((*_NAME, *_TEXTS, "parent"))
        raise LabelError(f"{place} has {', '.join(map(repr, unknown))}; a label has {known}")
    name, parent = _one_of(entry, _NAME), entry.get("parent")
    texts = _one_of(entry, _TEXTS) or []
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(name, str) or not isinstance(parent, str | None):
        raise LabelError(
            f"{place}: label and parent must be texts, and a label is needed", hint='write {"label": "cat"}'
        )
    if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip() for text in texts):
        raise LabelError(f"{place}: texts must be a list of texts that aren't empty")
    above = parent.strip() if parent is not None else None
    return Label(name.strip(), tuple(dict.fromkeys(text.strip() for text in texts)), above)


def _one_of(entry: Mapping[str, Any], keys: Sequence[str]) -> Any:
    return next((entry[key] for key in keys if key in entry), None)


def _check(label: Label, place: str) -> None:
    if len(label.texts) > _MOST_TEXTS:
        raise LabelError(f"{place}: {len(label.texts)} texts; a label may have {_MOST_TEXTS}")
    for text in (label.name, *label.texts, *(() if label.parent is None else (label.parent,))):
        _encodable(text, place)


def _encodable(text: str, place: str) -> str:
    if not text.strip():
        raise LabelError(f"{place} is an empty label")
    if len(text) > _LONGEST:
        raise LabelError(f"{place} is {len(text)} characters long; a label or caption may have {_LONGEST}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise LabelError(f"{place} holds half a character (a lone surrogate)") from error
    return text
