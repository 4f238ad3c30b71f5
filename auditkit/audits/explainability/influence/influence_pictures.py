"""Rows that are pictures, shown as pictures."""

import numpy as np

from auditkit.audits.explainability.attribution_evidence import DECIMALS, grey_values
from auditkit.audits.explainability.example_rows import ExampleRow
from auditkit.audits.explainability.influence.told_rows import (
    Findings,
    Told,
    Values,
    caption,
    lead,
    suspects_lead,
)
from auditkit.data.dataset import FloatArray
from auditkit.records import Message, Panel, Picture


def example_picture(findings: Findings, example: ExampleRow, preprocessing: object, *, most: int) -> Picture:
    """The explained picture, then those that argued most for its prediction and against it."""
    for_it, against = findings.strongest(example, most)
    explained, training = findings.explained, findings.training
    own = Message(
        text="explained: predicted {predicted}, true is {true}", values=explained.outcome(example.row)
    )
    return Picture(
        title=lead(findings, example, for_it),
        caption=caption(findings, example),
        panels=(
            _panel(own, explained, example.row, preprocessing),
            *(_panel(_role(training, row, True), training, row, preprocessing) for row in for_it.tolist()),
            *(_panel(_role(training, row, False), training, row, preprocessing) for row in against.tolist()),
        ),
        scale=Message(text="the strongest first"),
    )


def _role(training: Told, row: int, argued_for: bool) -> Message:
    values: Values = {"row": row + 1, "label": training.label(row)}
    if argued_for:
        return Message(text="for: row {row}, label {label}", values=values)
    return Message(text="against: row {row}, label {label}", values=values)


def suspects_picture(findings: Findings, preprocessing: object, *, most: int) -> Picture:
    """The training rows with the highest self-influence."""
    rows, training = findings.suspects(most), findings.training
    return Picture(
        title=suspects_lead(training, rows),
        panels=tuple(
            _panel(
                Message(
                    text="row {row}: label {label}, predicted {predicted}",
                    values={
                        "row": row + 1,
                        "label": training.label(row),
                        "predicted": training.prediction(row),
                    },
                ),
                training,
                row,
                preprocessing,
            )
            for row in rows.tolist()
        ),
        scale=Message(text="the highest self-influence first"),
    )


def _panel(label: Message, told: Told, row: int, preprocessing: object) -> Panel:
    inputs = told.data.inputs[row : row + 1].detach().double().cpu().numpy()
    pixels = _grey(inputs, told, preprocessing)
    # adding zero turns -0.0 into 0.0
    return Panel(
        label=label, pixels=tuple(tuple(line) for line in (np.round(pixels, DECIMALS) + 0.0).tolist())
    )


def _grey(inputs: FloatArray, told: Told, preprocessing: object) -> FloatArray:
    """Grey values of one picture, shape ``(height, width)``."""
    height, width = told.data.features.image_shape or (1, inputs.size)
    return np.asarray(grey_values(inputs, preprocessing, (height, width))[0])
