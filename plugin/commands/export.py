"""crosslens export: a checkpoint becomes a model folder."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import get_args

import click

from crosslens.commands.options import FOLDER
from crosslens.commands.saying import note, out, print_json
from crosslens.errors import ExportError
from crosslens.ingest.model.known import remember
from crosslens.ingest.model.prompts import Pooling, TextOptions
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
@click.option(
    "--pooling",
    type=click.Choice(get_args(Pooling)),
    help="How a text encoder without modules.json makes one vector of its tokens. Default: mean.",
)
@click.option("--query-prompt", metavar="TEXT", help="What goes before each query. Default: as the checkpoint says.")
@click.option("--passage-prompt", metavar="TEXT", help="What goes before each text that is searched.")
@click.option("--revision", help="Branch, tag or commit on the hub.")
@click.option("--trust-remote-code", is_flag=True, help="Run Python code that the checkpoint brings along.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def export(
    checkpoint: str,
    folder: Path,
    precision: str,
    image_tower: str | None,
    pooling: Pooling | None,
    query_prompt: str | None,
    passage_prompt: str | None,
    revision: str | None,
    trust_remote_code: bool,
    as_json: bool,
) -> None:
    """Export CHECKPOINT (a hub id or a folder) to ONNX in the new folder OUT: a CLIP, or a text model.

    Golden texts and pictures are compared with PyTorch. Where a vector differs, where weights or the tokenizer are
    missing, or where different inputs have one vector, nothing is written.

    Needs the extra "export". On Linux that brings PyTorch for GPUs, 3 GB that exporting has no use for. To do without,
    install PyTorch for CPUs first: pip install torch --index-url https://download.pytorch.org/whl/cpu; or all at once:
    uv pip install 'crosslens[export]' --torch-backend cpu.
    """
    try:
        from crosslens.ingest.model.export import export as run
    except ImportError as error:
        raise ExportError(f"exporting needs the extra 'export' ({error}): pip install 'crosslens[export]'") from error

    with waiting(note, "exporting") as next_step:
        report = run(
            checkpoint,
            folder,
            precision=precision,
            image_tower=image_tower,
            revision=revision,
            trust_remote_code=trust_remote_code,
            texts=TextOptions(pooling, query_prompt, passage_prompt),
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
        if least is not None:
            out.print(f"cosine with PyTorch on golden {kind}: least {least:.6f}, mean {mean:.6f}", highlight=False)
