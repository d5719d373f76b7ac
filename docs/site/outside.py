"""Brings what the site shows from outside its folder of pages: the demo's picture and the changelog."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent.parent
PICTURE = "plugin/demo/results.png"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them to the site's files."""
    files.append(File.generated(config, "results.png", abs_src_path=str(ROOT / PICTURE)))
    files.append(File.generated(config, "changelog.md", abs_src_path=str(ROOT / "CHANGELOG.md")))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Link to the picture where the site has it; as the page stands, it suits the repository."""
    return markdown.replace(f"../{PICTURE}", "results.png")
