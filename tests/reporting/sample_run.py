"""A run as the runner stores it, built by hand: every verdict, evidence kind and status. Invented figures."""

import math

from auditkit.records import (
    AuditResult,
    Bars,
    Certificate,
    Cost,
    Curve,
    DataCard,
    Dots,
    Environment,
    Estimate,
    Finding,
    Heatmap,
    Interval,
    Mark,
    Measurement,
    Message,
    Note,
    Panel,
    Picture,
    Planted,
    Rule,
    Run,
    Series,
    SubjectCard,
    Table,
    Token,
    Tokens,
    TrainingRecord,
    figure_address,
)
from auditkit.statistics.decision import decide, needed_n

SUBJECTS = ("baseline", "dp-3", "int8")
DIGEST = "9f2c61b07d3e4a58c1f0a9be77d2463e5a1188cf0e3b92d4c6a7f51e2d90e07a"

_RATES = {
    ("Female", "Black"): (0.121, 640),
    ("Female", "White"): (0.142, 3950),
    ("Male", "Black"): (0.263, 812),
    ("Male", "White"): (0.381, 10_240),
}
_SHIFT = {"baseline": 0.0, "dp-3": -0.012, "int8": 0.001}


def wilson(k: float, n: int) -> tuple[float, float]:
    """The Wilson interval at 95 %."""
    z, p = 1.959964, k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return centre - half, centre + half


def rate(metric: str, p: float, n: int, **more) -> Measurement:
    """A rate with its Wilson interval."""
    low, high = wilson(p * n, n)
    interval = Interval(low=low, high=high, confidence=0.95, method="wilson")
    return Measurement(
        metric=metric, value=p, n=n, better=more.pop("better", "neither"), interval=interval, **more
    )


def figure(metric: str, value: float, low: float, high: float, **more) -> Measurement:
    """A figure with a given interval."""
    interval = Interval(low=low, high=high, confidence=0.95, method=more.pop("method", "bootstrap"))
    defaults = {"n": 16_281, "better": "higher"}
    return Measurement(metric=metric, value=value, interval=interval, **{**defaults, **more})


def exact(metric: str, value: float, unit: str, **more) -> Measurement:
    """A figure without sampling error."""
    defaults = {"n": 1, "better": "lower"}
    return Measurement(
        metric=metric, value=value, unit=unit, interval=Interval.exact(value), **{**defaults, **more}
    )


def sample_run(**overrides) -> Run:
    """The whole run."""
    results = (*_results(), *_paired(), *_not_measured())
    values = {
        "run_id": "01JD7Q3M8ZK4",
        "title": "Audit of lending-mlp",
        "created_at": "2026-11-22T17:53:04+00:00",
        "duration_s": 48.2,
        "seed": 7,
        "config": CONFIG,
        "subjects": tuple(_card(name) for name in SUBJECTS),
        "data": DATA,
        "environment": ENVIRONMENT,
        "results": results,
        "findings": tuple(_findings(results)),
    }
    return Run(**{**values, **overrides})


def _result(audit: str, area: str, subject: str, measurements, **more) -> AuditResult:
    defaults = {
        "version": 1,
        "question": Message(text=_QUESTIONS[audit]),
        "params": {"confidence": 0.95},
        "status": "measured",
        "cost": Cost(duration_s=0.8),
        "key": f"{audit}-{subject}",
        "limits": tuple(Message(text=text) for text in _LIMITS.get(audit, ())),
        "sources": tuple(_SOURCES.get(audit, ())),
    }
    return AuditResult(
        audit=audit, area=area, subject=subject, measurements=tuple(measurements), **{**defaults, **more}
    )


