"""Shapley values, ablation and occlusion against their definitions, their axioms and Captum."""

from dataclasses import replace
from itertools import permutations
from math import factorial

import numpy as np
import pytest
import torch
from captum.attr import FeatureAblation, Occlusion
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows, with_tokens
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.methods.coalition_design import all_coalitions, coalition_design
from auditkit.audits.explainability.methods.feature_ablation import feature_ablation
from auditkit.audits.explainability.methods.kernel_shap import kernel_shap
from auditkit.audits.explainability.methods.occlusion import occlusion
from auditkit.audits.explainability.methods.permutation_shapley import permutation_shapley
from auditkit.audits.explainability.methods.players import players_of, remark_on_players
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.execution.isolation import unchanged
from auditkit.records import Message
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import (
    tiny_dataset,
    tiny_language_dataset,
    tiny_language_subject,
    tiny_subject,
    tiny_text_dataset,
    tiny_text_subject,
)
from tests.tolerances import FLOAT, SAME_RUN

PERTURBING = ("kernel-shap", "permutation-shapley", "feature-ablation", "occlusion")
CAPTUM = {"rel": 1e-5, "abs": 1e-5}


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def rows_of(score, inputs, *, target=None, features=FeatureSpace(()), unit_of=None, batch_size=64, **more):  # noqa: B008 - frozen
    """Rows explained from a baseline of zeros, each element a unit of its own."""
    unit_of = torch.arange(inputs[0].numel()).view(inputs.shape[1:]) if unit_of is None else unit_of
    return ExplainedRows(
        score=score,
        inputs=inputs,
        baseline=torch.zeros_like(inputs[:1]),
        target=torch.zeros(len(inputs), dtype=torch.int64) if target is None else target,
        unit_of=unit_of,
        present=np.ones((len(inputs), int(unit_of.max()) + 1), dtype=np.bool_),
        batch_size=batch_size,
        score_meaning=Message(text=""),
        baseline_meaning=Message(text=""),
        subject=tiny_subject(),
        features=features,
        **more,
    )


def game_of(worth, n_players, **more):
    """One row; ``worth[c]`` is what the coalition with the bits of ``c`` wins."""
    table = torch.as_tensor(worth, dtype=torch.float64)
    bits = 2 ** torch.arange(n_players)
    return rows_of(
        lambda inputs, _target: table[(inputs.long() * bits).sum(dim=1)],
        torch.ones(1, n_players, dtype=torch.float64),
        **more,
    )


def by_definition(worth, n_players):
    """Mean over all orders of what each player adds on joining."""
    values = np.zeros(n_players)
    for order in permutations(range(n_players)):
        joined = 0
        for player in order:
            values[player] += worth[joined | 1 << player] - worth[joined]
            joined |= 1 << player
    return values / factorial(n_players)


def network(n_inputs, seed=0, hidden=16):
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        return nn.Sequential(nn.Linear(n_inputs, hidden), nn.ReLU(), nn.Linear(hidden, 3)).eval()


def network_rows(n=6, d=12, seed=0, **more):
    module = network(d, seed).double()
    inputs = torch.randn(n, d, generator=drawn(seed + 1), dtype=torch.float64)
    return module, rows_of(lambda x, _target: module(x)[:, 1], inputs, **more)


def table_of(n_players, seed):
    return np.random.default_rng(seed).normal(size=2**n_players)


# --- exactness -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_players", [1, 2, 3, 4, 5, 6, 7])
def test_with_all_coalitions_the_regression_gives_the_mean_over_all_orders(n_players):
    worth = table_of(n_players, n_players)
    found = kernel_shap(game_of(worth, n_players), drawn(), n_coalitions=2**n_players)
    assert found[0] == pytest.approx(by_definition(worth, n_players), **FLOAT)


