"""Scenes of counterfactuals: rows of numbers, people, a small network, and what a search finds."""

import numpy as np
import torch
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.counterfactuals.best import Best, Search
from auditkit.audits.explainability.counterfactuals.constraints import Constraints
from auditkit.audits.explainability.counterfactuals.distances import Distance
from auditkit.audits.explainability.counterfactuals.found import checked
from auditkit.audits.explainability.counterfactuals.judge import Deadline, Judge
from auditkit.audits.explainability.counterfactuals.read_features import read_features
from auditkit.audits.explainability.counterfactuals.search import Pool, find_counterfactuals
from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn
from auditkit.data.encoding import encode
from auditkit.data.preprocessing import CategoricalFeature, NumericFeature, TablePreprocessing
from auditkit.data.rows import Rows
from auditkit.models.given_weights import linear_layer
from auditkit.subjects.torch_subject import TorchSubject

CONTEXT = AuditContext(seed=3)
FREE = Constraints(frozenset(), frozenset(), {}, {})


def rows_of_numbers(inputs, *, names=(), classes=("no", "yes"), groups=None, positive="yes"):
    inputs = np.asarray(inputs, dtype=np.float32)
    names = tuple(names) or tuple(f"x{index}" for index in range(inputs.shape[1]))
    return Dataset(
        name="made",
        source="memory",
        split=None,
        inputs=torch.from_numpy(inputs),
        y_true=np.zeros(len(inputs), dtype=np.int64),
        classes=classes,
        positive=positive,
        features=FeatureSpace(names, tuple(range(inputs.shape[1]))),
        sensitive_features={key: GroupColumn.from_values(value) for key, value in (groups or {}).items()},
    )


def searched(subject, data, constraints=FREE, *, norm="L1", n_steps=20, deadline=None, wanted=None):
    """What is found for every row that is not predicted ``wanted`` (the last class)."""
    table = read_features(data, getattr(subject, "preprocessing", None))
    constraints.check(table)
    inputs = data.inputs.double().numpy()
    said = subject.predict(data, batch_size=64).log_probabilities
    wanted = len(data.classes) - 1 if wanted is None else wanted
    rows = np.flatnonzero(said.argmax(axis=1) != wanted)
    values = table.decode(inputs)
    judge = Judge(
        subject=subject,
        data=data.take(rows),
        table=table,
        own=values[rows],
        own_inputs=inputs[rows],
        target=np.full(len(rows), wanted),
        deadline=deadline or Deadline.after(3600),
    )
    search = Search(
        judge, constraints.bounds(table, judge.own), Distance.of(table, norm), Best.none_of(judge.own)
    )
    n = find_counterfactuals(search, Pool(values, said.argmax(axis=1)), n_steps=n_steps)
    return checked(search, constraints, said[rows], n)


PEOPLE = TablePreprocessing(
    target="decision",
    classes=("refused", "granted"),
    features=(
        NumericFeature(name="age", mean=40.3, scale=11.7, fill=38.5, missing_indicator=True),
        CategoricalFeature(name="job", levels=("clerk", "nurse", "cook", "unknown")),
        NumericFeature(name="income", mean=31.27, scale=9.1, fill=30.0),
        CategoricalFeature(name="sex", levels=("female", "male")),
        NumericFeature(name="loans", mean=1.9, scale=1.3, fill=2.0),
    ),
)


def people(n=60, seed=0):
    """Rows in the units of a reader, encoded: whole ages, some unknown; incomes that are continuous."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n).astype(float)
    age[rng.random(n) < 0.1] = np.nan
    jobs = np.array(["clerk", "nurse", "cook", None, "diver"], dtype=object)
    sex = np.array(["female", "male"], dtype=object)[rng.integers(0, 2, n)]
    columns = {
        "age": age,
        "job": jobs[rng.integers(0, 5, n)],
        "income": rng.lognormal(3.4, 0.3, n),
        "sex": sex,
        "loans": rng.poisson(2, n).astype(float),
    }
    rows = Rows(
        name="people",
        source="memory",
        split="test",
        target="decision",
        labels=np.array(["refused"] * n, dtype=object),
        columns=columns,
        sensitive={"sex": sex},
        positive="granted",
    )
    return columns, encode(rows, PEOPLE)


def network(n_inputs, *, seed=0, hidden=12, classes=("refused", "granted"), preprocessing=None, bias=0.0):
    rng = np.random.default_rng(seed)

    def layer(n_out, n_in):
        weight = rng.normal(size=(n_out, n_in)) * (2 / n_in) ** 0.5
        return linear_layer(
            torch.from_numpy(weight).float(), torch.from_numpy(rng.normal(size=n_out)).float() * 0.1
        )

    last = layer(len(classes), hidden)
    with torch.no_grad():
        last.bias[-1] -= bias
    module = nn.Sequential(layer(hidden, n_inputs), nn.ReLU(), last)
    return TorchSubject.build(
        module, architecture=Architecture(name="test"), classes=classes, preprocessing=preprocessing
    )


def figure(output, metric, **group):
    (found,) = [one for one in output.measurements if one.metric == metric and one.group == group]
    return found


NAMES = ("age", "job", "income", "sex", "loans")
