"""The format of a file by its first bytes: supported formats, and names for common files of other kinds."""

from __future__ import annotations

import re

# The supported formats, by Pillow's names. Its others (EPS runs Ghostscript, FPX, ...) are too risky.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_OTHERS = (
    (b"%PDF-", "a PDF document"),
    (
        b"version https://git-lfs.github.com/",
        "a Git LFS pointer, whose picture was never downloaded",
    ),
    (b"%!PS", "a PostScript document"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript document"),
    (b"8BPS", "a Photoshop document"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"DDS ", "a DirectDraw surface"),
    (b"\0\0\x01\0", "a Windows icon"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (b"OggS", "an Ogg recording"),
    (b"ID3", "an MP3 recording"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_LOOKED_AT = 4096


def format_of(data: bytes) -> str | None:
    """Return the format of ``data`` by its first bytes: one of `FORMATS`, "HEIF" or "SVG"; None for anything else."""
    for mark, name in _BEGINNINGS:
        if data.startswith(mark):
            return name
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    brands = _brands(data)
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    if brands & _HEIF_BRANDS:
        return "HEIF"
    return "SVG" if _is_svg(data) else None


def description(data: bytes) -> str:
    """Describe ``data`` in an unsupported format: "an HTML page", "a PDF document"."""
    for mark, name in _OTHERS:
        if data.startswith(mark):
            return name
    if data[4:8] == b"ftyp":
        return "a QuickTime video" if data[8:12] == b"qt  " else "an MP4 video"
    if data[:4] == b"RIFF":
        return {b"AVI ": "an AVI video", b"WAVE": "a WAV recording"}.get(data[8:12], "a RIFF file of another kind")
    if not data.strip(b"\0"):
        return "nothing but zero bytes"
    text = _text(data)
    if text is None:
        return f"a file that begins with {data[:8].hex(' ')}"
    begins = text.lstrip("\ufeff \t\r\n").lower()
    if re.match(r"<(!doctype html|html|head|body|script|meta|title)\b", begins) or "<html" in begins[:1024]:
        return f"an HTML page{_title(text)}, perhaps a login or an error page"
    if begins.startswith(("<?xml", "<")):
        return "an XML document"
    if re.match(r'[{\[]\s*(["{\[\]}]|-?\d|true|false|null)', begins):
        return "a JSON document"
    return f"text ({' '.join(text.split())[:40]!r})"


def cut_off(data: bytes, kind: str) -> bool:
    """Return whether a file of format ``kind`` lacks its end, like half a download; False where that is unknown."""
    match kind:
        case "PNG":
            return b"IEND" not in data[-64:] and b"IEND\xaeB`\x82" not in data
        case "JPEG":
            return b"\xff\xd9" not in data[-64:]
        case "GIF":
            return b";" not in data[-16:]
        case "WEBP":
            return int.from_bytes(data[4:8], "little") + 8 > len(data)
        case "BMP":
            return int.from_bytes(data[2:6], "little") > len(data)
    return False


def _brands(data: bytes) -> set[bytes]:
    """Return the brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    if data[4:8] != b"ftyp":
        return set()
    size = min(int.from_bytes(data[:4], "big"), 256, len(data))
    return {data[8:12]} | {data[at : at + 4] for at in range(16, size - 3, 4)}


def _is_svg(data: bytes) -> bool:
    begins = data[:_LOOKED_AT].lstrip(b"\xef\xbb\xbf \t\r\n")
    if begins.startswith((b"\xff\xfe<\0", b"\xfe\xff\0<")):
        begins = begins.replace(b"\0", b"")[2:]
    if not begins.startswith(b"<"):
        return False
    first = re.search(rb"<(?![?!])([A-Za-z][\w.:-]*)", re.sub(rb"<!--.*?(-->|\Z)", b"", begins, flags=re.DOTALL))
    return first is not None and first[1].split(b":")[-1].lower() == b"svg"


def _text(data: bytes) -> str | None:
    for cut in range(4):
        # The examined piece may end within a character.
        try:
            text = data[: _LOOKED_AT - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return text if all(c.isprintable() or c.isspace() or c == "\ufeff" for c in text) else None
    return None


def _title(text: str) -> str:
    found = re.search(r"<title[^>]*>(.*?)</title", text, re.IGNORECASE | re.DOTALL)
    title = " ".join(found[1].split())[:60] if found else ""
    return f" titled {title!r}" if title else ""
