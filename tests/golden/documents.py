"""Documents and what is taken of them: values, text, hash, and the state that is written."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import cache
from typing import Any

from crosslens.ingest.contract.documents import document_update, inputs, source_text, source_values, state_of
from crosslens.ingest.contract.encoders import Encoders
from crosslens.ingest.contract.record import VectorField
from crosslens.ingest.contract.targets import parse_target
from crosslens.ingest.model.encoder import Encoder
from crosslens.ingest.model.known import DEMO_MODEL
from crosslens.ingest.run.encoding import Pipeline, Task
from crosslens.ingest.run.reading import Document
from crosslens.ingest.run.sending import Guard
from crosslens.ingest.sources.access import ImageAccess
from tests.golden import PICTURES, Line

PATH = "v"
# The bytes of dot.gif.
_DOT = "R0lGODdhAQABAIEAAA/+PgAAAAAAAAAAACwAAAAAAQABAAAIBAABBAQAOw=="
_URI = f"data:image/gif;base64,{_DOT}"
_QUOTED = "data:image/gif," + "".join(f"%{byte:02x}" for byte in base64.b64decode(_DOT))


def texts(*sources: str, each: bool = False, template: str | None = None) -> Line:
    return {"modality": "text", "sources": list(sources), "template": template, "each": each}


def passages(source: str) -> Line:
    return texts(source, each=True) | {"passages": True}


def images(*sources: str, each: bool = False) -> Line:
    return {"modality": "image", "sources": list(sources), "template": None, "each": each}


def _texts() -> Iterator[tuple[str, Line, Line]]:
    title, both = texts("title"), texts("title", "brand")
    yield "a text", title, {"title": "Blue running shoe"}
    yield "space around it", title, {"title": " \t Blue\n shoe\u00a0"}
    yield "space that isn't ASCII", title, {"title": "\u2003\u3000\u0085\u001fa\u200bb\u2028"}
    yield "two fields", both, {"title": "Shoe", "brand": "Acme"}
    yield "full stops at the end", both, {"title": "Shoe...", "brand": "Acme Inc."}
    yield "nothing but full stops", both, {"title": "...", "brand": "Acme"}
    yield "only full stops", title, {"title": "..."}
    yield "one field is missing", both, {"brand": "Acme"}
    yield "blank values", both, {"title": " ", "brand": ["", "\u00a0", "Acme"]}
    yield "an array", title, {"title": ["red", " blue ", "green."]}
    yield "arrays in arrays", title, {"title": [["a", ["b"]], [], "c"]}
    yield "null among values", title, {"title": ["a", None, "b"]}
    yield "nested objects", texts("maker.name"), {"maker": {"name": "Acme"}}
    yield "a dotted key", texts("maker.name"), {"maker.name": "Acme"}
    yield "both ways at once", texts("a.b.c"), {"a": {"b.c": "1", "b": {"c": "2"}}, "a.b": {"c": "3"}, "a.b.c": "4"}
    yield "objects in arrays", texts("makers.name"), {"makers": [{"name": "A"}, {"other": 1}, {"name": ["B", "C"]}]}
    yield "an object where a text is looked for", title, {"title": {"en": "Shoe"}}
    yield "a text where an object is looked for", texts("title.en"), {"title": "Shoe"}
    yield "integers", title, {"title": [0, -7, 9007199254740993, 123456789012345678901234567890]}
    yield (
        "numbers with a fraction or exponent",
        title,
        {"title": [1.0, 0.1, 1e16, 1e15, 1e-5, 0.0001, -0.0, 5e-324, 1e23, 123456.789]},
    )
    yield "booleans", title, {"title": [True, False]}
    yield "no field", title, {"other": "Shoe"}
    yield "null", title, {"title": None}
    yield "an empty text", title, {"title": ""}
    yield "an empty array", both, {"title": [], "brand": [[]]}
    yield "characters of many scripts", title, {"title": "größe 靴 👩‍👩‍👧 e\u0301 \u202e\ufeff"}
    yield "half a surrogate pair", title, {"title": "a\ud800b\udc00"}
    yield "control characters", title, {"title": "a\u0000b\u0007c\u007f"}
    yield "a template", texts("title", "brand", template="{title} by {brand}"), {"title": "Shoe.", "brand": ["A", "B"]}
    yield (
        "a template without values",
        texts("title", "brand", template="{title} by {brand}"),
        {"title": " ", "brand": None},
    )
    each = texts("tags", each=True)
    yield "each value", each, {"tags": ["red", " blue ", "red"]}
    yield "each of one", each, {"tags": "red"}
    yield "each of none", each, {"tags": []}
    yield "each, which JSON escapes", each, {"tags": ['"\\/\b\f\n\r\t|', "\u0001\u001f|\u007f\u2028é😀"]}
    yield "each, with half a surrogate pair", each, {"tags": ["\udbff", "a"]}
    yield "each, of other kinds", each, {"tags": [1, True, 2.5, None, {"a": 1}, "x"]}
    body = passages("body")
    long = "The red hat. The blue shoe! Is there a green lamp? A yellow bird sings. "
    yield "passages", body, {"body": long * 4}
    yield "passages, with space around them", body, {"body": f" \n\u3000{long * 2}\u2003"}
    yield "passages beyond the basic plane", body, {"body": f"😀 𝔘𝔫𝔦. {long}👩\u200d👩. {long}"}
    yield "passages of several values", body, {"body": [long, " ", "", None, "Short.", 7, long * 2]}
    yield "passages, twice the same", body, {"body": ["The red hat.", "The red hat.", " The red hat. "]}
    yield "passages with half a surrogate pair", body, {"body": "a\ud800b. \udc00 C" * 9}
    yield "passages of no text", body, {"body": [" ", None]}
    yield "passages of a text of marks", body, {"body": "\u200b" * 9}


def _pictures() -> Iterator[tuple[str, Line, Line]]:
    photo, each = images("photo"), images("photos", each=True)
    yield "a picture's path", photo, {"photo": " dot.gif "}
    yield "the first of several", photo, {"photo": ["dot.gif", "noise.png"]}
    yield "no picture", photo, {"photo": ["", None]}
    yield "a data URI", photo, {"photo": _URI}
    yield "a data URI in capitals", photo, {"photo": _URI.replace("data:image/gif;base64", "DATA:;BASE64")}
    yield "a data URI with spaces", photo, {"photo": f"{_URI[:30]} \n{_URI[30:]}"}
    yield "a data URI without padding", photo, {"photo": _URI.rstrip("=")}
    yield "a data URI that isn't base64", photo, {"photo": _QUOTED}
    yield "a data URI that escapes its base64", photo, {"photo": _URI.replace("+", "%2B").replace("=", "%3d")}
    yield "a data URI of nothing", photo, {"photo": "data:,"}
    yield "a data URI without a comma", photo, {"photo": "data:image/gif"}
    yield "a data URI that isn't a picture", photo, {"photo": "data:,a%zzb%2"}
    yield "base64 that is none", photo, {"photo": "data:;base64,!"}
    yield "a picture that isn't there", photo, {"photo": "missing.png"}
    yield "each picture", each, {"photos": [{"url": "x"}, "dot.gif", _URI, "noise.png"]}
    yield "each picture in objects", images("p.url", each=True), {"p": [{"url": "dot.gif"}, {"url": "noise.png"}]}
    yield "each, one of them missing", each, {"photos": ["missing.png", "dot.gif"]}
    yield "each, one of them no picture", each, {"photos": ["data:,abc", "dot.gif"]}
    yield "each, all of them missing", each, {"photos": ["missing.png", "gone.png"]}
    yield "each of no pictures", each, {"photos": " "}


def field(definition: Line) -> VectorField:
    """The field of a line, of the demo's model."""
    made = encoder()
    options = {**definition, "sources": tuple(definition["sources"])}
    return VectorField(
        PATH, model=made.name, fingerprint=made.fingerprint, dims=made.dims, index_type="flat", **options
    )


