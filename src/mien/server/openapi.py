"""The OpenAPI document: the schema of results, made from `mien.output.schema`; bodies, errors and examples."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mien.output import schema
from mien.output.schema import Column, Field
from mien.results import AFFECT, LANDMARKS, POSE, Measures
from mien.server.bodies import IMAGES, VIDEO, EncodedImage, EncodedImages
from mien.server.guard import OPEN

Json = dict[str, Any]

_REF: Final = "#/components/schemas/"
_NUMBERS: Final = {"type": "array", "items": {"type": "number"}}
_POINT: Final = {**_NUMBERS, "minItems": 2, "maxItems": 2}
_PROBABILITIES: Final = {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}}
_PLAIN: Final = {"text": "string", "integer": "integer", "number": "number", "boolean": "boolean"}

# A reason for a null that the server does not have: it classifies every face.
_NEVER: Final = "detection only"

# The parts of a result that are lists and objects.
_DIMENSIONS: Final = {"type": "object", "properties": {name: {"type": "number"} for name in AFFECT}}
_NESTED: Final[Mapping[str, Json]] = {
    "faces": {"type": "array", "items": {"$ref": _REF + "Face"}},
    "box": {**_NUMBERS, "minItems": 4, "maxItems": 4},
    "landmarks": {"type": "object", "properties": dict.fromkeys(LANDMARKS, _POINT)},
    "pose": {"type": "object", "properties": {name: {"type": "number"} for name in POSE}},
    "measures": {
        "type": "object",
        "properties": {each.name: {"type": ["number", "null"]} for each in fields(Measures)},
    },
    "keypoints": {"type": "array", "items": _POINT},
    "emotions": _PROBABILITIES,
    "smoothed": _PROBABILITIES,
    "affect": _DIMENSIONS,
    "smoothed_affect": _DIMENSIONS,
}

_EXAMPLE_FACE: Final = {
    "box": [171.1, 72.9, 276.8, 206.5],
    "score": 0.93,
    "landmarks": None,
    "track": None,
    "keypoint_scheme": None,
    "keypoints": None,
    "pose": None,
    "measures": None,
    "smoothed": None,
    "smoothed_affect": None,
    "smoothed_uncertain": None,
    "emotion": "happiness",
    "confidence": 0.97,
    "uncertain": False,
    "emotions": {"happiness": 0.97, "neutral": 0.03},
    "affect": {"valence": 0.79, "arousal": 0.46, "positive": 0.79, "negative": 0.0},
}
_EXAMPLE: Final = {
    "results": [
        {
            "schema": schema.SCHEMA,
            "source": "photo.jpg",
            "frame": 0,
            "timestamp": None,
            "width": 512,
            "height": 512,
            "faces": [_EXAMPLE_FACE],
            "error": None,
            "note": None,
        }
    ]
}

_STATUS: Final = {
    400: "An option has an invalid value, or options contradict each other.",
    401: "The API key is missing or wrong.",
    403: "The request was sent by a web page, or to a host, that is not allowed.",
    404: "There is no such address or job.",
    405: "The address has no such method.",
    408: "The body did not arrive in time.",
    409: "The job is in another state.",
    413: "The request exceeds a limit: bytes, images, pixels or frames.",
    415: "The body has another type.",
    422: "The body, or the only image or video, cannot be read, or the query has another parameter or a wrong value.",
    429: "There were too many requests.",
    503: "The server is busy or shutting down; try again later.",
}


def _header(name: str, kind: str, text: str) -> Json:
    return {name: {"description": text, "schema": {"type": kind}}}


_RETRY_AFTER: Final = _header("Retry-After", "integer", "The seconds to wait before the request is sent again.")
_HEADERS: Final = {
    401: _header("WWW-Authenticate", "string", "Bearer."),
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
}


def document_of(app: FastAPI) -> Json:
    """The OpenAPI document of the application, made once."""
    if app.openapi_schema:
        return app.openapi_schema
    found = get_openapi(
        title=app.title,
        version=app.version,
        routes=app.routes,
        description="Facial expression recognition. Every error has the same form; see the schema `Error`.",
    )
    parts = found.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= {
        "Error": _error_schema(),
        "Face": _object_of(schema.FACE, schema.EXPRESSION),
        "FrameResult": _object_of(schema.FRAME, extra={"schema": {"type": "integer", "description": "The version."}}),
        "Results": {
            "type": "object",
            "required": ["results"],
            "properties": {"results": {"type": "array", "items": {"$ref": _REF + "FrameResult"}}},
            "example": _EXAMPLE,  # here, because FastAPI drops the nulls of examples elsewhere
        },
        "EncodedImage": EncodedImage.model_json_schema(),
        "EncodedImages": EncodedImages.model_json_schema(ref_template=_REF + "{model}"),
    }
    schemas["EncodedImages"].pop("$defs", None)
    parts["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    guarded = bool(app.state.guard.needs_key)
    for path, methods in found["paths"].items():
        for operation in methods.values():
            _complete(operation, guarded=guarded, is_open=path in OPEN)
    app.openapi_schema = found
    return found


def _complete(operation: Json, *, guarded: bool, is_open: bool) -> None:
    """Adds what every operation has: the statuses of the gate, their headers, and the form of FastAPI's own errors."""
    if guarded and not is_open:
        operation["security"] = [{"bearer": []}, {"header": []}]
    responses = operation["responses"]
    responses |= {str(status): each for status, each in errors_of(*((403,) if is_open else (401, 403, 429))).items()}
    if "422" in responses:
        responses["422"] = errors_of(422)[422]


