"""Every family of models gives in the cluster the vectors that it gives in Python, whatever is thrown at it."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from crosslens.demo.build import DATA
from crosslens.errors import ImageError
from crosslens.ingest.model.encoder import Encoder
from crosslens.node.installing import install_models
from tests.server.conftest import PICTURES, Plugged

pytestmark = [pytest.mark.node, pytest.mark.export]
FAMILIES = ("clip", "siglip", "siglip2", "chinese_clip", "align", "multilingual", "text")
# Quantised graphs, by the operators that ONNX Runtime fuses, beside the float32 ones.
ALL = (*FAMILIES, "int8")


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("transformers", reason="the extra 'export' is not installed")
    from crosslens.ingest.model.exporting import export
    from tests import checkpoints

    root = tmp_path_factory.mktemp("families")
    for name in FAMILIES:
        folder = root / f"{name}-checkpoint"
        if name == "text":
            prompts = {"query": "find ", "document": "here is "}
            checkpoint = str(checkpoints.sentence_encoder(folder, pooling="cls", dense="Tanh", prompts=prompts))
        else:
            checkpoint = str(getattr(checkpoints, name)(folder))
        image_tower = str(root / "clip-checkpoint") if name == "multilingual" else None
        export(checkpoint, root / name, image_tower=image_tower, precision="fp32")
    export(str(DATA / "checkpoint"), root / "int8", precision="int8")
    return root


def multilingual_texts(count: int = 3_000) -> list[str]:
    """Texts of words and symbols of all scripts, emoji sequences, combining marks, controls, and very long ones."""
    rng = random.Random(7)
    blocks = [
        [chr(c) for c in range(first, last) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
        for first, last in (
            (0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x400), (0x400, 0x500), (0x530, 0x590), (0x590, 0x600),
            (0x600, 0x700), (0x900, 0x980), (0xB80, 0xC00), (0xE00, 0xE80), (0x10A0, 0x1100), (0x1100, 0x1200),
            (0x1E00, 0x1F00), (0x2000, 0x2070), (0x2100, 0x2200), (0x3040, 0x3100), (0x4E00, 0x5200), (0xAC00, 0xAE00),
            (0xFB00, 0xFB50), (0xFE70, 0xFF00), (0xFF00, 0xFFF0), (0x1D400, 0x1D500), (0x1F300, 0x1F650),
            (0x20000, 0x20100),
        )
    ]  # fmt: skip
    special = [
        "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "é", "e\u0301", "\u200b", "\u202e", "\ufeff", "\x00", "\x07", "\r\n", "\t",
        "'s", "don't", "<|endoftext|>", "<|startoftext|>", "</s>", "[SEP]", "<pad>", "#", "@", "1234567", "ﬁ",
        "ß", "İ", "ſ",
    ]  # fmt: skip
    texts = []
    for i in range(count):
        words = []
        for _ in range(rng.choice((1, 2, 4, 8, 8, 120))):
            if rng.random() < 0.2:
                words.append(rng.choice(special))
            else:
                words.append("".join(rng.choices(rng.choice(blocks), k=rng.randint(1, 9))))
        texts.append(f"{i} " + rng.choice((" ", " ", "  ", "", ", ")).join(words))
    return texts


@pytest.mark.parametrize("family", ALL)
def test_texts_of_all_scripts_have_the_same_vectors(plugged: Plugged, families: Path, family: str) -> None:
    install_models([families / family], plugged.folder)
    expected = Encoder(families / family)
    texts = multilingual_texts()
    made: list[np.ndarray[Any, Any]] = []
    for i in range(0, len(texts), 500):
        body = {"model": family, "texts": texts[i : i + 500]}
        made += [np.array(each) for each in plugged.http.ok("POST", "_crosslens/encode", body)["vectors"]]
    cosines = (np.stack(made) * expected.encode_texts(texts)).sum(axis=1)
    wrong = [(float(c), t) for c, t in zip(cosines, texts, strict=True) if c < 0.9999]
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tokenizers_own_words_and_half_an_emoji_are_text(plugged: Plugged, families: Path, family: str) -> None:
    install_models([families / family], plugged.folder)
    expected = Encoder(families / family)
    for word in ("<|endoftext|>", "</s>", "[SEP]", "[PAD]", "<eos>", "<0x41>", "\ud83d", "\ude42", "\ufffe\uffff"):
        texts = [f"a cat {word} and a dog", f"a cat {word} and shoes", f"{word}a cat", f"a cat{word}"]
        made = plugged.http.ok("POST", "_crosslens/encode", {"model": family, "texts": texts})["vectors"]
        assert (np.array(made) * expected.encode_texts(texts)).sum(axis=1).min() >= 0.9999, word
        assert np.abs(np.array(made[0]) - np.array(made[1])).max() > 1e-4, f"{word} ends the text"


def made_elsewhere(folder: Path, kind: str) -> None:
    """Makes an export one of another tool: no manifest, and graphs as ``kind`` says."""
    import onnx

    from tests.ingest.test_foreign import TEXT, VISION, edited, gives_half, sized, takes

    (folder / "crosslens.json").unlink()
    settings = {"model_max_length": 77, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    if kind == "data":
        for name in (TEXT, VISION):
            model = onnx.load(str(folder / name))
            onnx.save(
                model,
                str(folder / name),
                save_as_external_data=True,
                location=f"{Path(name).name}_data",
                size_threshold=64,
            )
    elif kind == "types":
        edited(folder / TEXT, takes(onnx.TensorProto.INT32), gives_half)
        edited(folder / VISION, takes(onnx.TensorProto.FLOAT16), gives_half)
    elif kind == "sizes":
        edited(folder / TEXT, sized(d0=1, d1=20))
        edited(folder / VISION, sized(d0=3))
    elif kind == "processor":
        file = folder / "preprocessor_config.json"
        (folder / "processor_config.json").write_text(json.dumps({"image_processor": json.loads(file.read_text())}))
        file.unlink()
    elif kind == "left":
        (folder / "tokenizer_config.json").write_text(
            json.dumps({**settings, "padding_side": "left", "pad_token": None})
        )


@pytest.mark.parametrize("kind", ["plain", "data", "types", "sizes", "processor", "left"])
def test_folders_made_elsewhere_have_the_same_vectors_and_fingerprint(
    plugged: Plugged, families: Path, tmp_path: Path, kind: str
) -> None:
    name = f"elsewhere-{kind}"
    folder = Path(shutil.copytree(families / "clip", tmp_path / name))
    made_elsewhere(folder, kind)
    install_models([folder], plugged.folder)
    expected = Encoder(folder)
    found = [m for n in plugged.http.ok("GET", "_crosslens/models")["nodes"].values() for m in n["models"]]
    assert [m.get("fingerprint", m) for m in found if m["directory"] == name] == [expected.fingerprint]
    texts = ["a cat", "a cat and a dog in a very long description of a thing that goes on and on", "dog", "shoe"]
    data = [base64.b64encode(each.read_bytes()).decode() for each in sorted(PICTURES.glob("*.webp"))[:4]]
    made = plugged.http.ok("POST", "_crosslens/encode", {"model": name, "texts": texts})["vectors"]
    assert (np.array(made) * expected.encode_texts(texts)).sum(axis=1).min() >= 0.9999
    made = plugged.http.ok("POST", "_crosslens/encode", {"model": name, "images": data})["vectors"]
    pictures = [base64.b64decode(each) for each in data]
    assert (np.array(made) * expected.encode_images(pictures)).sum(axis=1).min() >= 0.9999
    shutil.rmtree(plugged.folder / "config/crosslens" / name, ignore_errors=True)


@pytest.mark.parametrize("family", ["clip", "siglip", "siglip2", "chinese_clip", "align", "int8"])
def test_pictures_have_the_same_vectors(plugged: Plugged, families: Path, family: str) -> None:
    install_models([families / family], plugged.folder)
    expected = Encoder(families / family)
    pictures = sorted(PICTURES.glob("*.webp"))[::40]
    data = [base64.b64encode(each.read_bytes()).decode() for each in pictures]
    made = plugged.http.ok("POST", "_crosslens/encode", {"model": family, "images": data})["vectors"]
    assert (np.array(made) * expected.encode_images(pictures)).sum(axis=1).min() >= 0.9999


def test_all_of_the_demos_pictures_have_the_same_vectors(plugged: Plugged, demo_encoder: Encoder) -> None:
    pictures = sorted(PICTURES.glob("*.webp"))
    assert len(pictures) > 1_400
    least = 1.0
    for i in range(0, len(pictures), 200):
        part = pictures[i : i + 200]
        data = [base64.b64encode(each.read_bytes()).decode() for each in part]
        made = plugged.http.ok("POST", "_crosslens/encode", {"model": "model", "images": data})["vectors"]
        least = min(least, float((np.array(made) * demo_encoder.encode_images(part)).sum(axis=1).min()))
    assert least >= 0.9999


def photograph(width: int, height: int) -> Image.Image:
    """A picture with a photograph's detail and noise."""
    rng = np.random.default_rng(1)
    base = rng.integers(0, 255, (height // 40 + 2, width // 40 + 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(base).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float64)
    return Image.fromarray((smooth + rng.normal(0, 12, (height, width, 3))).clip(0, 255).astype(np.uint8))


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def oriented(kind: str, orientation: int) -> Callable[[], bytes]:
    exif = Image.Exif()
    exif[0x112] = orientation
    return lambda: saved(SMALL, kind, exif=exif)


SMALL = photograph(300, 200)
_ALPHA = np.dstack([np.asarray(SMALL), np.random.default_rng(2).integers(0, 255, (200, 300), dtype=np.uint8)])
RGBA = Image.fromarray(_ALPHA)
GREY = SMALL.convert("L")
WIDE = Image.fromarray(np.asarray(GREY).astype(np.uint16) * 257)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS: dict[str, Callable[[], bytes]] = {
    "jpeg 1 MP": lambda: saved(photograph(1200, 900), "JPEG", quality=90),
    "jpeg 12 MP": lambda: saved(photograph(4000, 3000), "JPEG"),
    "jpeg progressive": lambda: saved(photograph(1200, 900), "JPEG", progressive=True),
    "jpeg 4:4:4": lambda: saved(SMALL, "JPEG", subsampling=0),
    "jpeg 4:2:0": lambda: saved(SMALL, "JPEG", subsampling=2),
    "jpeg grey": lambda: saved(GREY, "JPEG"),
    "jpeg cmyk": lambda: saved(SMALL.convert("CMYK"), "JPEG"),
    "jpeg with a profile": lambda: saved(SMALL, "JPEG", icc_profile=SRGB),
    "png": lambda: saved(SMALL, "PNG"),
    "png grey": lambda: saved(GREY, "PNG"),
    "png grey alpha": lambda: saved(RGBA.convert("LA"), "PNG"),
    "png palette": lambda: saved(SMALL.convert("P"), "PNG"),
    "png palette with a hole": lambda: saved(SMALL.convert("P"), "PNG", transparency=5),
    "png black and white": lambda: saved(SMALL.convert("1"), "PNG"),
    "png alpha": lambda: saved(RGBA, "PNG"),
    "png 16 bit": lambda: saved(WIDE, "PNG"),
    "gif": lambda: saved(SMALL, "GIF"),
    "gif animated": lambda: saved(SMALL, "GIF", save_all=True, append_images=[SMALL.rotate(90)]),
    "bmp": lambda: saved(SMALL, "BMP"),
    "bmp grey": lambda: saved(GREY, "BMP"),
    "tiff": lambda: saved(SMALL, "TIFF"),
    "tiff lzw alpha": lambda: saved(RGBA, "TIFF", compression="tiff_lzw"),
    "tiff jpeg": lambda: saved(SMALL, "TIFF", compression="jpeg"),
    "tiff cmyk": lambda: saved(SMALL.convert("CMYK"), "TIFF"),
    "tiff 16 bit": lambda: saved(WIDE, "TIFF"),
    "tiff float": lambda: saved(GREY.convert("F"), "TIFF"),
    "webp": lambda: saved(SMALL, "WEBP"),
    "webp lossless alpha": lambda: saved(RGBA, "WEBP", lossless=True),
    "webp animated": lambda: saved(SMALL, "WEBP", save_all=True, append_images=[SMALL.rotate(90)]),
    **{f"{kind} turned {n}": oriented(kind, n) for kind in ("JPEG", "PNG", "WEBP") for n in range(2, 9)},
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_has_the_pixels_that_python_has(plugged: Plugged, demo_encoder: Encoder, kind: str) -> None:
    data = FORMATS[kind]()
    body = {"model": "model", "images": [base64.b64encode(data).decode()]}
    made = np.array(plugged.http.ok("POST", "_crosslens/encode", body)["vectors"][0])
    assert made @ demo_encoder.encode_images([data])[0] >= 0.9995


def test_a_real_photograph_has_the_pixels_that_python_has(plugged: Plugged, families: Path) -> None:
    cbook = pytest.importorskip("matplotlib.cbook", reason="the extra 'evaluate' is not installed")
    with cbook.get_sample_data("grace_hopper.jpg") as handle:
        photo = Path(handle.name)
    install_models([families / "clip", DATA / "model"], plugged.folder)
    data = base64.b64encode(photo.read_bytes()).decode()
    for name, folder in (("model", DATA / "model"), ("clip", families / "clip")):
        made = plugged.http.ok("POST", "_crosslens/encode", {"model": name, "images": [data]})["vectors"][0]
        assert np.array(made) @ Encoder(folder).encode_images([photo])[0] >= 0.9999


@pytest.mark.parametrize("kind", ["jpeg 1 MP", "png", "gif", "bmp", "tiff lzw alpha", "webp", "webp lossless alpha"])
def test_a_truncated_file_is_refused_as_in_python(plugged: Plugged, demo_encoder: Encoder, kind: str) -> None:
    data = FORMATS[kind]()
    half = data[: len(data) // 2]
    with pytest.raises(ImageError):
        demo_encoder.encode_images([half])
    status, answer = plugged.http(
        "POST", "_crosslens/encode", {"model": "model", "images": [base64.b64encode(half).decode()]}
    )
    assert status == 400, answer


def test_a_damaged_model_is_listed_as_such_and_the_others_serve(plugged: Plugged) -> None:
    broken = plugged.folder / "config" / "crosslens" / "broken"
    shutil.copytree(DATA / "model", broken)
    try:
        graph = broken / "onnx" / "text_model.onnx"
        graph.write_bytes(graph.read_bytes()[:-1] + b"x")
        status, answer = plugged.http("POST", "_crosslens/encode", {"model": "broken", "texts": ["a"]})
        assert status == 500
        assert "has been changed since its export" in str(answer)
        (broken / "config.json").write_text("{")
        (node,) = plugged.http.ok("GET", "_crosslens/models")["nodes"].values()
        listed = {each["directory"]: each for each in node["models"]}
        assert "can't be read as a JSON object" in listed["broken"]["error"]
        plugged.http.ok("POST", "_crosslens/encode", {"model": "model", "texts": ["a"]})
    finally:
        shutil.rmtree(broken)
