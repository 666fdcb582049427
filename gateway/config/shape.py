"""The shape of one section: its keys and their types, as ``model`` says. Pydantic checks; this says it in our words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from gateway.config.kinds import Reading
from gateway.config.mistake import Finding, KeyPath, one_of, shown

_PREFIXES: Final = ("Input should be ", "Value error, ")
_WORDS: Final = {
    "string_type": "a text in quotes",
    "path_type": "a file name in quotes",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a section",
    "model_type": "a section",
    "too_short": "at least one",
}


def take(kind: Any, value: object, path: KeyPath, reading: Reading) -> tuple[Any, list[Finding]]:  # noqa: ANN401 - a type of model.py
    """``value`` as ``kind``, or None and what is wrong with it.

    Types are taken at their word, as in JSON: "25" is no number and 1 is no boolean.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        return adapter.validate_json(json.dumps(value, default=str), strict=True, context=reading), []
    except ValidationError as error:
        # A list of wrong things is empty once they are taken out, which says nothing more
        details = [each for each in error.errors(include_url=False) if each["type"] != "too_short" or not each["input"]]
        return None, [_finding(kind, path, detail) for detail in details]
    except (RecursionError, ValueError):
        return None, [Finding(path, "a value too large or too deep to read", "values of ordinary size")]


def _finding(kind: object, path: KeyPath, error: ErrorDetails) -> Finding:
    inner = tuple(error["loc"])
    where = path + inner
    match error["type"]:
        case "extra_forbidden":
            names = _keys(kind, inner[:-1])
            return Finding(where, "an unknown key", one_of(names, str(inner[-1]), "a key of this section"))
        case "missing":
            return Finding(where, "nothing", "a value: this key is required")
        case _:
            allowed = _WORDS.get(error["type"], error["msg"])
            for prefix in _PREFIXES:
                allowed = allowed.removeprefix(prefix)
            return Finding(where, error.get("ctx", {}).get("found") or shown(error["input"], where), allowed)


def _keys(kind: object, path: KeyPath) -> set[str]:
    """The keys of the section at ``path`` inside ``kind``."""
    kinds = list(_unwrapped(kind))
    for part in path:
        inside: list[object] = []
        for each in kinds:
            if isinstance(each, type) and issubclass(each, BaseModel):
                field = each.model_fields.get(str(part))
                inside += _unwrapped(field.annotation) if field else ()
            else:
                inside += [kind for argument in get_args(each) for kind in _unwrapped(argument)]
        kinds = inside
    return {name for each in kinds if isinstance(each, type) and issubclass(each, BaseModel) for name in each.model_fields}


def _unwrapped(kind: object) -> Iterator[object]:
    """``kind`` without its annotations, and every member of a union."""
    if get_origin(kind) in (Union, UnionType):
        for argument in get_args(kind):
            yield from _unwrapped(argument)
    elif get_origin(kind) is Annotated:
        yield from _unwrapped(get_args(kind)[0])
    else:
        yield kind
