"""Bad requests, made from /openapi.json: bodies, fields, headers, paths and queries for every route.

CANARY stands in whatever a case may hold; an answer that repeats it has echoed what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

CANARY = "zq7canary"
JSON = {"content-type": "application/json"}
Schema = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One request that must be refused, or at least must not hurt."""

    name: str
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    refused: bool = True  # by a 4xx
    deep: bool = False  # one of the many for a single field


NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "space": b"  \r\n\t ",
    "a brace": b"{",
    "a bracket": b"[",
    "two values": b"{}{}",
    "a comma too many": b'{"a":1,}',
    "single quotes": b"{'a':1}",
    "a comment": b'{"a":1} // ' + CANARY.encode(),
    "no quotes": b"{" + CANARY.encode() + b":1}",
    "NaN": b'{"n":NaN}',
    "Infinity": b'{"n":Infinity}',
    "-Infinity": b'{"n":-Infinity}',
    "1e400": b'{"n":1e400}',
    "-1e400": b'{"n":-1e400}',
    "a number of 4000 digits": b'{"n":' + b"9" * 4000 + b"}",
    "hex": b'{"n":0x10}',
    "a leading zero": b'{"n":007}',
    "a plus": b'{"n":+1}',
    "a lone surrogate": b'{"a":"\\ud800"}',
    "surrogates the wrong way round": b'{"a":"\\udc00\\ud800"}',
    "a lone surrogate in a key": b'{"\\udfff":1}',
    "bytes that are no UTF-8": b'{"a":"\xff\xfe"}',
    "an overlong slash": b'{"a":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-32": '{"a":1}'.encode("utf-32"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a NUL": b'{"a":"\x00"}',
    "a control character": b'{"a":"\x01' + CANARY.encode() + b'"}',
    "a bad escape": b'{"a":"\\x41"}',
    "deep arrays": b"[" * 100_000,
    "deep closed arrays": b"[" * 2_000 + b"]" * 2_000,
    "deep objects": b'{"a":' * 20_000,
    "an endless text": b'{"a":"' + b"x" * 200_000,
    "XML": b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>",
    "a form": b"user_id=" + CANARY.encode(),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xab\xae\x05\x00",
    "YAML": b"!!python/object/apply:os.system ['true']",
}
NO_OBJECT: dict[str, bytes] = {
    "null": b"null",
    "true": b"true",
    "a number": b"1",
    "a text": b'"' + CANARY.encode() + b'"',
    "an empty array": b"[]",
    "an array of objects": b'[{"item_id":"' + CANARY.encode() + b'"}]',
}
VALUES: dict[str, Any] = {
    "true": True,
    "minus one": -1,
    "a half": 0.5,
    "huge": 1e308,
    "2 to the 70": 2**70,
    "a text": CANARY,
    "a long text": CANARY * 200,
    "a NUL": CANARY + "\0",
    "a line": CANARY + "\r\nSet-Cookie: a=b",
    "turned round": "‮" + CANARY,
    "SQL": f"'; DROP TABLE events; -- {CANARY}",
    "a template": "{{7*7}}${7*7}%(x)s%n" + CANARY,
    "an array": [CANARY],
    "arrays": [[[[CANARY]]]],
    "an object": {CANARY: CANARY},
    "many": [CANARY] * 2_000,
    "mixed": [None, 1, CANARY, {}],
}
BAD_PATHS: dict[str, str] = {
    "a NUL": "%00",
    "a line": "%0d%0aX-Evil:%20" + CANARY,
    "no UTF-8": "%ff%fe",
    "a surrogate": "%ED%A0%80",
    "300 letters": CANARY + "x" * 300,
    "up": "..%2f..%2f..%2fetc%2fpasswd",
    "up twice escaped": "%252e%252e%252fkeys.json",
    "a half escape": "%",
    "no hex": "%zz",
    "space around": "%20" + CANARY + "%20",
    "a template": quote("{{7*7}}" + CANARY),
    "SQL": quote(f"' OR 1=1 -- {CANARY}"),
    "turned round": quote("‮" + CANARY),
}
BAD_QUERIES: dict[str, str] = {
    "no number": f"n={CANARY}",
    "NaN": "n=NaN",
    "Infinity": "n=Infinity",
    "1e400": "n=1e400",
    "5000 digits": "n=" + "9" * 5000,
    "below": "n=-1",
    "an unknown name": f"{CANARY}=1",
    "an array": "n[]=1",
    "no UTF-8": "n=%ff",
    "a NUL": "n=%00",
    "many": "&".join(f"{CANARY}{i}={i}" for i in range(500)),
}
BAD_TYPES: dict[str, dict[str, str]] = {
    "no type": {},
    "text": {"content-type": "text/plain"},
    "a form": {"content-type": "application/x-www-form-urlencoded"},
    "parts": {"content-type": "multipart/form-data; boundary=" + CANARY},
    "an unknown type": {"content-type": CANARY + "/" + CANARY},
    "packed": {**JSON, "content-encoding": "gzip"},
    "packed in an unknown way": {**JSON, "content-encoding": CANARY},
}
METHODS = ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "HEAD", "PROPFIND", "LOCK")
STRANGE_PATHS = (
    "/v1", "/v1/", "//v1/shop", "/v1//shop", "/V1/shop", "/v1/shop/", "/v1/shop;a=b", "/v1/shop%2f",
    "/v1/shop%00", "/v1/shop%0a", "/.git/config", "/.env", "/keys.json", "/static/../keys.json",
    "/static/%2e%2e/%2e%2e/app.py", "/static/..%5c..%5capp.py", "/static//etc/passwd", "/static/", "/docs",
    "/redoc", "/admin", "/server-status", "/debug/pprof", "/actuator/env", "/wp-login.php", "/" + CANARY,
    "/v1/" + CANARY, "/v1/models/%2e%2e:promote", "/v1/models:rollback", "/openapi.json/", "/metrics/x",
)  # fmt: skip


