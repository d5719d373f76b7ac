"""TIFF: Pillow decodes the kinds that it handles correctly; libtiff decompresses the rest, interpreted here."""

from __future__ import annotations

import io

from PIL import Image, TiffImagePlugin

from crosslens.errors import ImageError
from crosslens.ingest.sources.formats import orientation, tiff_tags
from crosslens.ingest.sources.formats.common import FLAT_BYTES, Pending, PictureRules
from crosslens.ingest.sources.formats.flat import finished
from crosslens.ingest.sources.formats.tiff_samples import Layout, Planes, assembled
from crosslens.ingest.sources.formats.tiff_strips import BYTEWISE
from crosslens.ingest.sources.formats.tiff_tags import Tags

_PHOTOMETRICS = {
    **{0: "white is zero", 1: "black is zero", 2: "RGB", 3: "palette", 4: "transparency mask", 5: "separated inks"},
    **{6: "YCbCr", 8: "CIELAB", 9: "ICC LAB", 10: "ITU LAB", 32803: "colour filter array", 34892: "linear raw"},
    **{32844: "LogL", 32845: "LogLuv"},
}
_READ = {0, 1, 2, 3, 5, 6, 8, 9}
_CCITT = {2, 3, 4}
_CCITT_OR_JPEG = _CCITT | {6, 7}
_MOST_SAMPLES = 64


def start(data: bytes, _target: int, rules: PictureRules) -> Pending:
    """Read the directory."""
    try:
        tags = tiff_tags.read_tags(data)
        layout = _layout(tags)
    except ImageError as error:
        raise ImageError(f"{rules.name}: {error.message}") from error
    xmp = tags.raw.get(tiff_tags.XMP)
    turn = tags.one(tiff_tags.ORIENTATION) or (orientation.of_xmp(xmp[2]) if xmp else None)
    pixels = layout.width * layout.height
    if _is_plain(layout):
        # Without unneeded tags, odd ones can't interfere, and Pillow doesn't rotate anything by itself.
        clean = tiff_tags.with_directory(data, tags, {tiff_tags.PHOTOMETRIC: (layout.photometric,)})
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(clean))

        def load() -> Image.Image:
            image.load()
            return finished(image, turn)

        return Pending(layout.width, layout.height, pixels * (4 + FLAT_BYTES) + 2 * len(data), load)
    if layout.compression not in BYTEWISE:
        raise ImageError(f"{rules.name}: a TIFF of {_words(layout)} under compression {layout.compression} is not read")
    try:
        planes = Planes(data, tags, layout)
    except ImageError as error:
        raise ImageError(f"{rules.name}: {error.message}") from error

    def assemble() -> Image.Image:
        try:
            return finished(assembled(planes, layout), turn)
        except ImageError as error:
            raise ImageError(f"{rules.name}: {error.message}") from error

    # The whole picture, if it is one strip, and once more while that is assembled.
    memory = layout.height * planes.row_bytes * 2 + pixels * 2 * FLAT_BYTES + len(data)
    return Pending(layout.width, layout.height, memory, assemble)


def _layout(tags: Tags) -> Layout:
    samples = tags.one(tiff_tags.SAMPLES, 1)
    if tags.one(tiff_tags.COMPRESSION, 1) == 6 and tiff_tags.SAMPLES not in tags.values:
        samples = 3
    bits = tags.all(tiff_tags.BITS, (1,))
    formats = set(tags.all(tiff_tags.SAMPLE_FORMAT, (1,))) or {1}
    width, height = tags.one(tiff_tags.WIDTH), tags.one(tiff_tags.HEIGHT)
    if width < 1 or height < 1:
        raise ImageError("can't be decoded: the TIFF's directory gives no size")
    if not 1 <= samples <= _MOST_SAMPLES:
        raise ImageError(f"a TIFF of {samples} samples a pixel is not read")
    if len(set(bits[:samples])) != 1 or not 1 <= bits[0] <= 64:
        raise ImageError(f"a TIFF whose samples have {', '.join(map(str, bits[:8]))} bits is not read")
    if len(formats) != 1 or not formats <= {1, 2, 3, 4}:
        raise ImageError("a TIFF of complex numbers, or of several sample formats, is not read")
    kinds = {1: "unsigned", 2: "signed", 3: "float", 4: "unsigned"}
    layout = Layout(
        width=width,
        height=height,
        bits=bits[0],
        kind=kinds[formats.pop()],  # type: ignore[arg-type]
        photometric=tags.one(tiff_tags.PHOTOMETRIC, _usual_photometric(tags, samples)),
        samples=samples,
        planar=tags.one(tiff_tags.PLANAR, 1) == 2 and samples > 1,
        compression=tags.one(tiff_tags.COMPRESSION, 1),
        predictor=tags.one(tiff_tags.PREDICTOR, 1),
        extra=tags.all(tiff_tags.EXTRA),
        colours=tags.all(tiff_tags.COLOURS),
        order=tags.order,
    )
    _check(layout, tags)
    return layout


def _usual_photometric(tags: Tags, samples: int) -> int:
    """Return what libtiff assumes where the file doesn't say: white is zero in a fax, black is zero, or RGB."""
    return 0 if tags.one(tiff_tags.COMPRESSION, 1) in _CCITT else 2 if samples >= 3 else 1


def _check(layout: Layout, tags: Tags) -> None:
    if layout.photometric not in _READ:
        raise ImageError(f"a TIFF of {_words(layout)} is not read")
    if layout.kind == "float" and layout.bits not in (16, 32, 64):
        raise ImageError(f"a TIFF of {layout.bits}-bit floats is not read")
    if layout.samples < layout.colour_samples:
        raise ImageError(f"a TIFF of {_words(layout)}, but with {layout.samples} samples a pixel, is not read")
    if layout.photometric == 5 and tags.one(tiff_tags.INK_SET, 1) != 1:
        raise ImageError("a TIFF of inks other than cyan, magenta, yellow and black is not read")
    if layout.photometric == 3 and (layout.bits > 16 or len(layout.colours) < 3 << layout.bits):
        raise ImageError("can't be decoded: the TIFF's palette is missing or too short")
    subsampled = tags.all(tiff_tags.SUBSAMPLING, (2, 2)) != (1, 1)
    if layout.photometric == 6 and subsampled and layout.samples == 3 and layout.compression not in _CCITT_OR_JPEG:
        raise ImageError("a TIFF of subsampled YCbCr is read only under JPEG compression")


def _is_plain(layout: Layout) -> bool:
    """Return whether Pillow decodes the picture correctly."""
    if layout.compression in _CCITT_OR_JPEG:
        return layout.bits in (1, 8) and layout.kind == "unsigned" and layout.photometric in (0, 1, 2, 5, 6)
    if layout.kind != "unsigned" or layout.planar:
        return False
    if layout.samples == 1:
        return layout.bits in (1, 2, 4, 8) and layout.photometric in (0, 1)
    return layout.bits == 8 and layout.photometric == 2 and layout.samples == 3


def _words(layout: Layout) -> str:
    photometric = _PHOTOMETRICS.get(layout.photometric, f"photometric interpretation {layout.photometric}")
    return f"{photometric} with {layout.bits}-bit {layout.kind} samples"
