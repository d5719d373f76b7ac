"""Drawing an SVG of unknown origin: nothing outside the file is read, and size, time and memory are bounded.

A few lines of nested references can keep a renderer busy for years, so it runs in a process of its own, which is
killed when its time is up.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys

from crosslens.errors import ImageError

MEMORY = 256 << 20
_MOST_MEMORY = 1 << 30
_SECONDS = 15
_MOST_BYTES = 8 << 20
_SMALLEST, _LARGEST, _USUAL = 256, 2048, 1024
_LONGEST = 50
_UNITS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}


def checked(data: bytes) -> str:
    """Return the text of an SVG. Raises `ImageError` where it is too large, or refers to anything outside itself."""
    if len(data) > _MOST_BYTES:
        raise ImageError(f"an SVG of {len(data) >> 20} MB is more than the {_MOST_BYTES >> 20} MB allowed")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImageError(f"can't be decoded: the SVG is neither UTF-8 nor UTF-16 ({error.reason})") from error
    if re.search(r"<!ENTITY|<!DOCTYPE[^>\[]*\[", text, re.IGNORECASE):
        raise ImageError("an SVG that declares entities is not read")
    for found in re.finditer(r"\bhref\s*=\s*([\"'])(.*?)\1", text, re.DOTALL):
        element = text[text.rfind("<", 0, found.start()) + 1 : found.start()]
        # A link that a reader may follow loads nothing.
        if not re.match(r"([\w.-]+:)?a\s", element):
            _check(found[2])
    for found in re.finditer(r"url\s*\(\s*[\"']?(.*?)[\"']?\s*\)", text, re.IGNORECASE | re.DOTALL):
        _check(found[1])
    if re.search(r"@import|<\?xml-stylesheet", text, re.IGNORECASE):
        raise ImageError("an SVG that refers to a style sheet outside the file is not read")
    return text


def _check(reference: str) -> None:
    within = reference.strip().lower()
    if within.startswith("data:image/svg"):
        raise ImageError("an SVG with another SVG inside is not read")
    if within and not within.startswith(("#", "data:")):
        raise ImageError(f"an SVG that refers to something outside the file is not read ({reference.strip()[:60]!r})")


def size(text: str, target: int) -> tuple[int, int]:
    """Return the size to draw: twice ``target`` on the shorter side, or for 0 the file's own, both within bounds."""
    width, height = _own_size(text)
    long, short = max(width, height), min(width, height)
    if short <= 0 or long > _LONGEST * short:
        raise ImageError("an SVG of no height or width, or one much longer than wide, is not read")
    wanted = max(2 * target, _SMALLEST) / short if target else 1.0
    scale = min(max(wanted, _SMALLEST / long), _LARGEST / long)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _own_size(text: str) -> tuple[float, float]:
    root = re.search(r"<([\w.-]+:)?svg\b[^>]*>", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL))
    named = dict(re.findall(r"\s(width|height|viewBox)\s*=\s*[\"']([^\"']*)[\"']", root[0])) if root else {}
    box = [float(n) for n in re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", named.get("viewBox", ""), re.I)]
    shape = (box[2], box[3]) if len(box) == 4 else None
    width, height = (_length(named.get(name, "")) for name in ("width", "height"))
    if width is not None and height is not None:
        return width, height
    if shape is None:
        return width or float(_USUAL), height or float(_USUAL)
    if shape[0] > 0 and shape[1] > 0 and (width or height):
        return (width, width * shape[1] / shape[0]) if width else ((height or 0) * shape[0] / shape[1], height or 0)
    return shape


def _length(text: str) -> float | None:
    found = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*([a-z]*)\s*", text, re.IGNORECASE)
    return float(found[1]) * _UNITS[found[2].lower()] if found and found[2].lower() in _UNITS else None


def drawn(text: str, width: int, height: int) -> bytes:
    """Return the picture as PNG. Raises `ImageError` where it can't be drawn in time."""
    words = [sys.executable, "-m", __name__, str(width), str(height)]
    try:
        done = subprocess.run(words, input=text.encode(), capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"an SVG that takes more than {_SECONDS} s to draw is not read") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ImageError(
            f"can't be decoded: the SVG can't be drawn ({lines[-1] if lines else 'out of memory or time'})"
        )
    return done.stdout


def _draw(width: int, height: int) -> None:
    import tempfile

    import resvg_py

    with contextlib.suppress(ImportError, ValueError, OSError):
        # Windows has no such limits.
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    with tempfile.TemporaryDirectory() as empty:
        text = sys.stdin.buffer.read().decode()
        png = resvg_py.svg_to_bytes(svg_string=text, width=width, height=height, resources_dir=empty)
    sys.stdout.buffer.write(bytes(png))


if __name__ == "__main__":
    _draw(int(sys.argv[1]), int(sys.argv[2]))