_QUESTIONS = {
    "performance": "How often is the subject right on rows it has not seen?",
    "calibration": "When the subject says 80 %, is it right 80 times in 100?",
    "group-fairness": "Are groups selected, and misjudged, at different rates?",
    "attribution": "Which inputs decide, and do the attributions hold up against random ones?",
    "membership-inference": "Can an attacker tell which rows the subject was trained on?",
    "footprint": "What do the weights and one prediction cost?",
    "drift": "Do later rows differ from the audited ones?",
    "radius": "How small a change of the inputs changes the decision?",
}
_LIMITS = {
    "performance": ("Accuracy on these rows says nothing about rows of another kind, place or time.",),
    "group-fairness": (
        "A rate says that groups are treated differently, not why.",
        "Attributes that the data does not record cannot be examined.",
        "Equal rates can hide unequal treatment of people who are alike in everything that matters.",
    ),
    "attribution": ("An attribution describes the subject, not the world: it is no evidence of cause.",),
    "membership-inference": ("An attack that fails proves nothing: a stronger one may succeed.",),
    "footprint": ("Energy is estimated from operations and a constant of the processor, not metered.",),
}
_SOURCES = {
    "group-fairness": ("Hardt, Price and Srebro (2016), arXiv:1610.02413", "29 CFR 1607.4(D)"),
    "attribution": ("Sundararajan, Taly and Yan (2017), arXiv:1703.01365",),
    "membership-inference": ("Carlini et al. (2022), arXiv:2112.03570",),
    "calibration": ("Guo et al. (2017), arXiv:1706.04599",),
}


def _results():
    for subject in SUBJECTS:
        yield _performance(subject)
    for subject in SUBJECTS:
        yield _calibration(subject)
    for subject in SUBJECTS:
        yield _fairness(subject)
    for subject in SUBJECTS:
        yield _attribution(subject)
    for subject in SUBJECTS:
        yield _membership(subject)
    for subject in SUBJECTS:
        yield _footprint(subject)


def _performance(subject: str) -> AuditResult:
    p = {"baseline": 0.8523, "dp-3": 0.8461, "int8": 0.8521}[subject]
    measurements = [
        rate("accuracy", p, 16_281, better="higher"),
        figure("balanced_accuracy", p - 0.071, p - 0.08, p - 0.062),
        figure("auroc", p + 0.054, p + 0.048, p + 0.06, method="delong"),
        figure("log_loss", 1.17 - p, 1.16 - p, 1.18 - p, unit="nat", better="lower"),
    ]
    confusion = Heatmap(
        title=Message(text="Refusals are named right more often than approvals"),
        row_axis=Message(text="true class"),
        column_axis=Message(text="predicted class"),
        row_labels=("refused", "approved"),
        column_labels=("refused", "approved"),
        values=((11_480, 955), (1_449, 2_397)),
    )
    x = tuple(i / 60 for i in range(61))
    roc = Curve(
        title=Message(
            text="At 10 % false approvals, {share} % of the deserving are approved", values={"share": 71}
        ),
        x_axis=Message(text="false positive rate"),
        y_axis=Message(text="true positive rate"),
        series=(
            Series(
                name=Message(text="ROC"),
                x=x,
                y=tuple(v**0.15 for v in x),
                low=tuple(max(0.0, v**0.15 - 0.02) for v in x),
                high=tuple(min(1.0, v**0.15 + 0.02) for v in x),
            ),
        ),
        diagonal=True,
    )
    return _result("performance", "performance", subject, measurements, evidence=(confusion, roc))


def _calibration(subject: str) -> AuditResult:
    e = {"baseline": 0.004, "dp-3": 0.011, "int8": 0.005}[subject]
    bins = tuple((i + 0.5) / 10 for i in range(10))
    curve = Curve(
        title=Message(text="Confidence can be taken at face value"),
        x_axis=Message(text="predicted probability"),
        y_axis=Message(text="share that was approved"),
        series=(
            Series(
                name=Message(text="observed"),
                x=bins,
                y=tuple(min(1.0, b + e) for b in bins),
                low=tuple(max(0.0, b - 0.03) for b in bins),
                high=tuple(min(1.0, b + 0.04) for b in bins),
            ),
        ),
        diagonal=True,
    )
    measurements = [
        figure("expected_calibration_error", e, max(0.0, e - 0.004), e + 0.005, better="lower"),
        figure("brier_score", 0.101 + e, 0.098 + e, 0.104 + e, better="lower"),
    ]
    return _result("calibration", "performance", subject, measurements, evidence=(curve,))


