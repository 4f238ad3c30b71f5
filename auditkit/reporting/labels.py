"""Readable names for metrics, audits, areas and variants, and how each figure is best written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from auditkit.records import Measurement
from auditkit.reporting.language import Texts, mark
from auditkit.reporting.numbers import Style

_PERCENT, _PLAIN = Style.PERCENT, Style.PLAIN

METRICS: dict[str, tuple[str, Style]] = {
    "accuracy": (mark("accuracy"), _PERCENT),
    "balanced_accuracy": (mark("balanced accuracy"), _PERCENT),
    "precision": (mark("precision"), _PERCENT),
    "recall": (mark("recall"), _PERCENT),
    "log_loss": (mark("log loss"), _PLAIN),
    "perplexity": (mark("perplexity"), _PLAIN),
    "bits_per_token": (mark("bits per token"), _PLAIN),
    "language-modelling/loss": (mark("loss per token"), _PLAIN),
    "language-modelling/accuracy": (mark("tokens foretold rightly"), _PERCENT),
    "mean_absolute_error": (mark("mean absolute error"), _PLAIN),
    "root_mean_squared_error": (mark("root mean squared error"), _PLAIN),
    "r2": (mark("R2"), _PLAIN),
    "bias": (mark("mean error"), _PLAIN),
    "mean_prediction": (mark("mean prediction"), _PLAIN),
    "bounded_group_loss": (mark("largest mean absolute error of a group"), _PLAIN),
    "statistical_parity": (mark("largest distance of a group's predictions from all"), Style.POINTS),
    "wasserstein": (mark("largest shift between the predictions of two groups"), _PLAIN),
    "auc": (mark("AUC"), _PLAIN),
    "brier": (mark("Brier score"), _PLAIN),
    "expected_calibration_error": (mark("expected calibration error"), _PERCENT),
    "calibration_in_the_large": (mark("stated probability minus observed share"), Style.POINTS),
    "selection_rate": (mark("selection rate"), _PERCENT),
    "base_rate": (mark("base rate"), _PERCENT),
    "true_positive_rate": (mark("true positive rate"), _PERCENT),
    "true_negative_rate": (mark("true negative rate"), _PERCENT),
    "false_positive_rate": (mark("false positive rate"), _PERCENT),
    "false_negative_rate": (mark("false negative rate"), _PERCENT),
    "positive_predictive_value": (mark("positive predictive value"), _PERCENT),
    "negative_predictive_value": (mark("negative predictive value"), _PERCENT),
    "false_discovery_rate": (mark("false discovery rate"), _PERCENT),
    "false_omission_rate": (mark("false omission rate"), _PERCENT),
    "equalized_odds": (mark("equalised odds"), _PERCENT),
    "average_odds": (mark("mean of true and false positive rate"), _PERCENT),
    "f1": (mark("F1"), _PERCENT),
    "macro_f1": (mark("F1, mean over classes"), _PERCENT),
    "matthews_correlation": (mark("Matthews correlation"), _PLAIN),
    "informedness": (mark("true positive rate minus false positive rate"), Style.POINTS),
    "treatment_ratio": (mark("false negatives for every false positive"), _PLAIN),
    "four_fifths_shortfall": (mark("selections short of four fifths of the highest rate"), _PLAIN),
    "predicted_classes.total_variation": (mark("distance between the classes predicted"), _PERCENT),
    "predicted_classes.cramers_v": (mark("association of the class predicted with the group"), _PLAIN),
    "error_rate": (mark("error rate"), _PERCENT),
    "all_rows": (mark("all rows"), _PERCENT),
    "alike_rows": (mark("among alike rows"), _PERCENT),
    "error_rate.gap": (mark("error rate of the slice minus that of the rest"), Style.POINTS),
    "confirmed_slices": (mark("slices confirmed to be worse"), _PLAIN),
    "score-fairness/auc": (mark("AUC within the group"), _PLAIN),
    "xauc": (mark("AUC across two groups, both directions"), _PLAIN),
    "bpsn_auc": (mark("AUC of the others' positive rows over the group's other rows"), _PLAIN),
    "bnsp_auc": (mark("AUC of the group's positive rows over the others' other rows"), _PLAIN),
    "largest_selection_gap": (mark("largest gap in selection at any one threshold"), Style.POINTS),
    "selection_gap_area": (mark("gap in selection, mean over all thresholds"), Style.POINTS),
    "abroca": (mark("area between ROC curves"), _PLAIN),
    "mean_score_positive": (mark("mean score of positive rows"), _PERCENT),
    "mean_score_negative": (mark("mean score of other rows"), _PERCENT),
    "calibration_intercept": (mark("calibration intercept"), _PLAIN),
    "calibration_slope": (mark("calibration slope"), _PLAIN),
    "stereotype_preference": (mark("more stereotyping sentence preferred"), _PERCENT),
    "tied_pairs": (mark("pairs without a preference"), _PERCENT),
    "left_out_pairs": (mark("pairs that could not be scored"), _PERCENT),
    "flip_rate": (mark("templates whose class changes with the term"), _PERCENT),
    "score_change": (mark("change of the score with the term, mean"), Style.POINTS),
    "own_texts_flip_rate": (mark("own texts whose class changes with a word for people"), _PERCENT),
    "own_texts_score_change": (mark("change of the score of own texts, mean"), Style.POINTS),
    "false_positive_rate.gap": (
        mark("false positive rate of the term minus that of the others"),
        Style.POINTS,
    ),
    "false_negative_rate.gap": (
        mark("false negative rate of the term minus that of the others"),
        Style.POINTS,
    ),
    "false_positive_equality_difference": (
        mark("distances of false positive rates, summed over terms"),
        _PLAIN,
    ),
    "false_negative_equality_difference": (
        mark("distances of false negative rates, summed over terms"),
        _PLAIN,
    ),
    "subgroup_auc": (mark("AUC within sentences of the term"), _PLAIN),
    "identity-terms/bpsn_auc": (
        mark("AUC of the others' toxic sentences over the term's nontoxic ones"),
        _PLAIN,
    ),
    "identity-terms/bnsp_auc": (
        mark("AUC of the term's toxic sentences over the others' nontoxic ones"),
        _PLAIN,
    ),
    "subgroup_auc.generalised_mean": (
        mark("AUC within sentences of a term, generalised mean over terms"),
        _PLAIN,
    ),
    "bpsn_auc.generalised_mean": (mark("BPSN AUC, generalised mean over terms"), _PLAIN),
    "bnsp_auc.generalised_mean": (mark("BNSP AUC, generalised mean over terms"), _PLAIN),
    "unknown_tokens": (mark("tokens that the vocabulary lacks"), _PERCENT),
    "inputs.auc": (mark("AUC of foretelling it from the inputs, linear"), _PLAIN),
    "inputs.auc.boosted": (mark("AUC of foretelling it from the inputs, trees"), _PLAIN),
    "layer.auc": (mark("AUC of foretelling it from the last hidden layer"), _PLAIN),
    "score.auc": (mark("AUC of foretelling it from the scores"), _PLAIN),
    "telling_features": (mark("inputs shown to tell it"), _PLAIN),
    "gap_carried": (mark("gap in selection that hangs on one input"), Style.POINTS),
    "attribute-flip/flip_rate": (mark("decisions that change with the attribute alone"), _PERCENT),
    "attribute-flip/score_change": (mark("movement of the score with the attribute alone"), Style.POINTS),
    "favourable_change": (mark("net change to the favourable label"), Style.POINTS),
    "membership-inference/auc": (mark("AUC of the membership attack"), _PLAIN),
    "membership-inference/advantage": (mark("advantage of the membership attack"), _PLAIN),
    "membership-inference/loss_gap": (mark("loss of non-members minus loss of members"), _PLAIN),
    "incomparable_share": (mark("rows without a counterpart in another group"), _PERCENT),
    "generalized_entropy": (mark("generalised entropy of benefits"), _PLAIN),
    "theil_index": (mark("Theil index of benefits"), _PLAIN),
    "generalized_entropy_between": (mark("generalised entropy between groups"), _PLAIN),
    "between_group_share": (mark("share of inequality that lies between groups"), _PERCENT),
    "differential_fairness": (mark("differential fairness of predictions"), _PLAIN),
    "differential_fairness_of_labels": (mark("differential fairness of labels"), _PLAIN),
    "bias_amplification": (mark("differential fairness, predictions minus labels"), _PLAIN),
    "exposure": (mark("mean exposure"), _PLAIN),
    "exposure_per_relevance": (mark("exposure per relevant row"), _PLAIN),
    "ndkl": (mark("divergence of prefixes (NDKL)"), _PLAIN),
    "prefix_test_p_value": (mark("p-value of the prefix test (FA*IR)"), _PLAIN),
    "pairwise_accuracy": (mark("pairwise accuracy"), _PERCENT),
    "n_parameters": (mark("parameters"), _PLAIN),
    "size_b": (mark("size of the weights"), _PLAIN),
    "flops": (mark("operations per prediction"), _PLAIN),
    "latency_s": (mark("time for one row"), _PLAIN),
    "latency_batch_s": (mark("time for one batch"), _PLAIN),
    "throughput": (mark("rows per second"), _PLAIN),
    "throughput_tokens": (mark("tokens per second"), _PLAIN),
    "peak_memory_b": (mark("peak memory"), _PLAIN),
    "peak_gpu_memory_b": (mark("peak GPU memory"), _PLAIN),
    "energy_j_per_1000": (mark("energy of 1,000 predictions"), _PLAIN),
    "carbon_gco2e_per_1000": (mark("carbon of 1,000 predictions"), _PLAIN),
    "training_energy_j": (mark("energy of the training"), _PLAIN),
    "convergence_delta.share_within": (mark("rows whose attributions add up"), _PERCENT),
    "convergence_delta.median": (mark("relative gap of the sum of attributions, median"), _PLAIN),
    "importance": (mark("mean absolute attribution"), _PLAIN),
    "importance_share": (mark("share of all attribution"), _PERCENT),
    "permutation_importance": (mark("rise of the cost when exchanged between rows"), _PLAIN),
    "sage_value": (mark("part in the fall of the cost (SAGE)"), _PLAIN),
    "cost_reduction": (mark("fall of the cost against a constant guess"), _PLAIN),
    "sage_efficiency_gap": (mark("sum of SAGE values minus the fall of the cost"), _PLAIN),
    "sage_precision": (mark("largest standard error over the range of SAGE values"), _PLAIN),
    "partial_dependence_range": (mark("range of the mean score (partial dependence)"), _PLAIN),
    "accumulated_effects_range": (mark("range of accumulated local effects"), _PLAIN),
    "effect_heterogeneity": (mark("spread of the effect between rows"), _PLAIN),
    "fidelity": (mark("agreement of rules with the model"), _PERCENT),
    "fidelity_r2": (mark("R2 of rules against the model"), _PLAIN),
    "n_rules": (mark("number of rules"), _PLAIN),
    "rank_agreement": (mark("agreement on the ranking of features"), _PLAIN),
    "concept_accuracy": (mark("held-out accuracy of the direction of a concept"), _PERCENT),
    "tcav_score": (mark("rows whose score rises along a concept (TCAV)"), _PERCENT),
    "concept_effect": (mark("change of the score along a concept"), _PLAIN),
    "shown_concepts": (mark("pairs of concept and class shown to be more than chance"), _PLAIN),
    "score_gap": (mark("gap in mean score"), _PLAIN),
    "gap_contribution": (mark("part of the gap in mean score"), _PLAIN),
    "unattributed_gap": (mark("not attributed"), _PLAIN),
    "proxy_index": (mark("proxy index"), _PLAIN),
    "leakage_auc": (mark("AUC of foretelling it from the attributions"), _PLAIN),
    "validity": (mark("rows with a counterfactual"), _PERCENT),
    "distance": (mark("distance to the counterfactual, in deviations"), _PLAIN),
    "features_changed": (mark("features that it changes"), _PLAIN),
    "neighbour_distance": (mark("its distance to other rows, relative to theirs"), _PLAIN),
    "constraint_violations": (mark("counterfactuals that break a constraint"), _PLAIN),
    "influence/rank_agreement": (mark("agreement of both methods on the ranking of training rows"), _PLAIN),
    "top_hundredth_share": (mark("share of all influence that 1 % of the training rows carry"), _PERCENT),
    "training_disagreement": (mark("training rows whose label the model contradicts"), _PERCENT),
    "training_disagreement.top_tenth": (
        mark("contradicted labels in the top tenth by self-influence"),
        _PERCENT,
    ),
    "method_agreement.spearman": (mark("rank correlation of two methods, mean"), _PLAIN),
    "method_agreement.top_overlap": (mark("heaviest inputs that two methods have in common"), _PERCENT),
    "removal_gain": (mark("symmetric gain of the order of removal"), _PLAIN),
    "deletion_auc": (mark("area under the curve, most relevant taken away first"), _PLAIN),
    "insertion_auc": (mark("area under the curve, least relevant taken away first"), _PLAIN),
    "sensitivity_n": (
        mark("attributions of subsets against the change of the score (sensitivity-n)"),
        _PLAIN,
    ),
    "infidelity": (mark("change under noise left unexplained (infidelity)"), _PLAIN),
    "max_sensitivity": (mark("relative movement under tiny changes (max-sensitivity)"), _PLAIN),
    "output_sensitivity": (mark("movement of the explanation per movement of the logits"), _PLAIN),
    "randomised_similarity": (mark("likeness to explanations of models drawn anew"), _PLAIN),
    "randomised_drop": (mark("loss of likeness as the model is drawn anew"), _PLAIN),
    "entropy_rise": (mark("rise of entropy as the model is drawn anew"), _PERCENT),
    "seed_agreement": (mark("rank agreement of a method with itself under other draws"), _PLAIN),
    "seed_overlap": (mark("common top units of a method with itself under other draws"), _PERCENT),
    "attribution_gini": (mark("Gini coefficient of attributions"), _PLAIN),
    "attribution_entropy": (mark("entropy of attributions, relative to equal shares"), _PERCENT),
    "units_for_80_percent": (mark("units that carry 80 % of attribution"), _PLAIN),
    "method_overlap": (mark("common top units of two methods"), _PERCENT),
    "method_sign_agreement": (mark("same sign among common top units of two methods"), _PERCENT),
    "method_rank_agreement": (mark("rank agreement of two methods"), _PLAIN),
    "model_overlap": (mark("common top units of models trained again"), _PERCENT),
    "model_sign_agreement": (mark("same sign among common top units of models trained again"), _PERCENT),
    "model_rank_agreement": (mark("rank agreement of models trained again"), _PLAIN),
    "control_similarity": (mark("likeness to explanations of models drawn anew, control"), _PLAIN),
}
"""Known metrics: name and style. A key with an audit before it is the metric of that audit alone; a metric
that is not here reads as its identifier with spaces."""

_PATTERNS: tuple[tuple[re.Pattern[str], str, Style], ...] = (
    (re.compile(r"top_(?P<top>[0-9.e+]+)"), mark("chance of a place at the top {top}"), _PLAIN),
    (re.compile(r"skew_at_(?P<top>[0-9.e+]+)"), mark("skew at the top {top}"), _PLAIN),
    (
        re.compile(r"tpr_at_fpr_(?P<fpr>[0-9.e-]+)"),
        mark("training records recognised at {fpr} false alarms"),
        _PERCENT,
    ),
)

_SUFFIXES: dict[str, tuple[str, str]] = {
    # suffix: (with attributes, without)
    "conditional": (mark("{figure}, among alike rows"), mark("{figure}, among alike rows")),
    "odds_ratio": (mark("{figure}, odds ratio across {attributes}"), mark("{figure}, odds ratio")),
    "reversals": (mark("{figure}, pairs that turn round"), mark("{figure}, pairs that turn round")),
    "subgroup_unfairness": (
        mark("{figure}, gap of a subgroup by its share"),
        mark("{figure}, gap of a subgroup by its share"),
    ),
    "excess_over_margins": (
        mark("{figure}, crossed group beyond its parts"),
        mark("{figure}, crossed group beyond its parts"),
    ),
    "ratio": (mark("{figure}, ratio across {attributes}"), mark("{figure}, variant divided by baseline")),
    "difference": (mark("{figure}, difference across {attributes}"), mark("{figure}, difference")),
    "difference_to_reference": (
        mark("{figure}, minus the reference group"),
        mark("{figure}, minus the reference group"),
    ),
    "ratio_to_reference": (
        mark("{figure}, divided by the reference group"),
        mark("{figure}, divided by the reference group"),
    ),
    "difference_to_rest": (
        mark("{figure}, minus all other groups"),
        mark("{figure}, minus all other groups"),
    ),
    "largest_class_difference": (
        mark("{figure}, difference across {attributes}, largest over classes"),
        mark("{figure}, difference, largest over classes"),
    ),
    "mean_class_difference": (
        mark("{figure}, difference across {attributes}, mean over classes"),
        mark("{figure}, difference, mean over classes"),
    ),
    "smallest": (mark("{figure}, at least"), mark("{figure}, at least")),
    "largest": (mark("{figure}, at most"), mark("{figure}, at most")),
    "flips": (mark("{figure}, labels to flip"), mark("{figure}, labels to flip")),
    "change": (mark("{figure}, change from the baseline"), mark("{figure}, change from the baseline")),
    "floor": (mark("{figure}, what chance alone gives"), mark("{figure}, what chance alone gives")),
    "excess": (mark("{figure}, beyond chance"), mark("{figure}, beyond chance")),
    "over_random": (mark("{figure}, minus random order"), mark("{figure}, minus random order")),
}

_DIFFERENCES = {
    "excess_over_margins",
    "subgroup_unfairness",
    "difference",
    "difference_to_reference",
    "difference_to_rest",
    "largest_class_difference",
    "mean_class_difference",
    "change",
    "excess",
    "over_random",
}

AREAS: dict[str, tuple[str, str]] = {
    "performance": (
        mark("Performance"),
        mark("How good are its predictions, and how honest its confidence?"),
    ),
    "fairness": (mark("Fairness"), mark("Who is treated differently?")),
    "explainability": (mark("Explainability"), mark("Why does it decide as it does?")),
    "privacy": (mark("Privacy"), mark("What does it give away about its training data?")),
    "robustness": (mark("Robustness"), mark("How little does it take to change its mind?")),
    "compute": (mark("Compute"), mark("What does it cost to run?")),
}
"""Chapters in their order: title and the question they answer."""

AUDITS: dict[str, str] = {
    "performance": mark("Predictions"),
    "language-modelling": mark("Next tokens"),
    "regression-error": mark("Foretold numbers"),
    "calibration": mark("Calibration"),
    "group-fairness": mark("Groups"),
    "conditional-disparity": mark("Alike rows"),
    "inequality": mark("Inequality"),
    "ranking-fairness": mark("Rankings"),
    "worst-slices": mark("Slices"),
    "score-fairness": mark("Scores by group"),
    "regression-fairness": mark("Foretold numbers by group"),
    "proxies": mark("Proxies"),
    "attribute-flip": mark("Exchanged attribute"),
    "disparity-bounds": mark("Bounds of gaps"),
    "stereotype-pairs": mark("Stereotypes"),
    "identity-terms": mark("Identity terms"),
    "attribution-quality": mark("Trust in the attributions"),
    "attribution": mark("Attributions"),
    "concepts": mark("Concepts"),
    "gap-decomposition": mark("Gaps by input"),
    "feature-importance": mark("Feature importance"),
    "feature-effects": mark("Feature effects"),
    "surrogate": mark("Rules"),
    "counterfactuals": mark("Counterfactuals"),
    "influence": mark("Training rows"),
    "membership-inference": mark("Membership inference"),
    "footprint": mark("Footprint"),
}

VARIANT_KINDS: dict[str, str] = {
    "baseline": mark("the model as given"),
    "dp-retrain": mark("retrained with differential privacy"),
    "quantise": mark("quantised"),
    "prune": mark("pruned"),
    "precision": mark("reduced precision"),
    "mitigate": mark("bias mitigated"),
}


@dataclass(frozen=True, slots=True)
class MetricName:
    """A metric taken apart: ``true_positive_rate.difference`` is a base and a suffix."""

    base: str
    suffixes: tuple[str, ...]

    @classmethod
    def parse(cls, metric: str) -> "MetricName":
        """Take known suffixes off the end.

        >>> MetricName.parse("tpr_at_fpr_0.001.change")
        MetricName(base='tpr_at_fpr_0.001', suffixes=('change',))
        """
        suffixes: list[str] = []
        base = metric
        while base not in METRICS and (parts := base.rpartition("."))[2] in _SUFFIXES and parts[0]:
            suffixes.insert(0, parts[2])
            base = parts[0]
        return cls(base, tuple(suffixes))


def style_of(metric: str) -> Style:
    """How the figures of a metric are written: rates in percent, their differences in points."""
    name = MetricName.parse(metric)
    style = METRICS[name.base][1] if name.base in METRICS else _pattern_style(name.base)
    if {"ratio", "ratio_to_reference", "flips", "odds_ratio", "reversals"} & set(name.suffixes):
        return Style.PLAIN
    is_difference = bool(_DIFFERENCES & set(name.suffixes))
    return Style.POINTS if is_difference and style is Style.PERCENT else style


def metric_label(texts: Texts, metric: str, across: tuple[str, ...] = (), audit: str = "") -> str:
    """What a metric is called, without the group."""
    name = MetricName.parse(metric)
    label = _base_label(texts, name.base, audit)
    is_across_named = False
    for suffix in name.suffixes:
        with_attributes, without = _SUFFIXES[suffix]
        template = with_attributes if across else without
        is_across_named |= "{attributes}" in template
        label = texts.text(template, figure=label, attributes=_attributes(across))
    if across and not is_across_named:
        label = texts.text("{figure}, across {attributes}", figure=label, attributes=_attributes(across))
    return label


_DIMENSIONS = {
    "class": mark("class"),
    "concept": mark("concept"),
    "control": mark("control"),
    "feature": mark("feature"),
    "imputer": mark("imputer"),
    "method": mark("method"),
    "methods": mark("methods"),
}


def group_label(texts: Texts, group: Mapping[str, str]) -> str:
    """A cell of the population: ``sex: Female, race: Black``."""
    return texts.list_of(f"{_dimension(texts, name)}: {value}" for name, value in group.items())


def cell_label(texts: Texts, group: Mapping[str, str]) -> str:
    """The same within a sentence: ``sex Female, race Black``."""
    return texts.list_of(f"{_dimension(texts, name)} {value}" for name, value in group.items())


def _dimension(texts: Texts, name: str) -> str:
    """What an audit itself tells apart, in the reader's language; attributes of the data as they are."""
    return texts.text(_DIMENSIONS[name]) if name in _DIMENSIONS else name


