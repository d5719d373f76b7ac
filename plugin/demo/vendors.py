"""Emoji drawings of several vendors, one concept one row, read from npm packages.

Every vendor draws the same Unicode characters, which makes them a small but honest cross-modal data set:
names and keywords (Unicode CLDR) are the texts, drawings by different hands are the images. The vendor that
the demo indexes (`HELD_OUT`) is never trained on.

Packages are fetched with the ordinary npm client (``npm pack NAME@VERSION``); SVG is rasterised by resvg.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

HELD_OUT = "fluent3d"
QUERY_VENDOR = "noto"
SIDE = 64
PACKAGES = {
    "emojibase": ("emojibase-data", "17.0.0"),
    "noto": ("emoji-datasource-google", "16.0.0"),
    "twemoji": ("emoji-datasource-twitter", "16.0.0"),
    "openmoji": ("openmoji", "17.0.0"),
    "emojione": ("@iconify-json/emojione", "1.2.3"),
    "fxemoji": ("@iconify-json/fxemoji", "1.2.2"),
    "noto-v1": ("@iconify-json/noto-v1", "1.2.5"),
    "fluent3d": ("@lobehub/fluent-emoji-3d", "1.1.0"),
}
TRAIN_VENDORS = ("noto", "twemoji", "openmoji", "emojione", "fxemoji", "noto-v1")
# Groups of emojibase: 2 is skin tones and hair, 9 is flags. The held-out set takes its flags from a
# training vendor, so they would leak the test set into the training set.
SKIPPED_GROUPS = {2, 9}
# Man/woman twins of gender-neutral emoji, couples and families spelled out, and right-facing copies.
TWINS = re.compile(r"200D-(2640|2642|27A1)|^1F46[89]-200D")
SHORTCODE_SETS = ("emojibase", "github", "iamcal", "joypixels", "cldr")


@dataclass(frozen=True)
class Concept:
    """One Unicode emoji: ``key`` (code points, lower case, without FE0F), its name, keywords and category."""

    key: str
    name: str
    keywords: tuple[str, ...]
    category: str
    names: tuple[str, ...]


def fetch_package(vendor: str, cache: Path) -> Path:
    """Unpack the vendor's npm package under ``cache`` and return its folder; later calls reuse it.

    Raises `RuntimeError` when npm is not installed or the registry does not serve the package.
    """
    name, version = PACKAGES[vendor]
    folder = cache / f"{vendor}-{version}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as tmp:
        try:
            done = subprocess.run(
                ["npm", "pack", "--silent", f"{name}@{version}"], cwd=tmp, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise RuntimeError("npm is needed to fetch the emoji packages: install Node.js") from error
        if done.returncode:
            raise RuntimeError(f"npm pack {name}@{version} failed: {done.stderr.strip()}")
        with tarfile.open(next(Path(tmp).glob("*.tgz"))) as archive:
            archive.extractall(Path(tmp) / "out", filter="data")
        (Path(tmp) / "out" / "package").rename(folder)
    return folder


def concepts(cache: Path) -> list[Concept]:
    """Return Unicode's emoji without flags, skin tones and `TWINS`."""
    folder = fetch_package("emojibase", cache) / "en"
    rows = json.loads((folder / "data.json").read_text())
    groups = {g["order"]: g["message"] for g in json.loads((folder / "messages.json").read_text())["groups"]}
    shortcodes = [json.loads((folder / "shortcodes" / f"{name}.json").read_text()) for name in SHORTCODE_SETS]
    found = []
    for row in rows:
        code = row["hexcode"]
        if row.get("group", 2) in SKIPPED_GROUPS or TWINS.search(code):
            continue
        aliases: list[str] = []
        for table in shortcodes:
            value = table.get(code, [])
            aliases += [value] if isinstance(value, str) else value
        found.append(
            Concept(
                key=_key(code),
                name=row["label"],
                keywords=tuple(row.get("tags", ())),
                category=groups[row["group"]],
                names=tuple(dict.fromkeys(a.replace("_", " ").replace("-", " ").strip() for a in aliases)),
            )
        )
    return found


def open_vendor(vendor: str, cache: Path) -> Callable[[Concept], Image.Image | None]:
    """Return a function from a concept to the vendor's drawing (RGBA, its own size), None where it has none."""
    folder = fetch_package(vendor, cache)
    if vendor == "openmoji":
        return _from_files(folder / "color" / "svg")
    if vendor == HELD_OUT:
        return _from_files(folder / "assets")
    if vendor in ("noto", "twemoji"):
        return _from_files(folder / "img" / {"noto": "google", "twemoji": "twitter"}[vendor] / "64")
    return _from_iconify(folder)


def _key(code: str) -> str:
    return "-".join(part for part in code.lower().split("-") if part != "fe0f")


def _from_files(folder: Path) -> Callable[[Concept], Image.Image | None]:
    paths = {_key(path.stem): path for path in folder.iterdir()}

    def read(concept: Concept) -> Image.Image | None:
        path = paths.get(concept.key)
        if path is None:
            return None
        if path.suffix == ".svg":
            return _rasterise(path.read_text())
        with Image.open(path) as image:
            return image.convert("RGBA")

    return read


def _from_iconify(folder: Path) -> Callable[[Concept], Image.Image | None]:
    icons = json.loads((folder / "icons.json").read_text())
    width, height = icons.get("width", 16), icons.get("height", 16)
    bodies = {_slug(name): icon for name, icon in icons["icons"].items()}
    for name, alias in icons.get("aliases", {}).items():
        if set(alias) == {"parent"} and alias["parent"] in icons["icons"]:
            bodies.setdefault(_slug(name), icons["icons"][alias["parent"]])

    def read(concept: Concept) -> Image.Image | None:
        for name in (concept.name, re.sub(r"\(.*\)", "", concept.name), *concept.names):
            icon = bodies.get(_slug(name))
            if icon:
                box = f"0 0 {icon.get('width', width)} {icon.get('height', height)}"
                return _rasterise(
                    f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                    f'viewBox="{box}">{icon["body"]}</svg>'
                )
        return None

    return read


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _rasterise(svg: str) -> Image.Image:
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE, skip_system_fonts=True))
    return Image.open(io.BytesIO(png)).convert("RGBA")