@pytest.mark.parametrize("n_players", [8, 10, 12])
def test_with_all_coalitions_more_players_get_the_weighted_sum_over_sets_of_others(n_players):
    worth, codes = table_of(n_players, n_players), np.arange(2**n_players)
    sizes = all_coalitions(n_players).sum(axis=1)
    found = kernel_shap(game_of(worth, n_players), drawn(), n_coalitions=2**n_players)
    for player in range(n_players):
        without = codes[codes >> player & 1 == 0]
        weight = [
            factorial(k) * factorial(n_players - 1 - k) / factorial(n_players)
            for k in sizes[without].tolist()
        ]
        added = worth[without | 1 << player] - worth[without]
        assert found[0, player] == pytest.approx(float(added @ weight), **FLOAT)


@pytest.mark.parametrize("n_players", [1, 2, 3, 4])
def test_with_few_players_all_orders_are_taken_and_nothing_is_estimated(n_players):
    worth = table_of(n_players, n_players)
    found = permutation_shapley(game_of(worth, n_players), drawn(), n_coalitions=2048)
    assert found.values[0] == pytest.approx(by_definition(worth, n_players), **FLOAT)
    assert not found.standard_errors.any()


def test_no_coalition_is_asked_for_twice_and_none_beyond_the_budget():
    asked = []
    worth = torch.from_numpy(table_of(9, 0))

    def score(inputs, _target):
        codes = (inputs.long() * 2 ** torch.arange(9)).sum(dim=1)
        asked.extend(codes.tolist())
        return worth[codes]

    rows = rows_of(score, torch.ones(1, 9, dtype=torch.float64), batch_size=16)
    kernel_shap(rows, drawn(), n_coalitions=512)
    assert sorted(asked) == list(range(512))
    asked.clear()
    kernel_shap(rows, drawn(), n_coalitions=130)
    assert len(set(asked)) <= 130
    assert len(asked) - len(set(asked)) < 16, "only the last batch is filled up"


@settings(max_examples=30, deadline=None)
@given(n_players=st.integers(2, 24), budget=st.integers(2, 400), seed=st.integers(0, 99))
def test_a_design_holds_pairs_of_complements_with_all_the_weight(n_players, budget, seed):
    design = coalition_design(n_players, budget, np.random.default_rng(seed))
    sizes = design.coalitions.sum(axis=1)
    assert ((sizes > 0) & (sizes < n_players)).all()
    assert len(design.coalitions) + 2 <= max(budget, 4 * n_players)
    assert design.weights.sum() == pytest.approx(1.0, **FLOAT)
    half = len(sizes) // 2
    assert (design.coalitions[:half] == ~design.coalitions[half:]).all()
    assert design.is_complete == (2**n_players <= max(budget, 4 * n_players))
    joined = design.coalitions.astype(float)
    assert np.linalg.matrix_rank(joined) == n_players


@settings(max_examples=20, deadline=None)
@given(n=st.integers(2, 20), budget=st.integers(20, 300), seed=st.integers(0, 99))
def test_whatever_the_budget_values_add_up_to_the_change_of_the_score(n, budget, seed):
    module, rows = network_rows(d=n, seed=seed)
    with torch.no_grad():
        change = (module(rows.inputs) - module(rows.baseline))[:, 1].numpy()
    sampled = permutation_shapley(rows, drawn(seed), n_coalitions=budget)
    for values in (kernel_shap(rows, drawn(seed), n_coalitions=budget), sampled.values):
        assert values.sum(axis=1) == pytest.approx(change, rel=0, abs=1e-6)


# --- axioms ----------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(n=st.integers(3, 9), seed=st.integers(0, 999), budget=st.sampled_from([8, 60, 600]))
def test_a_player_who_never_adds_anything_gets_nothing_from_all_orders(n, seed, budget):
    worth, dummy = table_of(n, seed), seed % n
    codes = np.arange(2**n)
    worth = worth[codes & ~(1 << dummy)]
    assert permutation_shapley(game_of(worth, n), drawn(seed), n_coalitions=budget).values[0, dummy] == 0.0
    assert kernel_shap(game_of(worth, n), drawn(seed), n_coalitions=2**n)[0, dummy] == pytest.approx(
        0.0, abs=1e-9
    )


