"""Requests and answers of the HTTP interface, as OpenAPI shows them: one file a group of routes.

Requests are pydantic models in strict mode: a text is not a number, NaN is nothing, an unknown field is
a mistake. Answers are plain dataclasses, encoded by orjson without another check.
"""
