"""Chart and table of how a sensitive feature is given away."""

from auditkit.audits.fairness.proxies_features import FeatureInformation
from auditkit.audits.fairness.proxies_figures import AttributeFound, largest
from auditkit.records import Cell, Dots, Estimate, Evidence, Mark, Message, Table
from auditkit.statistics.linear_probe import ProbeResult

SHOWN = 10
"""Features in the table."""


def evidence_of(found: AttributeFound) -> list[Evidence]:
    """How well each source foretells the attribute, and which inputs do."""
    evidence: list[Evidence] = []
    measured = {name: one for name, one in found.probes.items() if isinstance(one, ProbeResult)}
    if measured:
        marks = tuple(
            Mark(
                label=name,
                estimate=Estimate(value=one.auc, low=one.interval.low, high=one.interval.high, n=one.n),
            )
            for name, one in measured.items()
        )
        evidence.append(
            Dots(
                title=_probe_title(found),
                axis=Message(text="AUC on rows that the probe was not trained on"),
                marks=marks,
                reference=0.5,
                reference_label=Message(text="chance"),
                high=1.0,
                caption=Message(
                    text="Each dot is a small model trained to foretell the attribute from this source "
                    "alone. A better one may exist."
                ),
            )
        )
    if not isinstance(found.features, Message) and found.features:
        evidence.append(_feature_table(found, found.features))
    return evidence


def _probe_title(found: AttributeFound) -> Message:
    shown, attribute = found.shown(), found.rows.attribute
    if not shown:
        return Message(
            text="Nothing examined is shown to foretell {attribute} better than chance",
            values={"attribute": attribute},
        )
    best = largest(shown)
    templates = {
        "inputs": Message(text="The inputs foretell {attribute} with an AUC of {auc}, where 0.5 is chance"),
        "layer": Message(
            text="The last hidden layer foretells {attribute} with an AUC of {auc}, where 0.5 is chance"
        ),
        "score": Message(text="The scores foretell {attribute} with an AUC of {auc}, where 0.5 is chance"),
    }
    template = templates[best.partition(".")[0]]
    return template.model_copy(update={"values": {"attribute": attribute, "auc": f"{shown[best].auc:.2f}"}})


def _feature_table(found: AttributeFound, features: tuple[FeatureInformation, ...]) -> Table:
    top = features[:SHOWN]
    rows: list[tuple[Cell, ...]] = [
        (
            one.name,
            f"{100 * one.removed:.1f} %",
            "< 0.001" if one.p < 1e-3 else f"{one.p:.2g}",
            Message(text="yes") if one.is_shown else Message(text="no"),
            _gap_cell(found, one.name),
        )
        for one in top
    ]
    return Table(
        title=_table_title(found, features),
        columns=(
            Message(text="Input"),
            Message(text="Uncertainty removed"),
            Message(text="p, adjusted"),
            Message(text="Shown"),
            Message(text="Gap that hangs on it"),
        ),
        rows=tuple(rows),
        caption=Message(
            text="Uncertainty removed: mutual information over the entropy of {attribute}, freed of its "
            "bias. p: Westfall and Young's permutation, for all {n} inputs together. Gap that hangs on it: "
            "by how much the gap in selection between two groups shrinks when the input is shuffled.",
            values={"attribute": found.rows.attribute, "n": len(features)},
        ),
    )


def _gap_cell(found: AttributeFound, feature: str) -> Cell:
    one = None if isinstance(found.gaps, Message) else found.gaps.get(feature)
    if one is None:
        return "–"
    return Estimate(value=one.carried, low=one.interval.low, high=one.interval.high, n=one.n)


def _table_title(found: AttributeFound, features: tuple[FeatureInformation, ...]) -> Message:
    attribute = found.rows.attribute
    shown = [one for one in features if one.is_shown]
    if not shown:
        return Message(
            text="None of {n} inputs is shown to tell {attribute} on its own",
            values={"n": len(features), "attribute": attribute},
        )
    return Message(
        text="{feature} tells most about {attribute}: it removes {share} % of the uncertainty",
        values={"feature": shown[0].name, "attribute": attribute, "share": f"{100 * shown[0].removed:.1f}"},
    )
