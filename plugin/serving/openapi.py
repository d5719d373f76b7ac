"""The API's description, as OpenAPI 3.1 has it."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from crosslens.queries.fusion.normalizers import NORMALIZERS
from crosslens.serving.asked import DEFAULT_SHOWN, MOST_CHARACTERS, MOST_CHOSEN, MOST_LIKE, MOST_SHOWN
from crosslens.serving.given import MOST_BYTES

Schema = dict[str, Any]
_STRING, _NUMBER, _WHOLE, _BOOLEAN = ({"type": each} for each in ("string", "number", "integer", "boolean"))
_BY_FIELD: Schema = {"type": "object", "additionalProperties": _STRING, "maxProperties": MOST_CHOSEN}


def description() -> Schema:
    """Return the description of all endpoints."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "crosslens serve", "version": version("crosslens"), "license": {"name": "Apache-2.0"}},
        "paths": {
            "/api/v1/search": {"get": _operation("search", "A page of results.", "SearchResult", _search())},
            "/api/v1/pictures": {"post": _give()},
            "/api/v1/thumbs": {"post": _judge()},
            "/healthz": {"get": _operation("healthz", "Whether the process answers.", "Status")},
            "/readyz": {"get": _operation("readyz", "Whether searches can be made (503: not now).", "Status")},
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _search() -> list[Schema]:
    parameters: list[tuple[str, Schema, str]] = [
        ("in", _STRING, "The index; the first of those served where it isn't given."),
        ("q", {**_STRING, "maxLength": MOST_CHARACTERS}, "The text to look for."),
        ("picture", {**_list(_STRING), "maxItems": MOST_LIKE}, "Ids of given pictures to look for."),
        ("like", {**_list(_STRING), "maxItems": MOST_LIKE}, "Documents to find more of, as INDEX/ID."),
        ("less", {**_list(_STRING), "maxItems": MOST_LIKE}, "Documents to look away from, as INDEX/ID."),
        ("fusion", {**_STRING, "enum": list(NORMALIZERS)}, "The normalizer, if it isn't to be the index's own."),
        ("sort", {**_STRING, "pattern": ":(asc|desc)$"}, "FIELD:asc or FIELD:desc, in place of the score."),
        ("size", {**_WHOLE, "minimum": 1, "maximum": MOST_SHOWN, "default": DEFAULT_SHOWN}, "Hits on a page."),
        ("page", _STRING, "Where a page before this one ends. A page's `next` has it."),
    ]
    found = [{"name": name, "in": "query", "schema": schema, "description": said} for name, schema, said in parameters]
    by_field = {
        "f": "Values of keyword fields, as f.FIELD=VALUE; of one field any, of several fields all must be met.",
        "from": "The least value of a number or date, as from.FIELD=VALUE.",
        "to": "The greatest value of a number or date, as to.FIELD=VALUE.",
        "w": "A leg's weight, as w.LEG=NUMBER, if it isn't to be the index's own.",
    }
    return found + [
        # OpenAPI can't say "any name that begins so"; an object, form and exploded, comes nearest.
        {"name": name, "in": "query", "style": "form", "explode": True, "schema": _BY_FIELD, "description": said}
        for name, said in by_field.items()
    ]


def _give() -> Schema:
    operation = _operation("give", "Keep a picture to search by; what is kept is the decoded picture.", "Given")
    content = {"image/*": {"schema": {"type": "string", "format": "binary", "maxLength": MOST_BYTES}}}
    operation["responses"]["201"] = operation["responses"].pop("200")
    return {**operation, "requestBody": {"required": True, "content": content}}


def _judge() -> Schema:
    operation = _operation("judge", "Say that a document is a good or a bad answer to a search.", "Thumb")
    del operation["responses"]["200"]
    operation["responses"]["204"] = {"description": "It is written down."}
    content = {"application/json": {"schema": _ref("Thumb")}}
    return {**operation, "requestBody": {"required": True, "content": content}}


def _operation(id: str, said: str, answer: str, parameters: list[Schema] | None = None) -> Schema:
    return {
        "operationId": id,
        "summary": said,
        **({"parameters": parameters} if parameters else {}),
        "responses": {
            "200": {"description": said, "content": {"application/json": {"schema": _ref(answer)}}},
            "default": {
                "description": "What went wrong: 400 what was asked, 401 no token, 403 a page of another site, 404 it "
                "isn't there, 421 another name, 429 too many requests, 5xx the service or Elasticsearch.",
                "content": {"application/json": {"schema": _ref("Failure")}},
            },
        },
    }


def _schemas() -> Schema:
    nullable = {"type": ["string", "null"]}
    part = {
        "leg": _STRING,
        "raw": {"type": ["number", "null"]},
        "normalized": _NUMBER,
        "weighted": _NUMBER,
        "chance": {"type": ["number", "null"]},
        "covered": {"type": ["number", "null"]},
        "lacking": _BOOLEAN,
        "respelt": _BOOLEAN,
    }
    moment = {
        "kind": {"enum": ["audio", "video"]},
        "src": nullable,
        "said": _STRING,
        "text": nullable,
        "start_ms": _WHOLE,
        "end_ms": _WHOLE,
    }
    piece = {"text": _STRING, "matched": _BOOLEAN}
    hit = {
        "index": _STRING,
        "id": _STRING,
        "score": _NUMBER,
        "title": _STRING,
        "link": nullable,
        "picture": nullable,
        "parts": _list(_object(part)),
        "why": _list(_STRING),
        "matched": _list(_object({"leg": _STRING, "said": _STRING})),
        "moments": _list(_object(moment)),
        "highlight": _list(_object({"field": _STRING, "fragments": _list(_list(_object(piece)))})),
        "like": _STRING,
        "less": _STRING,
    }
    value = {"value": _STRING, "count": _WHOLE, "chosen": _BOOLEAN}
    limit = {"type": ["number", "string", "null"]}
    bounds = {
        "field": _STRING,
        "kind": {"enum": ["number", "date"]},
        "lowest": limit,
        "highest": limit,
        "from": _STRING,
        "to": _STRING,
    }
    result = {
        "url": _STRING,
        "next": nullable,
        "found": _WHOLE,
        "legs": _list(_STRING),
        "answered": {"type": ["boolean", "null"]},
        "normalizer": {"enum": list(NORMALIZERS)},
        "encode_ms": _NUMBER,
        "search_ms": _NUMBER,
        "hits": _list(_ref("Hit")),
        "facets": _list(_object({"field": _STRING, "values": _list(_object(value)), "others": _WHOLE})),
        "ranges": _list(_object(bounds)),
        "sortable": _list(_STRING),
    }
    return {
        "SearchResult": _object(result),
        "Hit": _object(hit),
        "Given": _object({"id": _STRING, "address": _STRING}),
        "Thumb": _object({"url": _STRING, "document": _STRING, "way": {"enum": ["up", "down"]}}),
        "Status": _object({"status": _STRING}),
        "Failure": _object({"error": _object({"message": _STRING, "hint": _STRING})}),
    }


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