@settings(max_examples=25, deadline=None)
@given(n=st.integers(3, 9), seed=st.integers(0, 999))
def test_players_who_add_the_same_get_the_same(n, seed):
    worth, codes = table_of(n, seed), np.arange(2**n)
    swapped = (codes & ~3) | (codes >> 1 & 1) | (codes & 1) << 1
    worth = (worth + worth[swapped]) / 2
    found = kernel_shap(game_of(worth, n), drawn(seed), n_coalitions=2**n)[0]
    assert found[0] == pytest.approx(found[1], **FLOAT)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(3, 9), seed=st.integers(0, 999), budget=st.sampled_from([8, 60, 600]))
def test_the_values_of_a_sum_of_games_are_the_sum_of_their_values(n, seed, budget):
    first, second = table_of(n, seed), table_of(n, seed + 1000)
    for values in (
        lambda worth: kernel_shap(game_of(worth, n), drawn(seed), n_coalitions=budget),
        lambda worth: permutation_shapley(game_of(worth, n), drawn(seed), n_coalitions=budget).values,
    ):
        assert values(2 * first - 3 * second) == pytest.approx(
            2 * values(first) - 3 * values(second), rel=1e-7, abs=1e-9
        )


def test_additive_scores_are_found_exactly_from_any_sample():
    weights = torch.linspace(-2, 2, 24, dtype=torch.float64)
    inputs = torch.randn(5, 24, generator=drawn(), dtype=torch.float64)
    rows = rows_of(lambda x, _target: x @ weights, inputs)
    expected = (inputs * weights).numpy()
    sampled = permutation_shapley(rows, drawn(), n_coalitions=2)
    for values in (
        kernel_shap(rows, drawn(), n_coalitions=100),
        sampled.values,
        feature_ablation(rows),
        occlusion(rows),
    ):
        assert values == pytest.approx(expected, rel=1e-7, abs=1e-9)
    assert sampled.standard_errors == pytest.approx(0.0, abs=1e-12)


def test_standard_errors_are_those_of_repeated_draws():
    rows = game_of(table_of(8, 3), 8)
    found = [permutation_shapley(rows, drawn(seed), n_coalitions=300) for seed in range(200)]
    spread = np.std([one.values for one in found], axis=0)
    claimed = np.sqrt(np.mean([one.standard_errors**2 for one in found], axis=0))
    assert claimed == pytest.approx(spread, rel=0.25)


# --- batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PERTURBING)
def test_neither_the_batch_size_nor_the_rows_beside_it_change_what_a_row_gets(name):
    _, rows = network_rows(n=4, d=12)
    found = METHODS[name].attribute(rows, drawn())
    for size in (50, 4096):
        other = METHODS[name].attribute(replace(rows, batch_size=size), drawn())
        assert other == pytest.approx(found, **SAME_RUN)
    fewer = replace(rows, inputs=rows.inputs[2:4], target=rows.target[2:4], present=rows.present[2:4])
    assert METHODS[name].attribute(fewer, drawn()) == pytest.approx(found[2:4], **SAME_RUN)


def test_no_batch_is_larger_than_allowed():
    sizes = []
    _, rows = network_rows(n=5, d=9, batch_size=37)
    counted = replace(rows, score=lambda x, t: sizes.append(len(x)) or rows.score(x, t))
    for name in PERTURBING:
        METHODS[name].attribute(counted, drawn())
    assert max(sizes) == 37


# --- Captum ----------------------------------------------------------------------------------------


def test_ablation_of_a_table_agrees_with_captum_when_columns_belong_together():
    module, rows = network_rows(d=6)
    owner = torch.tensor([0, 1, 1, 2, 3, 3])
    rows = replace(rows, unit_of=owner, present=np.ones((6, 4), dtype=np.bool_))
    theirs = FeatureAblation(module).attribute(rows.inputs, target=1, feature_mask=owner[None])
    assert feature_ablation(rows) == pytest.approx(theirs[:, [0, 1, 3, 4]].detach().numpy(), **CAPTUM)


