"""Hold what --json prints to scripts/install/schema/agnesfs.schema.json.

    assert_valid("report", result.json())

Whoever reads our documents has to put up with keys that are new; a test has not: here a key that
the schema does not know is an error, so that neither can be changed without the other.
"""

import functools
import json
from pathlib import Path

import jsonschema

FILE = Path(__file__).resolve().parents[2] / "scripts/install/schema/agnesfs.schema.json"


def closed(value):
    if isinstance(value, list):
        return [closed(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: closed(item) for key, item in value.items()}
    if "properties" in value:
        value.setdefault("additionalProperties", False)
    return value


@functools.cache
def schema():
    return json.loads(FILE.read_text())


@functools.cache
def validator(name):
    whole = closed(schema()) | {"$ref": f"#/$defs/{name}"}
    return jsonschema.Draft202012Validator(whole)


def assert_valid(name, document):
    errors = [f"{error.json_path}: {error.message}"
              for error in validator(name).iter_errors(document)]
    assert not errors, f"{name}: {errors}\n{json.dumps(document, indent=1)}"
