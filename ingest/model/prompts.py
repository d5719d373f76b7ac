"""What a text model wants in front of a text, as sentence-transformers' config_sentence_transformers.json says.

Some models were trained with a few words before each text, other ones for queries than for what is searched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crosslens.errors import ModelError
from crosslens.ingest.model.files import read_json

PROMPTS = "config_sentence_transformers.json"
Role = Literal["passage", "query"]
Pooling = Literal["mean", "cls", "last"]
# Names of the prompt for what is searched, the first one that a model has; the server plugin knows them as well.
_PASSAGE = ("document", "passage", "corpus")


@dataclass(frozen=True)
class Prompts:
    """What is put before a query, and before a passage of a document; CLIP's models want nothing."""

    query: str = ""
    passage: str = ""

    def before(self, text: str, role: Role) -> str:
        """Return ``text`` as the model reads it in its ``role``."""
        return (self.query if role == "query" else self.passage) + text

    def line(self) -> str:
        """Return both in one line, as the fingerprint of a folder without a manifest hashes them."""
        return f"{self.query}\0{self.passage}"

    def as_file(self) -> dict[str, Any]:
        """Return what `read_prompts` reads."""
        return {"prompts": {"query": self.query, "document": self.passage}, "default_prompt_name": None}


@dataclass(frozen=True)
class TextOptions:
    """What a checkpoint leaves open of its texts: how a transformer without modules.json pools its tokens (None: the
    mean), and the prompts before a query and a passage (None: those that config_sentence_transformers.json has)."""

    pooling: Pooling | None = None
    query_prompt: str | None = None
    passage_prompt: str | None = None

    def prompts(self, stated: Prompts) -> Prompts:
        """Return the prompts, given those that the checkpoint states."""
        query, passage = self.query_prompt, self.passage_prompt
        return Prompts(stated.query if query is None else query, stated.passage if passage is None else passage)


def read_prompts(folder: Path) -> Prompts:
    """Return the prompts of a checkpoint or model folder; none where it has no such file.

    A prompt that isn't given is the default one (``default_prompt_name``), if there is one. Raises `ModelError` for a
    file that says something else than sentence-transformers writes.
    """
    file = folder / PROMPTS
    if not file.exists():
        return Prompts()
    stated = read_json(file)
    prompts, default = stated.get("prompts") or {}, stated.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(each, str | None) for each in prompts.values()):
        raise ModelError(f"{file}: prompts must be texts by name, not {prompts!r}")
    if default is not None and default not in prompts:
        raise ModelError(f"{file}: the default prompt {default!r} isn't among {sorted(prompts)}")
    given = {name: text for name, text in prompts.items() if text is not None}
    usual = given.get(default or "", "")
    passage = next((given[name] for name in _PASSAGE if name in given), usual)
    return Prompts(given.get("query", usual), passage)