def _fairness(subject: str) -> AuditResult:
    measurements = []
    cells = {key: (p + _SHIFT[subject], n) for key, (p, n) in _RATES.items()}
    for metric, bump in (
        ("selection_rate", 0.0),
        ("true_positive_rate", 0.35),
        ("false_positive_rate", -0.08),
    ):
        for (sex, race), (p, n) in cells.items():
            group = {"sex": sex, "race": race}
            measurements.append(rate(metric, p + bump, n, group=group))
        for attribute, position in (("sex", 0), ("race", 1)):
            for value in sorted({key[position] for key in cells}):
                mine = [pn for key, pn in cells.items() if key[position] == value]
                n = sum(n for _, n in mine)
                p = sum(p * n for p, n in mine) / n + bump
                measurements.append(rate(metric, p, n, group={attribute: value}))
        measurements.append(
            Measurement(
                metric=metric,
                value=None,
                n=3,
                better="neither",
                group={"race": "Amer-Indian-Eskimo"},
                missing=Message(text="only {n} rows", values={"n": 3}),
            )
        )
    ratio = {"baseline": 0.374, "dp-3": 0.352, "int8": 0.377}[subject]
    note = Message(text="{low} against {high}", values={"low": "Female", "high": "Male"})
    measurements.append(
        figure(
            "selection_rate.ratio",
            ratio,
            ratio - 0.021,
            ratio + 0.022,
            across=("sex",),
            better="one",
            note=note,
            method="koopman",
        )
    )
    measurements.append(
        figure(
            "false_negative_rate.difference",
            0.06,
            0.0,
            0.19,
            across=("race",),
            better="zero",
            n=84,
            note=Message(text="{low} against {high}", values={"low": "White", "high": "Black"}),
            detectable=0.141,
        )
    )
    return _result(
        "group-fairness",
        "fairness",
        subject,
        measurements,
        evidence=_fairness_evidence(cells),
        params={"confidence": 0.95, "min_group": 20},
    )


def _fairness_evidence(cells):
    marks = []
    for (sex, race), (p, n) in cells.items():
        low, high = wilson(p * n, n)
        estimate = Estimate(value=p, low=low, high=high, n=n)
        marks.append(Mark(label=f"{sex}, {race}", estimate=estimate, small=n < 700))
    absent = Estimate(value=None, n=3, missing=Message(text="only {n} rows", values={"n": 3}))
    marks.append(Mark(label="Amer-Indian-Eskimo", estimate=absent))
    return (
        Dots(
            title=Message(text="Women are approved less than half as often as men, in every race"),
            caption=Message(text="Selection rate with 95 % intervals; hollow dots rest on few rows."),
            axis=Message(text="selection rate"),
            marks=tuple(marks),
            reference=0.308,
            reference_label=Message(text="all"),
            low=0.0,
        ),
        Table(
            title=Message(text="Most of the gap remains between people alike in income and debt"),
            columns=(Message(text="stratum"), Message(text="difference"), Message(text="rows")),
            rows=(
                ("low debt", Estimate(value=0.19, low=0.16, high=0.22), 6120),
                ("middle debt", Estimate(value=0.21, low=0.18, high=0.24), 5890),
                ("high debt", Estimate(value=None, missing=Message(text="no approvals")), 4271),
            ),
        ),
    )


