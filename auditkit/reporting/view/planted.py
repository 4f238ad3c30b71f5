"""Synthetic data: the faults put in on purpose, beside what the audits found."""

from dataclasses import dataclass

from markupsafe import Markup

from auditkit.records import Measurement, Planted, Run
from auditkit.reporting.charts.strip import strip, strip_axis
from auditkit.reporting.labels import address_label, audit_title, figure_label
from auditkit.reporting.language import Texts
from auditkit.reporting.numbers import Number, Scale, join_unit, number_of, threshold_text
from auditkit.reporting.view.figures import FigureIndex, canonical, common_scale


@dataclass(frozen=True, slots=True)
class PlantedView:
    """One planted fault. ``is_found`` is ``None`` where its figure was not measured."""

    fault: str
    figure: str
    audit: str
    expected: str
    number: Number
    chart: Markup | None
    is_found: bool | None
    word: str


def planted_views(run: Run, index: FigureIndex, texts: Texts) -> tuple[PlantedView, ...]:
    """All planted faults of the data; none for data that are not synthetic."""
    if not run.data.synthetic:
        return ()
    return tuple(_view(planted, index, texts) for planted in run.data.planted)


def is_found(planted: Planted, measurement: Measurement | None) -> bool | None:
    """Whether the whole interval lies where the fault must put it; ``None`` without an interval."""
    if measurement is None or measurement.value is None or measurement.interval is None:
        return None
    is_above = planted.above is not None and measurement.interval.low > planted.above
    is_below = planted.below is not None and measurement.interval.high < planted.below
    return is_above or is_below


def _view(planted: Planted, index: FigureIndex, texts: Texts) -> PlantedView:
    address = planted.figure if "@" in planted.figure else f"{planted.figure}@baseline"
    figure = index.get(canonical(address))
    measurement = figure.measurement if figure else None
    scale = common_scale(texts, [measurement])
    marks = [value for value in (planted.above, planted.below) if value is not None]
    found = is_found(planted, measurement)
    word = {True: texts.text("found"), False: texts.text("not found"), None: texts.text("not measured")}[
        found
    ]
    return PlantedView(
        fault=texts.message(planted.fault),
        figure=figure_label(texts, measurement, address.partition("/")[0])
        if measurement
        else address_label(texts, address),
        audit=audit_title(texts, address.partition("/")[0]),
        expected=_expected(planted, scale, texts),
        number=number_of(measurement, scale, marks),
        chart=_chart(measurement, scale, marks, is_found=bool(found)),
        is_found=found,
        word=word,
    )


def _expected(planted: Planted, scale: Scale, texts: Texts) -> str:
    parts = []
    if planted.above is not None:
        value = join_unit(threshold_text(planted.above, scale), scale.symbol)
        parts.append(texts.text("above {value}", value=value))
    if planted.below is not None:
        value = join_unit(threshold_text(planted.below, scale), scale.symbol)
        parts.append(texts.text("below {value}", value=value))
    return texts.series_of(parts)


def _chart(
    measurement: Measurement | None, scale: Scale, marks: list[float], *, is_found: bool
) -> Markup | None:
    if measurement is None or measurement.value is None or measurement.interval is None or not marks:
        return None
    low, high = measurement.interval.low * scale.factor, measurement.interval.high * scale.factor
    value, threshold = measurement.value * scale.factor, marks[0] * scale.factor
    return strip(
        strip_axis([low, high, threshold]),
        value,
        low,
        high,
        threshold=threshold,
        shape="circle" if is_found else "ring",
    )
