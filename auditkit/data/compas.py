"""COMPAS: scores and two-year recidivism in Broward County (ProPublica 2016, ``compas-analysis``)."""

from dataclasses import replace

import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.published import PublishedFile, differences, locate
from auditkit.data.roles import rows_of_table, with_defaults
from auditkit.data.rows import Rows
from auditkit.data.splits import held_out
from auditkit.data.table import read_table

FILE = PublishedFile(
    "compas",
    "compas-scores-two-years.csv",
    "c451db85908b2f7fef1d83203bedf6b71ecda0d5af468d82ae62178f91d0cc7d",
    "https://raw.githubusercontent.com/propublica/compas-analysis/master/compas-scores-two-years.csv",
)
FEATURES = (
    *("age", "sex", "race", "juv_fel_count", "juv_misd_count", "juv_other_count"),
    *("priors_count", "c_charge_degree"),
)
"""What is known of a defendant at the screening. Never the scores, nor anything that happened later."""

PREDICTION = "predicted"
TEST_FRACTION = 0.3


def compas_rows(config: DataConfig, split: str) -> Rows:
    """All 7,214 rows in file order, or the 30 % held out, or the others.

    Unless the config says otherwise the label is ``two_year_recid``, the favourable one ``0``, race and sex
    are sensitive and ``age_cat`` a control feature. The column ``predicted`` is added: ``1`` where the
    score is not Low, as in ProPublica's analysis.
    """
    full = with_defaults(
        config,
        target="two_year_recid",
        positive="0" if config.target in (None, "two_year_recid") else None,
        sensitive_features=("race", "sex"),
        control_features=("age_cat",),
        features=FEATURES,
        prediction=PREDICTION if config.target in (None, "two_year_recid") and config.score is None else None,
    )
    path = locate(FILE)
    table = read_table(path).derived(
        PREDICTION, "CASE WHEN {score_text} = 'Low' THEN '0' WHEN {score_text} IS NOT NULL THEN '1' END"
    )
    rows = rows_of_table(table, full, name="COMPAS", split=split)
    rows = replace(rows, statements=differences([(FILE, path)]))
    if split == "all":
        return rows
    test = held_out(len(rows), TEST_FRACTION, name="compas", person=rows.person)
    return rows.take(np.flatnonzero(test if split == "test" else ~test))
