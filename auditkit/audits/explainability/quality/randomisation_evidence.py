"""What becomes of explanations as weights are drawn anew, and whether the test can tell methods apart."""

from collections.abc import Mapping, Sequence

import numpy as np

from auditkit.audits.explainability.quality import metrics
from auditkit.audits.explainability.quality.checks import Side
from auditkit.audits.explainability.quality.crossed_means import CrossedMean, crossed_mean
from auditkit.audits.explainability.quality.defined import mean_of_defined
from auditkit.audits.explainability.quality.figures import NOT_DEFINED, Figures
from auditkit.audits.explainability.quality.scores import GRADIENT, GUIDED, Control, Drawn
from auditkit.audits.explainability.quality.trust_evidence import SIDES
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Curve, Estimate, Measurement, Message, Series, Table
from auditkit.statistics.decision import decide

EXPECTED: Mapping[str, Side] = {GRADIENT: "good", GUIDED: "bad"}
"""Known of the controls: gradients depend on the weights, guided backpropagation hardly does."""

_NAMES = {
    GRADIENT: Message(text="gradient"),
    GUIDED: Message(text="guided backpropagation"),
}
_LINES = {
    GRADIENT: Message(text="control: gradient"),
    GUIDED: Message(text="control: guided backpropagation"),
}
_DECISIONS: Mapping[str, Side] = {"pass": "good", "fail": "bad", "inconclusive": "open"}


def control_figures(
    controls: Sequence[Control], person: IntArray | None, confidence: float
) -> list[Measurement]:
    """Likeness of each control's explanations before and after."""
    return [
        Figures({"control": control.name}, len(control.randomised.by_layer), confidence).of(
            metrics.CONTROL, _likeness(control, person)
        )
        for control in controls
    ]


def control_table(
    controls: Sequence[Control], person: IntArray | None, threshold: float, confidence: float
) -> Table:
    """Whether the control that depends on the weights is let through and the other one is caught."""
    means = {control.name: _likeness(control, person) for control in controls}
    found = {name: control_side(mean, threshold, confidence) for name, mean in means.items()}
    return Table(
        title=_title(found),
        caption=Message(
            text="Gradients are known to depend on the weights, guided backpropagation is known to show "
            "the input whatever the weights. A test that does not tell them apart says little about other "
            "methods, either. Guided backpropagation acts on ReLU layers; models without them lack it."
        ),
        columns=(
            Message(text="Control"),
            Message(text="Likeness to explanations of models drawn anew"),
            Message(text="Threshold"),
            Message(text="Outcome"),
            Message(text="Expected"),
        ),
        rows=tuple(
            (
                _NAMES[name],
                _estimate(mean, confidence),
                Message(text="at most {limit}", values={"limit": threshold}),
                SIDES[found[name]],
                SIDES[EXPECTED[name]],
            )
            for name, mean in means.items()
        ),
    )


def control_side(mean: CrossedMean, threshold: float, confidence: float) -> Side:
    """On which side of the threshold a control lies, by itself."""
    interval = mean.interval(confidence)
    return "unknown" if interval is None else _DECISIONS[decide(interval, at_most=threshold)]


def cascade_curve(methods: Mapping[str, Drawn], controls: Sequence[Control]) -> Curve:
    """Likeness as ever more layers are drawn anew, from the output back to the input."""
    lines = [(Message(text=name), drawn) for name, drawn in methods.items()]
    lines += [(_LINES[one.name], one.randomised) for one in controls]
    return Curve(
        title=Message(text="How alike explanations stay as ever more layers are drawn anew"),
        caption=Message(
            text="Mean rank correlation with the explanation of the trained model; layers are drawn from the "
            "output back, at the right end all of them. A line that stays high does not depend on the "
            "weights."
        ),
        x_axis=Message(text="share of layers drawn anew"),
        y_axis=Message(text="rank correlation"),
        series=tuple(
            _line(name, drawn.by_layer) for name, drawn in lines if np.isfinite(drawn.by_layer).any()
        ),
    )


def _line(name: Message, by_layer: FloatArray) -> Series:
    steps = by_layer.shape[1]
    likeness = mean_of_defined(by_layer)
    points = [(0.0, 1.0)] + [
        ((step + 1) / steps, float(value)) for step, value in enumerate(likeness) if np.isfinite(value)
    ]
    x, y = zip(*points, strict=True)
    return Series(name=name, x=x, y=y)


def _title(found: Mapping[str, Side]) -> Message:
    if GUIDED not in found:
        return Message(text="The randomisation test has one control here, because no layer is a ReLU")
    if found == EXPECTED:
        return Message(text="The randomisation test tells its two controls apart on this model")
    return Message(text="The randomisation test does not tell its two controls apart on this model")


def _likeness(control: Control, person: IntArray | None) -> CrossedMean:
    return crossed_mean(control.randomised.whole.similarity, person)


def _estimate(mean: CrossedMean, confidence: float) -> Estimate:
    interval = mean.interval(confidence)
    low, high = (interval.low, interval.high) if interval else (None, None)
    missing = NOT_DEFINED if mean.value is None else None
    return Estimate(value=mean.value, low=low, high=high, n=mean.n, missing=missing)