def figure_label(texts: Texts, measurement: Measurement, audit: str) -> str:
    """The whole name of a figure: metric, disparity and group."""
    label = metric_label(texts, measurement.metric, measurement.across, audit)
    if not measurement.group:
        return label
    return texts.text("{figure} ({group})", figure=label, group=cell_label(texts, measurement.group))


def address_label(texts: Texts, figure: str) -> str:
    """The name of a figure of which only the address is known.

    >>> from auditkit.reporting.language import texts_for
    >>> address_label(texts_for("en"), "group-fairness/selection_rate.ratio[sex]@dp-3")
    'selection rate, ratio across sex'
    """
    bare = figure.rpartition("@")[0] or figure
    audit, _, rest = bare.partition("/")
    metric, _, inside = rest.partition("[")
    cells = [cell for cell in inside.rstrip("]").split(",") if cell]
    across = tuple(cell for cell in cells if "=" not in cell)
    group = dict(cell.split("=", 1) for cell in cells if "=" in cell)
    label = metric_label(texts, metric or bare, across, audit)
    if not group:
        return label
    return texts.text("{figure} ({group})", figure=label, group=cell_label(texts, group))


def audit_title(texts: Texts, audit: str) -> str:
    """What an audit is called as a heading."""
    return texts.text(AUDITS[audit]) if audit in AUDITS else _spaced(audit).capitalize()


