"""What a reader must know about the concepts of this run."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from auditkit.audits.explainability.concepts.activations import Reader
from auditkit.audits.explainability.concepts.columns import known_columns
from auditkit.audits.explainability.concepts.definition import ConceptDefinition
from auditkit.audits.explainability.concepts.figures import Found
from auditkit.audits.explainability.concepts.layers import Place
from auditkit.data.dataset import UNKNOWN, Dataset, GroupColumn
from auditkit.records import Message


def no_concept(data: Dataset, preprocessing: object) -> Message:
    """What to write, with a column and a level that the data have."""
    if data.features.tokens is not None:
        return Message(
            text="no concept is named. Under audits: concepts: write for example "
            "concepts: {praise: {tokens: [good, great]}}"
        )
    for name, column in known_columns(data, preprocessing).items():
        if isinstance(column, GroupColumn):
            counts = column.counts()
            level = max((key for key in counts if key != UNKNOWN), key=lambda key: counts[key], default=None)
            if level is not None:
                return Message(
                    text="no concept is named. Under audits: concepts: write for example "
                    "concepts: {{NAME: {{feature: {feature}, level: {level}}}}}",
                    values={"feature": name, "level": level},
                )
        elif len(column):
            return Message(
                text="no concept is named. Under audits: concepts: write for example "
                "concepts: {{NAME: {{feature: {feature}, above: {value}}}}}",
                values={"feature": name, "value": float(f"{sorted(column.tolist())[len(column) // 2]:.3g}")},
            )
    return Message(
        text="no concept is named. Under audits: concepts: write for example "
        "concepts: {NAME: {examples: PATH}}, a folder of pictures or a file of rows that show it"
    )


def notes_of(
    found: Found,
    readers: Sequence[Reader],
    definitions: Mapping[str, ConceptDefinition],
    probe: Tensor,
    *,
    log_odds: bool,
) -> list[Message]:
    """Where it was looked, in what way, and how the score is to be read there."""
    notes = [_where(reader.place) for reader in readers]
    notes.append(
        Message(text="Explained are the log-odds of the class against all others, on rows of that class.")
        if log_odds
        else Message(text="Explained is the logit of the class, on rows of that class.")
    )
    if any(reader.has_positions(probe) for reader in readers):
        notes.append(
            Message(text="Activations are averaged over the positions of a picture or text.")
            if readers[0].positions == "mean"
            else Message(text="Activations of all positions of a picture or text stand side by side.")
        )
    examined = [one for concept in found.concepts for one in concept.by_class.values()]
    if any(one.is_linear for one in examined):
        notes.append(
            Message(
                text="From this layer on the score is the same linear function for every row, so that the "
                "TCAV score of any direction is 0 or 1. What tells concepts from random ones is the effect."
            )
        )
    if any(definition.pattern for definition in definitions.values()):
        notes.append(
            Message(
                text="A painted concept is half paint, half picture: what is measured is whether the "
                "arrangement of the paint moves the score, on pictures unlike those of the data."
            )
        )
    if any(definition.is_folder for definition in definitions.values()):
        notes.append(
            Message(
                text="Pictures of a folder were made grey, cut in the middle to the shape of the rows and "
                "resampled to their size. All that sets them apart from the rows belongs to the concept, "
                "how they were taken and resampled included: a second folder of other pictures, taken in the "
                "same way, tells what that alone does."
            )
        )
    return notes


def _where(place: Place) -> Message:
    if place.side == "input":
        return Message(
            text="Concepts are looked for in what the last layer, {layer}, reads.",
            values={"layer": place.name},
        )
    return Message(text="Concepts are looked for in what layer {layer} gives.", values={"layer": place.name})