def errors_of(*statuses: int) -> dict[int | str, Json]:
    """The responses of a route for errors."""
    content = {"application/json": {"schema": {"$ref": _REF + "Error"}}}
    found: dict[int | str, Json] = {}
    for status in statuses:
        found[status] = {"description": _STATUS[status], "content": content}
        if status in _HEADERS:
            found[status]["headers"] = _HEADERS[status]
    return found


def results_of(text: str) -> dict[int | str, Json]:
    """The response of a route that answers with results."""
    return {
        200: {
            "description": text,
            "content": {"application/json": {"schema": {"$ref": _REF + "Results"}}},
        }
    }


def images_body() -> Json:
    """The body of a request with images."""
    form = _form(IMAGES, {"type": "array", "minItems": 1, "items": _FILE})
    encoded = {
        "schema": {"$ref": _REF + "EncodedImages"},
        "example": {"images": [{"name": "photo.png", "data": _PIXEL}]},
    }
    content = {"multipart/form-data": form, "application/json": encoded, **_raw("image/*")}
    return {"requestBody": {"required": True, "content": content}}


def video_body() -> Json:
    """The body of a request with a video."""
    return {
        "requestBody": {"required": True, "content": {"multipart/form-data": _form(VIDEO, _FILE), **_raw("video/*")}}
    }


_FILE: Final = {"type": "string", "format": "binary"}

# An image of one pixel, for examples.
_PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def _raw(kind: str) -> Json:
    """The contents of a body that is the file itself."""
    return {each: {"schema": _FILE} for each in (kind, "application/octet-stream")}


def _form(field: str, value: Json) -> Json:
    return {"schema": {"type": "object", "required": [field], "properties": {field: value}}}


def _error_schema() -> Json:
    text = {"type": "string"}
    error = {
        "type": "object",
        "required": ["type", "status", "message", "hint"],
        "properties": {
            "type": {**text, "description": "The name of the error in `mien.errors`."},
            "status": {"type": "integer", "description": "The status of the response."},
            "message": {**text, "description": "What failed: what was found, and what was expected."},
            "hint": {**text, "description": "What to do next; empty if there is nothing to add."},
        },
    }
    example = {
        "error": {
            "type": "LimitError",
            "status": 413,
            "message": "the request has more than 64 images, the limit",
            "hint": "send several requests",
        }
    }
    return {"type": "object", "required": ["error"], "properties": {"error": error}, "example": example}


def _object_of(*groups: Sequence[Field], extra: Json | None = None) -> Json:
    """The schema of an object with the keys of some groups of fields, all of which it always has."""
    properties = dict(extra or {}) | {column.name: _property(column) for column in schema.keys(*groups)}
    return {"type": "object", "required": list(properties), "properties": properties}


def _property(column: Column) -> Json:
    found = dict(_NESTED.get(column.name) or {"type": _PLAIN[column.type]})
    text = f"{column.meaning} Unit: {column.unit}." if column.unit else column.meaning
    if empty := column.empty.removeprefix(_NEVER).removeprefix(", or "):
        found["type"] = [found["type"], "null"]
        text += f" Null: {empty}."
    return {**found, "description": text}
