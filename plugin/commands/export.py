"""crosslens export: a checkpoint becomes a model folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from crosslens.commands.options import FOLDER
from crosslens.commands.saying import note, out, print_json
from crosslens.ingest.model.exporting import export as export_checkpoint
from crosslens.ingest.model.known import remember
from crosslens.progress import waiting


@click.command()
@click.argument("checkpoint")
@click.argument("folder", metavar="OUT", type=FOLDER)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="fp16 halves the files and computes in single precision; int8 quantises the weights.",
)
@click.option("--image-tower", metavar="CHECKPOINT", help="The CLIP that a multilingual text tower goes with.")
@click.option("--revision", help="Branch, tag or commit on the hub.")
@click.option("--trust-remote-code", is_flag=True, help="Run Python code that the checkpoint brings along.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def export(
    checkpoint: str,
    folder: Path,
    precision: str,
    image_tower: str | None,
    revision: str | None,
    trust_remote_code: bool,
    as_json: bool,
) -> None:
    """Export CHECKPOINT (a hub id or a folder) to ONNX in the new folder OUT.

    Golden texts and pictures are compared with PyTorch. Where a vector differs, where weights or the tokenizer are
    missing, or where different inputs have one vector, nothing is written.

    Needs the extra "export". On Linux that brings PyTorch for GPUs, 3 GB that exporting has no use for. To do without,
    install PyTorch for CPUs first: pip install torch --index-url https://download.pytorch.org/whl/cpu; or all at once:
    uv pip install 'crosslens[export]' --torch-backend cpu.
    """
    with waiting(note, "exporting") as next_step:
        report = export_checkpoint(
            checkpoint,
            folder,
            precision=precision,
            image_tower=image_tower,
            revision=revision,
            trust_remote_code=trust_remote_code,
            progress=next_step,
        )
    remember(folder, report.fingerprint)
    if as_json:
        print_json(asdict(report))
        return
    out.print(f"{report.name} -> {report.out} ({report.size / 1e6:.1f} MB, {report.precision})", highlight=False)
    out.print(f"dims {report.dims}, fingerprint {report.fingerprint}", highlight=False)
    for kind, least, mean in (
        ("texts", report.text_cosine_min, report.text_cosine_mean),
        ("images", report.image_cosine_min, report.image_cosine_mean),
    ):
        out.print(f"cosine with PyTorch on golden {kind}: least {least:.6f}, mean {mean:.6f}", highlight=False)
