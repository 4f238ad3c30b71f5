"""What the installed audits are, for people and for scripts."""

from auditkit.errors import PluginError
from auditkit.registry import AUDITS


def audit_catalogue() -> list[dict[str, str]]:
    """Name, area, question and provider of every audit; a broken one says why instead."""
    entries = []
    for name in AUDITS.names():
        try:
            info = AUDITS.load(name).info
            area, question = info.area, info.question
        except PluginError as error:
            area, question = "broken", str(error)
        entries.append({"name": name, "area": area, "question": question, "from": AUDITS.distribution(name)})
    return entries


def audit_description(name: str) -> dict[str, object]:
    """Everything a user of one audit must know: question, needs, parameters, limits, sources.

    Raises:
        PluginError: There is no such audit, or it cannot be loaded.
    """
    audit = AUDITS.load(name)
    info = audit.info
    parameters = [
        f"{key} = {field.get_default(call_default_factory=True)!r}"
        + (f"  ({field.description})" if field.description else "")
        for key, field in audit.model_fields.items()
    ]
    return {
        "name": info.name,
        "version": info.version,
        "area": info.area,
        "from": AUDITS.distribution(name),
        "question": info.question,
        "needs": sorted(info.requires),
        "parameters": parameters,
        "limits": list(info.limits),
        "sources": list(info.sources),
    }