def picture_rows(shape, n=3):
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.LazyLinear(3)).double().eval()
    inputs = torch.randn(n, 1, *shape, generator=drawn(), dtype=torch.float64)
    with torch.random.fork_rng(), torch.no_grad():
        torch.random.manual_seed(0)
        module(inputs)
    features = FeatureSpace((), (), shape)
    return module, rows_of(lambda x, _target: module(x)[:, 2], inputs, features=features)


@pytest.mark.parametrize(("window", "stride"), [((3, 3), (1, 1)), ((4, 2), (3, 2)), ((3, 4), (2, 3))])
def test_occlusion_of_pictures_agrees_with_captum(window, stride):
    module, rows = picture_rows((9, 7))
    theirs = Occlusion(module).attribute(
        rows.inputs, target=2, sliding_window_shapes=(1, *window), strides=(1, *stride)
    )
    ours = occlusion(rows, window=window, stride=stride).reshape(theirs.shape)
    assert ours == pytest.approx(theirs.detach().numpy(), **CAPTUM)


def test_occlusion_of_texts_hides_neighbouring_tokens_as_captum_hides_neighbouring_places():
    data = tiny_text_dataset(4)
    tokens = data.features.tokens
    full = replace(data, inputs=torch.where(data.inputs == tokens.padding, 40, data.inputs))
    rows = explained_rows(
        tiny_text_subject(), full, np.zeros(4, dtype=np.int64), explained="logit", batch_size=64
    )
    theirs = Occlusion(rows.score).attribute(
        rows.inputs,
        baselines=rows.baseline,
        additional_forward_args=(rows.target,),
        sliding_window_shapes=(3, rows.inputs.shape[2]),
    )
    assert occlusion(rows) == pytest.approx(theirs[:, :, 0].detach().numpy(), **CAPTUM)


def test_pixels_of_a_large_picture_are_ablated_in_squares_that_share_the_loss():
    module, rows = picture_rows((20, 18))
    down, right = np.arange(20) // 2, np.arange(18) // 2
    squares = torch.from_numpy(down[:, None] * 9 + right)
    theirs = FeatureAblation(module).attribute(rows.inputs, target=2, feature_mask=squares[None, None])
    ours = feature_ablation(rows, most_alone=100).reshape(theirs.shape)
    assert ours * 4 == pytest.approx(theirs.detach().numpy(), **CAPTUM)
    assert remark_on_players(rows, 100).values == {"side": 2}
    assert remark_on_players(rows, 360) is None


# --- units that play together ----------------------------------------------------------------------


def test_squares_of_a_picture_get_the_exact_values_of_the_game_between_squares():
    weights = torch.randn(8, 8, generator=drawn(), dtype=torch.float64)
    inputs = torch.randn(4, 8, 8, generator=drawn(1), dtype=torch.float64)
    features = FeatureSpace((), (), (8, 8))
    rows = rows_of(lambda x, _target: (x * weights).sum(dim=(1, 2)), inputs, features=features)
    found = kernel_shap(rows, drawn(), most_players=4).reshape(4, 8, 8)
    for index in range(4):
        row, column = divmod(index, 2)
        part = (slice(None), slice(4 * row, 4 * row + 4), slice(4 * column, 4 * column + 4))
        of_square = (inputs * weights)[part].sum(dim=(1, 2), keepdim=True).numpy() / 16
        assert found[part] == pytest.approx(np.broadcast_to(of_square, (4, 4, 4)), **FLOAT)


def test_long_texts_are_cut_into_stretches_of_like_length_and_short_ones_are_not():
    data = tiny_text_dataset(20)
    subject = tiny_text_subject()
    rows = explained_rows(subject, data, np.zeros(20, dtype=np.int64), explained="logit", batch_size=64)
    players = players_of(rows, 16)
    lengths = rows.present.sum(axis=1)
    assert (players.n_players == np.minimum(lengths, 16)).all()
    for of_unit, length in zip(players.of_unit, lengths, strict=True):
        sizes = np.bincount(of_unit[of_unit >= 0])
        assert sizes.sum() == length
        assert sizes.max() - sizes.min() <= 1
        assert (np.diff(of_unit[of_unit >= 0]) >= 0).all()
    assert remark_on_players(rows, 16).values == {"most": 16}
    assert remark_on_players(rows, 64) is None


