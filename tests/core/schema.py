"""A plain JSON Schema validator for the keywords that our schemas use; any other keyword is an error."""

_TYPES = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
}
_PLAIN = {
    "type": lambda value, kind: _TYPES[kind](value),
    "enum": lambda value, options: value in options,
    "const": lambda value, only: value == only,
    "minimum": lambda value, limit: not _TYPES["number"](value) or value >= limit,
    "maximum": lambda value, limit: not _TYPES["number"](value) or value <= limit,
    "exclusiveMinimum": lambda value, limit: not _TYPES["number"](value) or value > limit,
    "exclusiveMaximum": lambda value, limit: not _TYPES["number"](value) or value < limit,
}
_SILENT = {"title", "description", "default", "$defs", "$schema", "pattern"}


def is_valid(value, schema, root=None) -> bool:
    """Whether ``value`` is what ``schema`` describes."""
    if schema is True or schema is False:
        return schema
    root = root or schema
    return all(_keyword(name, expected, value, schema, root) for name, expected in schema.items())


def _keyword(name, expected, value, schema, root) -> bool:
    if name in _SILENT:
        return True
    if name == "$ref":
        return is_valid(value, root["$defs"][expected.removeprefix("#/$defs/")], root)
    if name == "anyOf":
        return any(is_valid(value, option, root) for option in expected)
    if name in _PLAIN:
        return _PLAIN[name](value, expected)
    if name == "items":
        return not isinstance(value, list) or all(is_valid(item, expected, root) for item in value)
    return not isinstance(value, dict) or _of_object(name, expected, value, schema, root)


def _of_object(name, expected, value, schema, root) -> bool:
    known = schema.get("properties", {})
    if name == "required":
        return set(expected) <= set(value)
    if name == "properties":
        return all(is_valid(value[key], part, root) for key, part in expected.items() if key in value)
    if name == "additionalProperties":
        return all(is_valid(item, expected, root) for key, item in value.items() if key not in known)
    raise AssertionError(f"the validator does not know the keyword {name!r}")
