"""Writes the OpenAPI document for openapi-python-client, which takes the first constant of a union for its only one: unions of constants
become enumerations."""

import json
import sys


def rewritten(value):
    if isinstance(value, list):
        return [rewritten(one) for one in value]
    if not isinstance(value, dict):
        return value
    words = [one.get("const") if isinstance(one, dict) else None for one in value.get("oneOf", [])]
    if words and all(isinstance(word, str) for word in words):
        return {"type": "string", "enum": words, "description": value.get("description", "")}
    return {key: one if key == "example" else rewritten(one) for key, one in value.items()}


with open(sys.argv[1]) as document, open(sys.argv[2], "w") as written:
    json.dump(rewritten(json.load(document)), written)