def _attribution(subject: str) -> AuditResult:
    names = ("debt_to_income", "income", "sex", "postcode", "age", "n_dependants", "late_payments")
    weights = (0.31, -0.27, 0.14, 0.11, -0.05, 0.012, -0.003)
    bars = Bars(
        title=Message(text="Debt and income decide; sex weighs half as much as income"),
        caption=Message(text="Mean attribution of the approval score, 200 rows, integrated gradients."),
        axis=Message(text="mean attribution (logits)"),
        marks=tuple(
            Mark(label=name, estimate=Estimate(value=w, low=w - 0.02, high=w + 0.02, n=200))
            for name, w in zip(names, weights, strict=True)
        ),
    )
    side = 16
    pixels = tuple(
        tuple(max(0.0, 1 - abs(math.hypot(x - 7.5, y - 7.5) - 5) / 1.8) for x in range(side))
        for y in range(side)
    )
    overlay = tuple(
        tuple(round(math.sin(x / 2.3) * math.cos(y / 3.1) * pixels[y][x], 3) for x in range(side))
        for y in range(side)
    )
    picture = Picture(
        title=Message(text="The ring decides for 0, its gaps against"),
        panels=tuple(
            Panel(
                label=Message(text="true {a}, predicted {b}", values={"a": a, "b": b}),
                pixels=pixels,
                overlay=o,
            )
            for a, b, o in ((0, 0, overlay), (0, 6, overlay[::-1]), (0, 0, ()))
        ),
        scale=Message(text="full colour is the largest attribution of the picture"),
    )
    tokens = Tokens(
        title=Message(text="One word carries the refusal"),
        tokens=tuple(
            Token(text=t, weight=w)
            for t, w in (
                ("The", 0.02),
                ("applicant", 0.1),
                ("is", 0.0),
                ("a", 0.0),
                ("single", -0.35),
                ("mother", -0.92),
                ("with", 0.05),
                ("steady", 0.55),
                ("income", 0.7),
            )
        ),
        scale=Message(text="full colour is the largest weight in the text"),
    )
    note = Note(
        title=Message(text="How the attributions were checked"),
        body=Message(
            text="Each method is compared with random attributions of the same size on the same rows."
        ),
    )
    measurements = [
        figure("completeness_error", 2.1e-4, 1.9e-4, 2.4e-4, n=200, better="lower"),
        figure("deletion_auc.random_gap", 0.21, 0.18, 0.24, n=200),
        exact("method_agreement", 0.83, "1", n=200, better="higher"),
    ]
    return _result(
        "attribution",
        "explainability",
        subject,
        measurements,
        evidence=(bars, picture, tokens, note),
        params={"methods": ["integrated-gradients", "saliency"], "rows": 200},
    )


def _membership(subject: str) -> AuditResult:
    tpr = {"baseline": 0.041, "dp-3": 0.0016, "int8": 0.0395}[subject]
    low, high = wilson(tpr * 5000, 5000)
    x = tuple(10 ** (-4 + i / 15) for i in range(61))
    power = {"baseline": 0.42, "dp-3": 0.97, "int8": 0.43}[subject]
    curve = Curve(
        title=Message(text="At few false alarms the attack is far better than guessing"),
        caption=Message(text="Both axes logarithmic; the dashed line is guessing."),
        x_axis=Message(text="false positive rate"),
        y_axis=Message(text="true positive rate"),
        series=(
            Series(name=Message(text="attack"), x=x, y=tuple(v**power for v in x)),
            Series(name=Message(text="loss only"), x=x, y=tuple(v ** min(1.0, power + 0.25) for v in x)),
        ),
        diagonal=True,
        x_log=True,
        y_log=True,
    )
    measurements = [
        figure(
            "epsilon_lower_bound", tpr * 40, tpr * 30, tpr * 50, n=10_000, better="lower", kind="lower_bound"
        ),
        figure("attack_auroc", 0.5 + tpr * 3, 0.49 + tpr * 3, 0.512 + tpr * 3, n=10_000, better="one"),
        figure(
            "tpr_at_fpr_0.001",
            tpr,
            low,
            high,
            n=5000,
            better="lower",
            note=Message(text="{k} shadow models", values={"k": 64}),
        ),
    ]
    return _result(
        "membership-inference",
        "privacy",
        subject,
        measurements,
        evidence=(curve,),
        params={"shadow_models": 64},
    )


