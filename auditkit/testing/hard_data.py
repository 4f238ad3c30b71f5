"""Checks on rows that are few, one-sided or named by an enemy: figures, `missing`, or an error of ours."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn, TokenSpace
from auditkit.records import AuditResult
from auditkit.store import as_json
from auditkit.testing.planted import linear_subject, tiny_dataset, tiny_subject
from auditkit.testing.scene import Scene, differences, require, written_out
from auditkit.testing.values import linear_value_subject

HOSTILE = (
    "\x00\n\t\r",
    "<script>alert('1')</script>",
    "[a=b],*@baseline~other/x",
    "{0.__class__}{missing}%s",
    "\u202e𝕬 中文",
)
"""In sorted order, as the levels of a group are."""


def _first_rows(data: Dataset, *, of_each: int) -> Dataset:
    """``of_each`` members and non-members; rows in order where membership is unknown."""
    if data.is_member is None:
        return data.take(np.arange(of_each))
    chosen = [np.flatnonzero(data.is_member == side)[:of_each] for side in (True, False)]
    return data.take(np.concatenate(chosen))


def _one_group(data: Dataset, *, keep_levels: bool) -> Dataset:
    columns = {
        name: GroupColumn(column.levels if keep_levels else column.levels[:1], np.zeros_like(column.codes))
        for name, column in data.sensitive_features.items()
    }
    return replace(data, sensitive_features=columns)


HARD_DATA: Mapping[str, Callable[[Dataset], Dataset]] = {
    "one row of each kind": lambda data: _first_rows(data, of_each=1),
    "two rows of each kind": lambda data: _first_rows(data, of_each=2),
    "one class": lambda data: replace(data, y_true=np.zeros_like(data.y_true)),
    "only the favourable class": lambda data: replace(
        data, y_true=np.full_like(data.y_true, data.positive_index or 0)
    ),
    "one group": lambda data: _one_group(data, keep_levels=False),
    "a group without rows": lambda data: _one_group(data, keep_levels=True),
    "uneven weights, some of them zero": lambda data: replace(
        data, sample_weight=np.arange(len(data), dtype=np.float64) % 3
    ),
    "weights that are all zero": lambda data: replace(data, sample_weight=np.zeros(len(data))),
}


def handles(scene: Scene, *, name: str, rows: Callable[[Dataset], Dataset]) -> None:
    """Figures, figures that are missing with a reason, or a clear refusal; never a crash."""
    outcome = scene.on(rows(scene.data)).run()
    outcome.require_no_crash(name)
    for result in outcome.results:
        _require_reasons(name, result)


def handles_constant_predictions(scene: Scene) -> None:
    """A subject that says the same of every row."""
    columns = int(np.prod(scene.data.inputs.shape[1:]))
    if not scene.data.inputs.is_floating_point():
        return
    if scene.data.task == "regression":
        same = linear_value_subject(np.zeros(columns))
        outcome = scene.of(same, linear_value_subject(np.zeros(columns), name="other")).run()
        outcome.require_no_crash("constant predictions")
        return
    silent = linear_subject(np.zeros((len(scene.data.classes), columns)), classes=scene.data.classes)
    outcome = scene.of(silent, replace(silent, card=silent.card.model_copy(update={"name": "other"}))).run()
    outcome.require_no_crash("constant predictions")


def handles_three_classes(scene: Scene) -> None:
    """More than two classes, with and without a favourable one."""
    three = scene.of(tiny_subject(3), tiny_subject(3, seed=1, name="other"))
    for data in (tiny_dataset(classes=3), replace(tiny_dataset(classes=3), positive=None)):
        three.on(data).run().require_no_crash("three classes")


def survives_hostile_names(scene: Scene) -> None:
    """Names of groups, classes and features are text: they change no figure and break no record."""
    data = scene.data
    tame = _renamed(data, tuple(f"{index}" for index in range(len(HOSTILE))))
    wild = _renamed(data, HOSTILE)
    before, after = scene.on(tame).run(), scene.on(wild).run()
    after.require_no_crash("hostile names")
    for result in after.results:
        require(AuditResult.model_validate_json(as_json(result)) == result, "hostile names break the record")
        list(written_out(result))
    numbers = [
        {str(index): figure for index, figure in enumerate(scene.stable(outcome).values())}
        for outcome in (before, after)
    ]
    wrong = list(differences(*numbers))
    require(not wrong, "renaming groups, classes and features changes figures:\n" + "\n".join(wrong))


def _renamed(data: Dataset, names: tuple[str, ...]) -> Dataset:
    """Five groups, as many classes and features as there are, all under these names.

    The attributes keep theirs: an audit may draw from a stream that is named after one.
    """
    codes = np.arange(len(data)) % len(names)
    columns = {"group": GroupColumn(names, codes), HOSTILE[1]: GroupColumn(names, codes[::-1].copy())}
    classes = tuple(f"{names[index % len(names)]}{index}" for index in range(len(data.classes)))
    features = tuple(f"{names[index % len(names)]}{index}" for index in range(len(data.features.names)))
    return replace(
        data,
        classes=classes,
        positive=None if data.positive_index is None else classes[data.positive_index],
        features=FeatureSpace(features, data.features.owner, data.features.image_shape, _tokens(data, names)),
        sensitive_features=columns,
    )


def _tokens(data: Dataset, names: tuple[str, ...]) -> TokenSpace | None:
    space = data.features.tokens
    if space is None:
        return None
    texts = tuple(f"{names[index % len(names)]}{index}" for index in range(len(space.vocabulary)))
    return TokenSpace(texts, space.padding)


def _require_reasons(name: str, result: AuditResult) -> None:
    if result.status != "measured":
        require(bool(str(result.reason or "").strip()), f"{name}: {result.status} without a reason")