def cases(schema: Schema) -> list[Case]:
    """Every case for every route of an OpenAPI description."""
    found: list[Case] = []
    for path, methods in schema["paths"].items():
        for method, told in methods.items():
            found += _of(path, method.upper(), told, schema)
        found += [
            Case(f"{path}: {method}", method, _filled(path), refused=method != "OPTIONS")
            for method in METHODS
            if method.lower() not in methods
        ]
    return found + [Case(f"GET {path[:60]}", "GET", path) for path in STRANGE_PATHS]


def _of(path: str, method: str, told: Schema, schema: Schema) -> Iterator[Case]:
    label, filled = f"{method} {path}", _filled(path)
    if "{" in path:
        for name, bad in BAD_PATHS.items():
            bad_path = path[: path.index("{")] + bad + path.partition("}")[2]
            body, headers = (b"{", JSON) if "requestBody" in told else (b"", {})
            yield Case(f"{label}: a path with {name}", method, bad_path, body, headers, refused=False)
    if method == "GET" and any(one["in"] == "query" for one in told.get("parameters", ())):
        for name, query in BAD_QUERIES.items():
            yield Case(f"{label}: a query with {name}", method, f"{filled}?{query}", refused="{" not in path)
    if "requestBody" in told:
        yield from _bodies(label, method, filled, _shape(told, schema))


def _bodies(label: str, method: str, filled: str, shape: Schema) -> Iterator[Case]:
    for name, body in (NO_JSON | NO_OBJECT).items():
        yield Case(f"{label}: {name}", method, filled, body, JSON)
    for name, headers in BAD_TYPES.items():
        yield Case(f"{label}: {name}", method, filled, b"{}", headers)
    if shape.get("additionalProperties") is False:  # else what is unknown is an attribute, and is kept
        for key in shape["properties"]:
            for name, value in VALUES.items():
                sent = json.dumps({key: value, CANARY: 1}).encode()
                yield Case(f"{label}: {key} is {name}", method, filled, sent, JSON, deep=True)


def _shape(told: Schema, schema: Schema) -> Schema:
    """The first shape that a body may have."""
    given = told["requestBody"]["content"]["application/json"]["schema"]
    reference = given.get("oneOf", [given])[0].get("$ref", "").rpartition("/")[2]
    return dict(schema["components"]["schemas"].get(reference, {}))


def _filled(path: str) -> str:
    before, brace, rest = path.partition("{")
    return f"{before}nothing-{CANARY}{rest.partition('}')[2]}" if brace else path
