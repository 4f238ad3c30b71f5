"""Checks on what an audit returns."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from auditkit.audits.audit import PairedAudit, ShardedAudit, parameters
from auditkit.records import AuditResult, Measurement, figure_address
from auditkit.store import as_json
from auditkit.testing.scene import Scene, differences, require, written_out


def describes_itself(scene: Scene) -> None:
    """Name, version, question, limits: what report and registry need without running it."""
    info = scene.audit.info
    require(info.version >= 1, f"info.version: got {info.version}, expected 1 or more")
    for field in ("name", "area", "question"):
        require(bool(getattr(info, field).strip()), f"info.{field} is empty")
    require(bool(info.limits), "info.limits: say what a reader may not conclude")
    require("/" not in info.name and "@" not in info.name, f"info.name {info.name!r} would break addresses")


def keeps_its_parameters(scene: Scene) -> None:
    """The parameters in a stored result make the same audit again."""
    stored = json.loads(json.dumps(parameters(scene.audit)))
    again = type(scene.audit).model_validate(stored)
    require(
        again == scene.audit, f"made again from its stored parameters it is {again!r}, not {scene.audit!r}"
    )


def measures(scene: Scene) -> None:
    """The planted subject and data give at least one figure."""
    outcome = scene.run()
    outcome.require_measured("planted subject")
    values = [figure.value for figure in scene.stable(outcome).values()]
    require(
        any(value is not None for value in values), "no figure has a value on the planted subject and data"
    )


def gives_every_figure_its_facts(scene: Scene) -> None:
    """An interval or a reason, texts that can be written out, and an address of its own."""
    for result in _measured(scene):
        addresses = [figure_address(result, measurement) for measurement in result.measurements]
        twice = sorted({place for place in addresses if addresses.count(place) > 1})
        require(not twice, f"two figures share one address: {twice}. Give them groups or other names")
        for place, measurement in zip(addresses, result.measurements, strict=True):
            _require_facts(place, measurement)
        require(all(text.strip() for text in written_out(result)), f"{result.audit}: a text is empty")


def _require_facts(place: str, measurement: Measurement) -> None:
    has_interval = measurement.value is None or measurement.interval is not None
    require(has_interval, f"{place}: no interval. Interval.exact(value) where there is no sampling error")
    require(
        measurement.value is None or measurement.n > 0, f"{place}: has a value that rests on n = 0 samples"
    )


def encodes_and_decodes(scene: Scene) -> None:
    """What is stored is what was measured, evidence included."""
    for result in _measured(scene):
        text = as_json(result)
        require(
            AuditResult.model_validate_json(text) == result, "the result changes when it is stored and read"
        )
        again = as_json(AuditResult.model_validate(json.loads(text)))
        require(again == text, "the result changes when it is stored a second time")


def repeats_itself(scene: Scene) -> None:
    """The same seed gives the same figures, to the last bit."""
    first, second = (scene.stable(scene.run(seed=5)) for _ in range(2))
    changed = [place for place in first if first[place] != second.get(place)]
    require(
        not changed and first.keys() == second.keys(),
        f"the same seed gives other figures: {changed or sorted(first.keys() ^ second.keys())}. Take "
        "randomness from the context; name what varies with time in info.timed_metrics",
    )


def ignores_the_batch_size(scene: Scene) -> None:
    """Batches of 16 and of 64 rows give the same figures up to rounding."""
    small, large = (scene.stable(scene.run(batch_size=size)) for size in (16, 64))
    found = list(differences(small, large))
    require(not found, "the batch size changes figures:\n" + "\n".join(found))


def finds_no_difference_to_itself(scene: Scene) -> None:
    """A subject compared with itself: every change is 0, every quotient 1."""
    audit = scene.audit
    if not isinstance(audit, PairedAudit):
        return
    output = audit.compare(scene.subject, scene.subject, scene.rows, scene.context)
    for measurement in output.measurements:
        expected = {"change": 0.0, "ratio": 1.0}.get(measurement.metric.rpartition(".")[2])
        if expected is None or measurement.value is None or measurement.metric in audit.info.timed_metrics:
            continue
        near = math.isclose(measurement.value, expected, abs_tol=1e-9)
        require(
            near, f"{measurement.metric} of a subject to itself is {measurement.value}, expected {expected}"
        )


def merges_in_any_order(scene: Scene) -> None:
    """Shards merged in another order and grouping give the figures of one pass."""
    audit = scene.audit
    if not isinstance(audit, ShardedAudit):
        return
    rows, context = scene.rows, scene.context
    ends = np.linspace(0, len(rows), 4, dtype=int)
    one, two, three = (
        audit.partial(scene.subject, rows.take(np.arange(start, end)), context)
        for start, end in pairwise(ends)
    )
    totals = {
        "one pass": audit.partial(scene.subject, rows, context),
        "in order": audit.merge([one, two, three]),
        "in another order": audit.merge([three, audit.merge([two, one])]),
    }
    found = {
        name: _by_metric(audit.conclude(total, scene.subject, rows, context).measurements)
        for name, total in totals.items()
    }
    for name in ("in order", "in another order"):
        wrong = list(differences(found["one pass"], found[name]))
        require(not wrong, f"shards merged {name} differ from one pass:\n" + "\n".join(wrong))


def _by_metric(measurements: Sequence[Measurement]) -> dict[str, Measurement]:
    return {
        f"{figure.metric}{sorted(figure.group.items())}{figure.across}": figure for figure in measurements
    }


def _measured(scene: Scene) -> tuple[AuditResult, ...]:
    outcome = scene.run()
    outcome.require_measured("planted subject")
    return outcome.results