def area_title(texts: Texts, area: str) -> str:
    """What a chapter is called."""
    return texts.text(AREAS[area][0]) if area in AREAS else _spaced(area).capitalize()


def variant_kind(texts: Texts, kind: str) -> str:
    """What was done to make a subject."""
    return texts.text(VARIANT_KINDS[kind]) if kind in VARIANT_KINDS else _spaced(kind)


def readable(texts: Texts, name: str) -> str:
    """The label of a metric whose identifier stands where a name does; other names as they are."""
    return metric_label(texts, name) if MetricName.parse(name).base in METRICS else name


def sentence_case(text: str) -> str:
    """The first letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def _base_label(texts: Texts, base: str, audit: str) -> str:
    for key in (f"{audit}/{base}", base):
        if key in METRICS:
            return texts.text(METRICS[key][0])
    for pattern, template, _ in _PATTERNS:
        found = pattern.fullmatch(base)
        if found:
            parts = found.groupdict()
            values = {key: _as_percent(part) if key == "fpr" else part for key, part in parts.items()}
            return texts.text(template, **values)
    return _spaced(base)


def _pattern_style(base: str) -> Style:
    return next((style for pattern, _, style in _PATTERNS if pattern.fullmatch(base)), Style.PLAIN)


def _as_percent(rate: str) -> str:
    try:
        return f"{float(rate) * 100:.10g}\N{NO-BREAK SPACE}%"
    except ValueError:
        return rate


def _attributes(across: tuple[str, ...]) -> str:
    return " × ".join(across)


def _spaced(identifier: str) -> str:
    return identifier.replace("_", " ").replace("-", " ").replace(".", ", ").strip()