def _footprint(subject: str) -> AuditResult:
    size = {"baseline": 39_432.0, "dp-3": 39_432.0, "int8": 10_884.0}[subject]
    latency = {"baseline": 2.31e-4, "dp-3": 2.33e-4, "int8": 1.61e-4}[subject]
    measurements = [
        exact("n_parameters", 9858.0, "count"),
        exact("size_b", size, "B"),
        exact("flops", 19_456.0, "FLOP", provenance="derived"),
        figure("latency_s", latency, latency * 0.96, latency * 1.05, unit="s", n=200, better="lower"),
        figure("energy_j", 8.1e-3, 6.0e-3, 1.02e-2, unit="J", n=200, better="lower", provenance="estimated"),
        Measurement(
            metric="carbon_gco2e",
            value=None,
            unit="gCO2e",
            n=0,
            better="lower",
            missing=Message(text="no country was given"),
        ),
    ]
    return _result("footprint", "compute", subject, measurements)


def _paired():
    for subject, value, low, high in (
        ("dp-3", -0.0062, -0.0101, -0.0023),
        ("int8", -0.0002, -0.0009, 0.0005),
    ):
        yield _result(
            "performance",
            "performance",
            subject,
            [
                figure("accuracy.change", value, low, high, method="newcombe-paired"),
                rate("agreement", 0.97, 16_281, better="higher"),
            ],
            against="baseline",
            key=f"performance-{subject}-pair",
        )
    for subject, value, low, high in (("dp-3", -0.022, -0.034, -0.011), ("int8", 0.003, -0.002, 0.008)):
        change = figure(
            "selection_rate.ratio.change",
            value,
            low,
            high,
            across=("sex",),
            better="one",
            method="bootstrap-paired",
        )
        yield _result(
            "group-fairness", "fairness", subject, [change], against="baseline", key=f"fair-{subject}"
        )


def _not_measured():
    for subject in SUBJECTS:
        yield _result(
            "radius",
            "robustness",
            subject,
            (),
            status="skipped",
            reason=Message(
                text="It needs {needs}.", values={"needs": "a subject with gradients (a torch module)"}
            ),
        )
    yield _result(
        "drift",
        "robustness",
        "int8",
        (),
        status="failed",
        reason=Message(text="ValueError: later rows have 11 columns, expected 12"),
    )


RULES = (
    Rule(
        figure="group-fairness/selection_rate.ratio[sex]",
        at_least=0.8,
        severity="critical",
        title="Women approved at least 80 % as often as men",
        why="Four-fifths rule of the hiring guideline.",
        remedy="Add a mitigate variant, or remove the direct effect of sex.",
    ),
    Rule(figure="membership-inference/tpr_at_fpr_0.001", at_most=0.01, severity="critical"),
    Rule(figure="group-fairness/false_negative_rate.difference[race]", at_most=0.1),
    Rule(figure="calibration/expected_calibration_error", at_most=0.02, severity="minor"),
    Rule(figure="performance/accuracy", at_least=0.8),
    Rule(figure="footprint/carbon_gco2e", at_most=1.0, severity="minor"),
    Rule(figure="radius/linf_radius.median", at_least=0.05),
)


def _findings(results):
    for rule in RULES:
        for subject in SUBJECTS:
            yield _finding(rule, subject, results)


def _finding(rule: Rule, subject: str, results) -> Finding:
    target = f"{rule.figure}@{subject}"
    shared = {"rule": rule, "figure": target, "subject": subject, "binding": subject == "baseline"}
    found = next((m for r in results for m in r.measurements if figure_address(r, m) == target), None)
    if found is None:
        reason = next((r.reason for r in results if target.startswith(r.audit) and r.reason), None)
        return Finding(verdict="not_shown", reason=reason, **shared)
    if found.value is None:
        return Finding(verdict="not_shown", reason=found.missing, measurement=found, **shared)
    verdict = decide(found.interval, at_least=rule.at_least, at_most=rule.at_most, kind=found.kind)
    reasons = {
        "pass": "The whole interval clears the threshold.",
        "fail": "The whole interval breaches the threshold.",
        "inconclusive": "The interval spans the threshold: these data cannot decide.",
    }
    more = (
        needed_n(found.value, found.interval, found.n, rule.at_least, rule.at_most)
        if verdict == "inconclusive"
        else None
    )
    return Finding(
        verdict=verdict, measurement=found, reason=Message(text=reasons[verdict]), needed_n=more, **shared
    )


