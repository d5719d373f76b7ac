"""crosslens export: a checkpoint becomes a model folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from crosslens.client import connect
from crosslens.commands.options import FOLDER, connection, connection_options
from crosslens.commands.saying import note, out, print_json
from crosslens.ingest.model.exporting import export as export_checkpoint
from crosslens.ingest.model.known import remember
from crosslens.ingest.model.prompts import Pooling, TextOptions
from crosslens.progress import waiting

if TYPE_CHECKING:
    from crosslens.ingest.model.calibration import Calibration
    from crosslens.ingest.model.exporting import ExportReport


@click.command()
@click.argument("checkpoint")
@click.argument("folder", metavar="OUT", type=FOLDER)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "fp16", "int8"]),
    default="auto",
    show_default=True,
    help="int8 quantises the matrix products; auto those that lose next to nothing, where that is faster on this "
    "machine, and otherwise writes fp32; fp16 halves the files and computes in single precision.",
)
@click.option(
    "--calibrate",
    metavar="FOLDER|INDEX",
    help="Measure what int8 loses by the pictures and texts (.txt) in a folder, or by an index's. Default: by built-in "
    "ones.",
)
@click.option("--image-root", type=FOLDER, help="Folder that the image paths of an index to calibrate by start in.")
@click.option("--keep-float32", is_flag=True, help="Keep the float32 graphs beside int8 ones, as the variant fp32.")
@click.option("--image-tower", metavar="CHECKPOINT", help="The CLIP that a multilingual text tower goes with.")
@click.option(
    "--pooling",
    type=click.Choice(get_args(Pooling)),
    help="How a text encoder without modules.json makes one vector of its tokens. Default: mean.",
)
@click.option("--dims", type=click.IntRange(min=1), help="Cut vectors that were trained to be cut to so many numbers.")
@click.option("--query-prompt", metavar="TEXT", help="What goes before each query. Default: as the checkpoint says.")
@click.option("--passage-prompt", metavar="TEXT", help="What goes before each text that is searched.")
@click.option("--revision", help="Branch, tag or commit on the hub.")
@click.option("--trust-remote-code", is_flag=True, help="Run Python code that the checkpoint brings along.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_options
def export(
    checkpoint: str,
    folder: Path,
    precision: str,
    calibrate: str | None,
    image_root: Path | None,
    keep_float32: bool,
    image_tower: str | None,
    pooling: Pooling | None,
    dims: int | None,
    query_prompt: str | None,
    passage_prompt: str | None,
    revision: str | None,
    trust_remote_code: bool,
    as_json: bool,
    **how: str | Path | None,
) -> None:
    """Export CHECKPOINT (a hub id or a folder) to ONNX in the new folder OUT: a CLIP, a CLAP, an
    EmbeddingGemma 2, a PE-AV, or a text model.

    Golden texts, pictures and sounds are compared with PyTorch. Where a vector differs, where weights or the tokenizer
    are missing, or where different inputs have one vector, nothing is written.

    Needs the extra "export". On Linux that brings PyTorch for GPUs, 3 GB that exporting has no use for. To do without,
    install PyTorch for CPUs first: pip install torch --index-url https://download.pytorch.org/whl/cpu; or all at once:
    uv pip install 'crosslens[export]' --torch-backend cpu.
    """
    with waiting(note, "exporting") as next_step:
        calibration = None if calibrate is None else _calibration(calibrate, image_root, how)
        report = export_checkpoint(
            checkpoint,
            folder,
            precision=precision,
            image_tower=image_tower,
            revision=revision,
            trust_remote_code=trust_remote_code,
            texts=TextOptions(pooling, query_prompt, passage_prompt),
            dims=dims,
            calibration=calibration,
            keep_float32=keep_float32,
            progress=next_step,
        )
    remember(folder, report.fingerprint)
    if keep_float32 and report.fp32_fingerprint:
        remember(folder, report.fp32_fingerprint)
    if as_json:
        print_json(asdict(report))
        return
    out.print(f"{report.name} -> {report.out} ({report.size / 1e6:.1f} MB, {report.precision})", highlight=False)
    out.print(f"dims {report.dims}, fingerprint {report.fingerprint}", highlight=False)
    for kind, least, mean in (
        ("texts", report.text_cosine_min, report.text_cosine_mean),
        ("images", report.image_cosine_min, report.image_cosine_mean),
        ("sounds", report.audio_cosine_min, report.audio_cosine_mean),
        ("clips", report.video_cosine_min, report.video_cosine_mean),
    ):
        if least is not None:
            out.print(f"cosine with PyTorch on golden {kind}: least {least:.6f}, mean {mean:.6f}", highlight=False)
    for line in _quantised(report):
        out.print(line, highlight=False)


def _calibration(named: str, image_root: Path | None, how: dict[str, str | Path | None]) -> Calibration:
    """The pictures and texts of the folder, or else the index, that is ``named``."""
    from crosslens.ingest.model.calibration import read_calibration
    from crosslens.ingest.run.sampling import sample_index

    if Path(named).expanduser().is_dir():
        return read_calibration(Path(named).expanduser())
    return sample_index(connect(connection(**how)), named, image_root=image_root)  # type: ignore[arg-type]


def _quantised(report: ExportReport) -> list[str]:
    """What was found about int8, a line for each encoder, and one for searches."""
    lines = []
    for each in report.choices:
        said = f"{each.kind} encoder: "
        if each.precision == "int8":
            kept = f", {len(each.kept)} of {each.layers} layers in float32" if each.kept else ""
            said += f"int8{kept}"
        else:
            said += f"float32, since {each.why}"
        if each.loss:
            said += (
                f"; int8's cosine to float32 {each.loss.cosine_mean:.5f} mean, {each.loss.cosine_min:.5f} least, "
                f"recall@10 {each.loss.recall:.3f}"
            )
        if each.int8_rates:
            pairs = zip((1, 16), each.int8_rates, each.fp32_rates, strict=True)
            said += "; a second here " + ", ".join(f"{a:.3g} by {n} (float32 {b:.3g})" for n, a, b in pairs)
        lines.append(said)
    if report.searches:
        lines.append(
            f"searches in int8, or in vectors of the float32 twin ({report.fp32_fingerprint}), find "
            f"{report.searches.recall:.3f} of what float32 finds among its first ten"
        )
    return [*lines, f"measured over {report.calibration}"] if lines else lines