@cache
def encoder() -> Encoder:
    return Encoder(DEMO_MODEL)


def written(definition: Line, document: Line) -> Line:
    """What a run writes into ``document``, as a partial document."""
    each = field(definition)
    reader = ImageAccess(root=PICTURES).reader()
    pipeline = Pipeline([each], Encoders([encoder()]), reader, lambda v: len(v), workers=1, fresh_s=0.0)
    work = [(Document("index", "1", None, Guard(0, 1), document), [Task(each)])]
    ((prepared,),) = pipeline.run(work)
    return document_update(prepared.states, prepared.vectors, document)


def taken(definition: Line, document: Line) -> Line:
    """What is taken of a document and what is written: ``vectors`` counts them, ``nested`` leaves them out of the
    objects that a field with ``each`` gets, and of an error, which each side words itself, only ``failed`` is kept."""
    each = field(definition)
    update = written(definition, document)
    # How much of a text is cut only Python says.
    state = {key: value for key, value in (state_of(update, PATH) or {}).items() if key != "cut"}
    stored: Any = update.get(PATH)
    nested = [{k: v for k, v in entry.items() if k != "vector"} for entry in stored or ()] if each.each else None
    return {
        "values": [source_values(document, source) for source in each.sources],
        "inputs": inputs(document, each),
        "failed": state.pop("error", None) is not None,
        "state": state,
        "vectors": len(nested) if nested is not None else int(stored is not None),
        "nested": nested,
    }