def _card(name: str) -> SubjectCard:
    kinds = {"baseline": "baseline", "dp-3": "dp-retrain", "int8": "quantise"}
    training = TrainingRecord(
        steps=9_770,
        epochs=10,
        duration_s=21.4,
        samples_per_s=14_600,
        seed=7,
        data_source="lending, train split",
        data_digest="77ab" * 16,
        n_rows=31_250,
        recipe={"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 32},
        final_loss=0.3164,
    )
    return SubjectCard(
        name=name,
        title="lending-mlp",
        kind=kinds[name],
        source="checkpoints/lending",
        digest=DIGEST if name == "baseline" else DIGEST[::-1],
        architecture="mlp(hidden=128, dropout=0.2)",
        n_parameters=9858,
        size_b=10_884 if name == "int8" else 39_432,
        classes=("refused", "approved"),
        capabilities=("predictions", "gradients", "layers"),
        training=training if name != "int8" else None,
        certificate=CERTIFICATE if name == "dp-3" else None,
        statements=(Message(text="Weights rounded to 8 bits, per channel."),) if name == "int8" else (),
    )


CERTIFICATE = Certificate(
    epsilon=2.9987,
    delta=1e-5,
    adjacency="add or remove one record",
    unit_of_privacy="one row",
    noise_multiplier=1.13,
    sample_rate=0.0082,
    steps=1220,
    max_grad_norm=1.0,
    normaliser=256.0,
    accountant="prv",
    cross_check={"rdp": 3.21},
    versions={"opacus": "1.6.0"},
    certified=True,
    assumptions=(
        Message(text="Each person contributes one row."),
        Message(text="The settings were not chosen by looking at these data."),
    ),
)

DATA = DataCard(
    name="lending",
    source="built-in generator, seed 7",
    split="test",
    digest="3520" * 16,
    n_rows=16_281,
    n_members=5000,
    n_features=12,
    target="approved",
    classes=("refused", "approved"),
    positive="approved",
    groups={
        "sex": {"Female": 4_590, "Male": 11_688, "unknown": 3},
        "race": {
            "White": 14_190,
            "Black": 1_452,
            "Asian-Pac-Islander": 480,
            "Amer-Indian-Eskimo": 3,
            "Other": 156,
        },
    },
    synthetic=True,
    planted=(
        Planted(
            fault=Message(text="Sex lowers the chance of approval directly."),
            figure="group-fairness/selection_rate.ratio[sex]@baseline",
            below=0.8,
        ),
        Planted(
            fault=Message(text="100 outliers were repeated until memorised."),
            figure="membership-inference/tpr_at_fpr_0.001@baseline",
            above=0.01,
        ),
        Planted(
            fault=Message(text="Black applicants with good records were labelled refused."),
            figure="group-fairness/false_negative_rate.difference[race]@baseline",
            above=0.1,
        ),
        Planted(
            fault=Message(text="The postcode stands in for race."), figure="proxies/auroc[race]", above=0.6
        ),
    ),
    statements=(Message(text="Rows are drawn from a written-down generator; no person stands behind them."),),
)

ENVIRONMENT = Environment(
    auditkit="0.1.0",
    python="3.11.2",
    platform="Linux-6.1-x86_64",
    processor="Intel Xeon",
    n_cpus=2,
    threads=2,
    device="cpu",
    packages={"torch": "2.13.0", "captum": "0.9.0", "opacus": "1.6.0", "fairlearn": "0.15.0"},
)

CONFIG = {
    "version": 1,
    "seed": 7,
    "subject": {"checkpoint": "checkpoints/lending"},
    "data": {"source": "lending", "split": "test", "sensitive_features": ["sex", "race"]},
    "variants": {"dp-3": {"kind": "dp-retrain", "epsilon": 3}, "int8": {"kind": "quantise"}},
    "audits": {name: {} for name in _QUESTIONS},
    "policy": [rule.model_dump(mode="json", exclude_none=True) for rule in RULES],
    "report": {"languages": ["en", "zh"]},
}
