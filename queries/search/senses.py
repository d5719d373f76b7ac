"""What a vector field holds, as far as it decides how queries for it are encoded, which source it is, and what it says.

Of sounds and footage that is a part of a file: its frames, its sound, its captions, or frames and sound together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crosslens.ingest.contract.mapping import flat_properties
from crosslens.ingest.contract.record import VectorField, read_record
from crosslens.queries.show.moments import Sense


def sense_of(each: VectorField) -> Sense:
    """Return what the field's vectors were made of."""
    if each.modality == "text" or each.modality == "image":
        return each.modality
    return each.part or "sound"


def reads_of(each: VectorField) -> frozenset[tuple[str, str]]:
    """Return what the field's vectors read: fields of the documents, each with how it is read.

    Frames, sound and captions of one file are different things to read, and both together are read as either.
    """
    sense = sense_of(each)
    senses = ("frames", "sound") if sense == "both" else (sense,)
    return frozenset((each_sense, source) for each_sense in senses for source in each.sources)


def spoken_in(mappings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return every text field of moments in use, with the field that refers to the file."""
    used = [each for mapping in mappings.values() for each in read_record(mapping).fields.values() if each.moments]
    return {f"{each.path}.text": each.sources[0] for each in reversed(used)}


def captions_of(mappings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Return the text fields that hold the words spoken in moments, each with the field that refers to the file.

    There is one for each file, that of captions' own vectors where there are some: other fields of the file hold the
    same words. An index that lacks it leaves it as it is.
    """
    by_source: dict[str, VectorField] = {}
    for mapping in mappings.values():
        properties = flat_properties(mapping)
        for each in read_record(mapping).fields.values():
            if not each.moments or f"{each.path}.text" not in properties:
                continue
            known = by_source.setdefault(each.sources[0], each)
            if sense_of(each) == "captions" and sense_of(known) != "captions":
                by_source[each.sources[0]] = each
    return {f"{each.path}.text": source for source, each in by_source.items()}


def other_captions(mappings: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return every text field of moments, of fields that aren't in use any more as well."""
    return {
        f"{each.path}.text" for mapping in mappings.values() for each in read_record(mapping).all_fields if each.moments
    }
