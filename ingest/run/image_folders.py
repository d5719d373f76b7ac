"""The folder that image paths start in: given to the run, or remembered by the index from the last run that had one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crosslens.errors import MappingError
from crosslens.ingest.contract.record import VectorField, read_record
from crosslens.ingest.contract.references import is_path, sampled_references
from crosslens.ingest.sources.access import ImageAccess

if TYPE_CHECKING:
    from crosslens.ingest.run.run import Run


def image_access(run: Run, mappings: Mapping[str, Mapping[str, Any]]) -> dict[str, ImageAccess]:
    """How the run reads the images of each of its image fields, by name.

    Raises `MappingError` where they would be read from a folder that isn't there, and documents refer to them by path.
    """
    given = run.options.images
    remembered: dict[str, str] = {}
    for mapping in mappings.values():
        remembered = {**read_record(mapping).image_roots, **remembered}
    access: dict[str, ImageAccess] = {}
    for each in run.fields:
        if not each.refers:
            continue
        root = given.root if given.root is not None else remembered.get(each.field)
        if root is not None and not Path(root).expanduser().is_dir():
            _refuse_paths(run, each, str(root))
        access[each.field] = replace(given, root=root)
    return access


def _refuse_paths(run: Run, each: VectorField, root: str) -> None:
    references = sampled_references(run.client, run.index, each, run.options.selection.query)
    if not any(map(is_path, references)):
        return
    if run.options.images.root is None:
        raise MappingError(
            f"the images of {each.field!r} in {run.index!r} were last read from {root!r}, which isn't a folder on this "
            "machine",
            hint="name the folder that holds them here",
            parameter="image_root",
        )
    raise MappingError(
        f"there is no folder {root!r}, and documents of {run.index!r} refer to the images of {each.field!r} by path",
        hint="name the folder that holds them",
        parameter="image_root",
    )
