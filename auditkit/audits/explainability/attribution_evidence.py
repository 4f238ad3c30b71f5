"""Charts, pictures and tables behind the attributions."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from auditkit.audits.explainability.example_rows import ExampleRow, Reason
from auditkit.audits.explainability.explained_features import Importance, importances
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.data.preprocessing import ImagePreprocessing
from auditkit.records import Bars, Estimate, Mark, Message, Panel, Picture, Table, Unit
from auditkit.subjects.subject import Predictions

SHOWN_IN_EXAMPLE = 10
"""Features in the chart of one row; the others are summed into one bar."""

DECIMALS = 3
"""Of pixels and overlays: below what an eye can tell, and small in the stored run."""


def _mean_axis(unit: Unit) -> Message:
    """Gradients and maps are not in the unit of the score."""
    if unit == "nat":
        return Message(text="mean absolute attribution (nat)")
    return Message(text="mean absolute attribution")


def importance_bars(ranked: Sequence[Importance], shown: int, n_rows: int, unit: Unit = "nat") -> Bars:
    """The features that move the score most, with intervals."""
    return Bars(
        title=_lead(ranked),
        caption=Message(
            text="Mean absolute attribution over {n} rows; {shown} of {total} features, all in the table",
            values={"n": n_rows, "shown": min(shown, len(ranked)), "total": len(ranked)},
        ),
        axis=_mean_axis(unit),
        marks=tuple(
            Mark(label=entry.feature, estimate=_mean(entry, n_rows, unit)) for entry in ranked[:shown]
        ),
    )


def _lead(ranked: Sequence[Importance]) -> Message:
    """Which feature leads, said of one alone only where the intervals tell it from the next."""
    first = ranked[0]
    if first.share is None:
        return Message(text="No feature moves the score")
    named: dict[str, str | float] = {"feature": first.feature, "percent": round(100 * first.share)}
    if len(ranked) == 1 or ranked[1].share is None:
        return Message(text="{feature} carries {percent} % of all attribution", values=named)
    second = ranked[1]
    if (
        first.share_interval is not None
        and second.share_interval is not None
        and first.share_interval.low > second.share_interval.high
    ):
        return Message(
            text="{feature} carries {percent} % of all attribution, more than any other feature", values=named
        )
    return Message(
        text="{feature} and {second} carry most: {percent} % and {second_percent} % of all attribution",
        values={**named, "second": second.feature, "second_percent": round(100 * ranked[1].share)},
    )


def importance_table(ranked: Sequence[Importance], n_rows: int, unit: Unit = "nat") -> Table:
    """All features with their importance and share."""
    return Table(
        title=Message(text="Importance of all {n} features", values={"n": len(ranked)}),
        columns=(
            Message(text="Feature"),
            Message(text="Mean absolute attribution"),
            Message(text="Share of all attribution"),
        ),
        rows=tuple(
            (entry.feature, _mean(entry, n_rows, unit), share_estimate(entry, n_rows)) for entry in ranked
        ),
    )


def importance_comparison(
    before: FloatArray, after: FloatArray, names: tuple[str, ...], confidence: float
) -> Table:
    """Share of each feature in both models, in the order of the baseline."""
    ranked = importances(before, names, confidence)
    variant = {entry.feature: entry for entry in importances(after, names, confidence)}
    n = len(before)
    return Table(
        title=Message(text="Share of all attribution by feature, baseline and variant"),
        columns=(Message(text="Feature"), Message(text="Baseline"), Message(text="Variant")),
        rows=tuple(
            (entry.feature, share_estimate(entry, n), share_estimate(variant[entry.feature], n))
            for entry in ranked
        ),
    )


def _mean(entry: Importance, n_rows: int, unit: Unit) -> Estimate:
    low, high = (None, None) if entry.interval is None else (entry.interval.low, entry.interval.high)
    return Estimate(value=entry.mean, low=low, high=high, n=n_rows, unit=unit)


def share_estimate(entry: Importance, n_rows: int) -> Estimate:
    """Share of all attribution of one feature, with its interval."""
    if entry.share is None:
        return Estimate(value=None, n=n_rows, missing=Message(text="no feature has any attribution"))
    interval = entry.share_interval
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Estimate(value=entry.share, low=low, high=high, n=n_rows)


def example_bars(
    example: ExampleRow,
    attributions: FloatArray,
    names: tuple[str, ...],
    outcome: Mapping[str, str | float],
    unit: Unit = "nat",
    *,
    about: tuple[Message, ...] = (),
) -> Bars:
    """What spoke for and against the predicted class in one row; the small rest is one bar.

    ``about`` says what is explained and from where.
    """
    order = np.argsort(-np.abs(attributions), kind="stable")
    top, rest = order[:SHOWN_IN_EXAMPLE], order[SHOWN_IN_EXAMPLE:]
    marks = [Mark(label=names[j], estimate=Estimate(value=float(attributions[j]), unit=unit)) for j in top]
    if len(rest):
        others = Estimate(value=float(attributions[rest].sum()), unit=unit)
        label = Message(text="others ({n})", values={"n": len(rest)})
        marks.append(Mark(label=label, estimate=others, small=True))
    return Bars(
        title=Message(text=_TITLES[example.reason], values={"feature": names[order[0]]}),
        caption=Message(text=_LABELS[example.reason], values=dict(outcome)),
        notes=about,
        axis=Message(text="← against it · attribution (nat) · for it →")
        if unit == "nat"
        else Message(text="attribution to the predicted class"),
        marks=tuple(marks),
    )


_TITLES: Final[Mapping[Reason, str]] = {
    "typical": "In a typical correct row {feature} weighs most",
    "confident error": "In the most confident error {feature} weighs most",
    "uncertain": "In the least certain row {feature} weighs most",
}

_LABELS: Final[Mapping[Reason, str]] = {
    "typical": "Correct with median confidence: {predicted} with probability {probability}",
    "confident error": "The most confident error: {predicted} with probability {probability}, true is {true}",
    "uncertain": "The least certain prediction: {predicted} with probability {probability}, true is {true}",
}


_PICTURES: Final[Mapping[Reason, str]] = {
    "typical": (
        "Correct with median confidence: {predicted} with probability {probability}. Full colour: {top} nat"
    ),
    "confident error": (
        "The most confident error: {predicted} with probability {probability}, true is {true}. "
        "Full colour: {top} nat"
    ),
    "uncertain": (
        "The least certain prediction: {predicted} with probability {probability}, true is {true}. "
        "Full colour: {top} nat"
    ),
}


def outcome_of(
    example: ExampleRow, predictions: Predictions, y_true: IntArray, classes: tuple[str, ...]
) -> dict[str, str | float]:
    """What was predicted for the row, how surely, and what is true."""
    row = example.row
    predicted = int(predictions.y_pred[row])
    return {
        "predicted": classes[predicted],
        "probability": round(float(predictions.probabilities[row, predicted]), 3),
        "true": classes[int(y_true[row])],
    }


def heat_map(pictures: FloatArray, attributions: FloatArray, unit: Unit = "nat") -> Picture:
    """The mean absolute attribution of each pixel over the mean picture.

    Args:
        pictures: Grey values in ``[0, 1]``, shape ``(n, height, width)``.
        attributions: Of the pixels, same shape.
        unit: Of the attributions.
    """
    mean = np.abs(attributions).mean(axis=0)
    top = float(mean.max())
    ordered = np.sort(mean.ravel())[::-1]
    half = int(np.searchsorted(np.cumsum(ordered), ordered.sum() / 2)) + 1
    title = (
        Message(
            text="Half of all attribution lies on {half} of {total} pixels",
            values={"half": half, "total": mean.size},
        )
        if top > 0
        else Message(text="No pixel moves the score")
    )
    label = Message(text="mean of {n} pictures", values={"n": len(pictures)})
    return Picture(
        title=title,
        panels=(_panel(label, pictures.mean(axis=0), mean),),
        scale=Message(
            text="full colour stands for a mean absolute attribution of {top} nat",
            values={"top": _rounded(top)},
        )
        if unit == "nat"
        else Message(text="full colour stands for the largest mean absolute attribution"),
    )


def example_pictures(
    examples: Sequence[ExampleRow],
    pictures: FloatArray,
    attributions: FloatArray,
    outcomes: Sequence[Mapping[str, str | float]],
    *,
    signed: bool = True,
    about: tuple[Message, ...] = (),
) -> Picture:
    """The example rows with what spoke for (positive) and against (negative) the predicted class.

    ``about`` says what is explained and from where.
    """
    return Picture(
        title=Message(
            text="What spoke for and against the predicted class in {n} pictures chosen by rule"
            if signed
            else "Where the model looks in {n} pictures chosen by rule",
            values={"n": len(examples)},
        ),
        panels=tuple(
            _panel(
                Message(
                    text=_PICTURES[example.reason],
                    values={**outcome, "top": _rounded(float(np.abs(attributions[example.row]).max()))},
                ),
                pictures[example.row],
                attributions[example.row],
            )
            for example, outcome in zip(examples, outcomes, strict=True)
        ),
        scale=Message(text="full colour is the largest attribution of each picture, given below it"),
        notes=about,
    )


def _panel(label: Message, pixels: FloatArray, overlay: FloatArray) -> Panel:
    top = float(np.abs(overlay).max())
    return Panel(label=label, pixels=_grid(pixels), overlay=_grid(overlay / top if top > 0 else overlay))


def _grid(values: FloatArray) -> tuple[tuple[float, ...], ...]:
    # adding zero turns -0.0 into 0.0
    return tuple(tuple(row) for row in (np.round(values, DECIMALS) + 0.0).tolist())


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def grey_values(inputs: FloatArray, preprocessing: object, image_shape: tuple[int, int]) -> FloatArray:
    """Pictures as they were before preprocessing, in ``[0, 1]``, shape ``(n, height, width)``.

    Channels are averaged. Without preprocessing on record the range of the values is stretched to ``[0, 1]``.
    """
    if isinstance(preprocessing, ImagePreprocessing):
        grey = inputs * preprocessing.scale + preprocessing.mean
    else:
        low, high = float(inputs.min()), float(inputs.max())
        grey = (inputs - low) / (high - low) if high > low else np.zeros_like(inputs)
    height, width = image_shape
    return np.asarray(np.clip(grey.reshape(len(grey), -1, height, width).mean(axis=1), 0.0, 1.0))
