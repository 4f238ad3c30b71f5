"""Distances between the distributions of predictions of different groups."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.regression_groups import GroupErrors
from auditkit.audits.foretold import shown
from auditkit.data.dataset import IntArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.distribution_gaps import GroupedValues, ParityGap, TransportGap
from auditkit.statistics.regression import Foretold

FEWEST = 10
"""Rows (or persons) without which a group has no distribution to speak of."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Predictions of the known groups that have enough rows, and which groups these are."""

    values: GroupedValues
    groups: tuple[int, ...]


def compared_values(errors: GroupErrors) -> Compared | Message:
    """What is compared, or why nothing is."""
    groups = [group for group in errors.known if errors.groups[group].n_persons >= FEWEST]
    if len(groups) < 2:
        return Message(
            text="Fewer than two known groups of {attribute} have {n} rows or persons.",
            values={"attribute": errors.grouping.title, "n": FEWEST},
        )
    parts = [errors.groups[group] for group in groups]
    rows = np.concatenate([errors.members[group] for group in groups])
    values = GroupedValues(
        value=np.concatenate([part.value for part in parts]),
        group=np.repeat(np.arange(len(parts)), [len(part) for part in parts]),
        weight=np.concatenate([np.ones(len(p)) if p.weight is None else p.weight for p in parts]),
        person=_persons(parts, rows),
    )
    # in an order that does not depend on that of the data
    order = np.lexsort((values.weight, values.group, values.value))
    return Compared(
        GroupedValues(
            values.value[order], values.group[order], values.weight[order], _codes(values.person[order])
        ),
        tuple(groups),
    )


def _persons(parts: list[Foretold], rows: IntArray) -> IntArray:
    """Codes of persons; rows that stand alone are persons of their own."""
    if parts[0].person is None:
        return np.arange(len(rows))
    return np.concatenate([part.person for part in parts if part.person is not None])


def _codes(person: IntArray) -> IntArray:
    """Persons counted from 0, in the order in which they come."""
    _, first, code = np.unique(person, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[code.reshape(-1)], dtype=np.int64)


def parity_measurements(
    gap: ParityGap | Message, compared: Compared | Message, errors: GroupErrors, confidence: float
) -> list[Measurement]:
    """The largest distance from everyone, and how far it exceeds what chance gives."""
    if isinstance(gap, Message) or isinstance(compared, Message):
        reason = gap if isinstance(gap, Message) else compared
        return [
            _missing(f"statistical_parity{suffix}", errors, reason)  # type: ignore[arg-type]  # one of them is a Message
            for suffix in ("", ".excess")
        ]
    furthest = errors.grouping.labels[compared.groups[int(gap.of_groups.argmax())]]
    notes = (
        Message(text="The distribution of {group} is furthest from that of all.", values={"group": furthest}),
        Message(
            text="Dealing out groups at random gives {chance} on average; p = {p} for no difference at all.",
            values={"chance": shown(gap.by_chance), "p": shown(gap.p_value)},
        ),
    )
    return [
        Measurement(
            metric=f"statistical_parity{suffix}",
            value=gap.value - shift,
            n=len(compared.values.value),
            better="zero",
            across=errors.grouping.attributes,
            interval=Interval(
                low=gap.low - shift, high=gap.high - shift, confidence=confidence, method="dkw"
            ),
            note=note,
        )
        for suffix, shift, note in zip(("", ".excess"), (0.0, gap.by_chance), notes, strict=True)
    ]


def transport_measurement(
    gap: TransportGap | Message, compared: Compared | Message, errors: GroupErrors, confidence: float
) -> Measurement:
    """The largest Wasserstein distance between two groups."""
    if isinstance(gap, Message) or isinstance(compared, Message):
        reason = gap if isinstance(gap, Message) else compared
        return _missing("wasserstein", errors, reason)  # type: ignore[arg-type]  # one of them is a Message
    first, second = (errors.grouping.labels[compared.groups[index]] for index in gap.pair)
    return Measurement(
        metric="wasserstein",
        value=gap.value,
        n=len(compared.values.value),
        better="zero",
        across=errors.grouping.attributes,
        interval=Interval(low=gap.low, high=gap.high, confidence=confidence, method="bayesian-bootstrap"),
        note=Message(
            text="Between {first} and {second}; chance alone gives about {chance}.",
            values={"first": first, "second": second, "chance": shown(gap.by_chance)},
        ),
    )


def _missing(metric: str, errors: GroupErrors, reason: Message) -> Measurement:
    return Measurement(
        metric=metric,
        value=None,
        n=errors.n_known,
        better="zero",
        across=errors.grouping.attributes,
        missing=reason,
    )