def cases() -> Iterator[tuple[str, Line, Line]]:
    """A name, the field's definition, and a document."""
    yield from _texts()
    yield from _pictures()


def recorded() -> list[Line]:
    return [
        {"case": case, "field": definition, "document": document, **taken(definition, document)}
        for case, definition, document in cases()
    ]


def templates() -> Iterator[tuple[str, str, Line]]:
    shoe = {"title": "Shoe", "brand": "Acme", "size": 42, "tags": ["red", "new"], "maker": {"name": "A."}}
    yield "one field", "{title}", shoe
    yield "two fields", "{title} by {brand}", shoe
    yield "a missing field", "{title} by {nobody}", shoe
    yield "all are missing", "{nobody} by {none}", shoe
    yield "all are blank", "a {title}", {"title": [" ", None, ""]}
    yield "an array", "{tags}: {title}", shoe
    yield "a number", "size {size}", shoe
    yield "numbers and booleans", "{n} {b}", {"n": [1.0, 1e16, -0.0, 7], "b": [True, False]}
    yield "a dotted name", "{maker.name} makes {title}", shoe
    yield "a field twice", "{title}{title}", shoe
    yield "braces", "{{title}} is {title}{{}}", shoe
    yield "space is collapsed", " {title}\n\t by \u00a0\u3000{brand} ", shoe
    yield "space in values", "{title}|", {"title": "a \n b"}
    yield "full stops stay", "{title}. {brand}.", {"title": "Shoe.", "brand": "Acme."}
    yield "a name with spaces", "{the title}", {"the title": "Shoe"}
    yield "no names' syntax but braces", "100% {title} $x \\n", shoe
    yield "scripts", "靴 {title} 👟", {"title": "größe"}
    yield "two halves of a character", "{a}{b}", {"a": "\ud83d", "b": "\ude00"}
    for template in ("{title", "title}", "{}", "{title!r}", "{title:>3}", "{a{b}}", "{title}}"):
        yield f"refused: {template}", template, shoe


def template_text(template: str, document: Line) -> Line:
    sources = list(parse_target(f"name={template}", "text").sources)
    return {"sources": sources, "text": source_text(document, sources, template)}


def recorded_templates() -> list[Line]:
    return [
        {"case": case, "template": template, "document": document}
        | ({"refused": True} if case.startswith("refused") else template_text(template, document))
        for case, template, document in templates()
    ]