def test_units_that_equal_the_baseline_are_known_to_add_nothing_and_cost_nothing():
    module, rows = network_rows(n=4, d=30)
    inputs = rows.inputs.clone()
    inputs[0, 8:] = 0.0
    inputs[1] = 0.0
    n_asked = []
    rows = replace(rows, inputs=inputs, score=lambda x, t: n_asked.append(len(x)) or module(x)[:, 1])
    found = kernel_shap(rows, drawn(), n_coalitions=256)
    assert sum(n_asked) <= 256 * 3 + 16
    assert not found[0, 8:].any()
    assert not found[1].any()
    few = rows_of(lambda x, _t: module(torch.cat([x, x.new_zeros(len(x), 22)], 1))[:, 1], inputs[:1, :8])
    assert found[0, :8] == pytest.approx(kernel_shap(few, drawn(), n_coalitions=256)[0], **FLOAT)


# --- tokens ----------------------------------------------------------------------------------------


def test_the_ablation_of_a_token_is_the_loss_when_its_vector_becomes_that_of_padding():
    subject, data = tiny_language_subject(), with_tokens(tiny_language_dataset(12))
    target = data.y_true
    rows = explained_rows(subject, data, target, explained="log_odds", batch_size=32)
    found = feature_ablation(rows)
    lengths = rows.present.sum(axis=1)
    with torch.no_grad():
        whole = rows.score(rows.inputs, rows.target)
        for place in range(rows.inputs.shape[1]):
            without = rows.inputs.clone()
            without[:, place] = rows.baseline[:, place]
            expected = torch.where(
                torch.from_numpy(lengths > place), whole - rows.score(without, rows.target), 0.0
            )
            assert found[:, place] == pytest.approx(expected.numpy(), abs=1e-6)
    # each token depends on the one before it alone, so the last token of a row is all that counts
    is_last = np.arange(found.shape[1]) == lengths[:, None] - 1
    assert not found[~is_last].any()
    assert found[is_last].all()


# --- the tiny subjects -----------------------------------------------------------------------------


def tiny_pictures():
    inputs = torch.rand(6, 12, 12, generator=drawn())
    data = Dataset(
        name="tiny pictures",
        source="test",
        split=None,
        inputs=inputs,
        y_true=np.zeros(6, dtype=np.int64),
        classes=("no", "yes"),
        features=FeatureSpace((), (), (12, 12)),
    )
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(144, 2))
    return TorchSubject.build(module, architecture=Architecture(name="test"), classes=data.classes), data


TINY = {
    "table": lambda: (tiny_subject(), tiny_dataset(6)),
    "pictures": tiny_pictures,
    "texts": lambda: (tiny_text_subject(), tiny_text_dataset(6)),
    "language": lambda: (tiny_language_subject(), with_tokens(tiny_language_dataset(6))),
}


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("name", PERTURBING)
def test_each_method_explains_each_kind_of_subject_and_leaves_it_unchanged(kind, name):
    subject, data = TINY[kind]()
    method = METHODS[name]
    with unchanged(subject, seed=0) as watch:
        rows = explained_rows(subject, data, data.y_true, explained="log_odds", batch_size=256)
        assert method.obstacle(rows) is None
        values = method.attribute(rows, drawn())
    assert not watch.violations
    assert values.shape == rows.present.shape
    assert np.isfinite(values).all()
    assert values.any()
    assert not values[~rows.present].any()
    if method.adds_up:
        with torch.no_grad():
            change = rows.score(rows.inputs, rows.target) - rows.score(
                rows.baseline.expand_as(rows.inputs), rows.target
            )
        assert values.sum(axis=1) == pytest.approx(change.numpy(), abs=1e-5)
