"""Footprints: exact figures exact, timed figures bounded, absent ones with their reason."""

import time
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.compute.footprint import TIMED_METRICS, Footprint
from auditkit.audits.compute.footprint_measurements import carbon_figure, energy_figure
from auditkit.audits.compute.footprint_ratios import duration_ratio, energy_ratio
from auditkit.audits.compute.timing import alternating_windows, durations, repeated_for
from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset
from auditkit.energy.allocation import allocation
from auditkit.energy.balance import EnergyBalance, EnergyPart
from auditkit.energy.cpu_model import W_PER_BUSY_VCPU, W_PER_GB
from auditkit.energy.grid import J_PER_KWH, carbon_gco2e
from auditkit.energy.quantity import Quantity
from auditkit.records import Message, TrainingRecord
from auditkit.statistics.medians import median_interval
from auditkit.subjects.subject import Predictions
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import tiny_language_dataset, tiny_language_subject
from tests.fakes import predicting, table_card, table_data
from tests.tolerances import FLOAT, statistical

CONTEXT = AuditContext(seed=3)
QUICK = Footprint(country="FRA", repeats=6, energy_window_s=0.05)


def subject_of(module, *, training=None, size_b=None):
    return TorchSubject.build(
        module,
        architecture=Architecture(name="test"),
        classes=("no", "yes"),
        training=training,
        size_b=size_b,
    )


def mlp(hidden=64):
    return nn.Sequential(nn.Linear(20, hidden), nn.ReLU(), nn.Linear(hidden, 2))


def data(n=300):
    return Dataset(
        name="made",
        source="memory",
        split="test",
        inputs=torch.randn(n, 20, generator=torch.Generator().manual_seed(0)),
        y_true=np.zeros(n, dtype=np.int64),
        classes=("no", "yes"),
    )


def figures(output):
    return {measurement.metric: measurement for measurement in output.measurements}


def training_record(duration_s):
    return TrainingRecord(
        steps=1,
        epochs=1,
        duration_s=duration_s,
        samples_per_s=1.0,
        seed=0,
        data_source="made",
        data_digest="0",
        n_rows=1,
    )


class Sleeper:
    """A subject without layers whose predictions take a known time."""

    capabilities = frozenset({"predictions"})

    def __init__(self, duration_s, name="baseline"):
        self.card = table_card(name=name)
        self.duration_s = duration_s

    def predict(self, rows, *, batch_size):
        time.sleep(self.duration_s)
        return Predictions(np.log(np.full((len(rows), 2), 0.5)))


def test_parameters_bytes_and_flops_of_an_mlp_are_known():
    found = figures(QUICK.measure(subject_of(mlp()), data(), CONTEXT))
    n_parameters = 20 * 64 + 64 + 64 * 2 + 2
    assert found["n_parameters"].value == n_parameters
    assert found["size_b"].value == 4 * n_parameters
    assert found["flops"].value == 90_112 / 32
    for metric in ("n_parameters", "size_b", "flops"):
        assert (found[metric].interval.low, found[metric].interval.high) == (found[metric].value,) * 2


def test_every_figure_has_a_direction_and_an_interval_around_it():
    output = QUICK.measure(subject_of(mlp(), training=training_record(10.0)), data(), CONTEXT)
    for figure in output.measurements:
        assert figure.value is not None, figure.metric
        assert figure.interval.low <= figure.value <= figure.interval.high
        assert figure.better in ("lower", "higher")


def test_all_but_the_timed_figures_are_the_same_in_every_run():
    subject = subject_of(mlp())
    runs = [QUICK.measure(subject, data(), CONTEXT).measurements for _ in range(2)]
    first, second = ([m for m in run if m.metric not in TIMED_METRICS] for run in runs)
    assert first == second
    assert {m.metric for m in first} == {"n_parameters", "size_b", "flops"}
    changes = [QUICK.compare(subject, subject, data(), CONTEXT).measurements for _ in range(2)]
    first, second = ([m for m in run if m.metric not in TIMED_METRICS] for run in changes)
    assert first == second


def test_timed_figures_say_that_they_vary():
    found = figures(QUICK.measure(subject_of(mlp()), data(), CONTEXT))
    for metric in ("latency_s", "latency_batch_s", "throughput"):
        assert "varies between runs" in str(found[metric].note)


def test_a_known_pause_is_the_latency_and_its_inverse_the_throughput():
    found = figures(QUICK.measure(Sleeper(0.01), data(50), CONTEXT))
    assert found["latency_s"].value >= 0.01
    assert found["latency_batch_s"].value >= 0.01
    assert found["throughput"].value == pytest.approx(50 / found["latency_batch_s"].value, **FLOAT)
    assert found["throughput"].interval.high <= 50 / 0.01


def test_a_subject_without_layers_has_no_flops_or_parameters_but_the_rest():
    found = figures(QUICK.measure(predicting([0, 1, 1]), table_data([0, 1, 1]), CONTEXT))
    for metric in ("n_parameters", "size_b", "flops"):
        assert found[metric].value is None
        assert "does not show its weights" in str(found[metric].missing)
    assert found["energy_j_per_1000"].value > 0


def test_an_uncountable_operation_makes_flops_a_lower_bound_that_names_it():
    class Distance(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(20, 2)

        def forward(self, inputs):
            return self.inner(inputs) + torch.cdist(inputs, inputs)[:, :1]

    figure = figures(QUICK.measure(subject_of(Distance()), data(), CONTEXT))["flops"]
    assert figure.kind == "lower_bound"
    assert "_cdist_forward" in str(figure.note)
    ratio = figures(QUICK.compare(subject_of(mlp()), subject_of(Distance()), data(), CONTEXT))
    assert ratio["flops.ratio"].value is None


def test_energy_lies_between_the_factors_for_the_time_that_passed():
    figure = figures(QUICK.measure(Sleeper(0.01), data(50), CONTEXT))["energy_j_per_1000"]
    if figure.provenance == "measured":
        pytest.skip("this machine has energy counters")
    assert figure.provenance == "estimated"
    assert figure.interval.method == "factor-bounds"
    # the ratio of the bounds lies between those of its two factors
    spread = figure.interval.high / figure.interval.low
    ends = (W_PER_BUSY_VCPU.high / W_PER_BUSY_VCPU.low, W_PER_GB.high / W_PER_GB.low)
    assert ends[0] * (1 - 1e-9) <= spread <= ends[1] * (1 + 1e-9)


def test_carbon_is_energy_times_the_grid_of_the_country():
    found = figures(QUICK.measure(subject_of(mlp()), data(), CONTEXT))
    energy, carbon = found["energy_j_per_1000"], found["carbon_gco2e_per_1000"]
    assert carbon.value == pytest.approx(energy.value / J_PER_KWH * 56.039, **FLOAT)
    assert carbon.interval.high == pytest.approx(energy.interval.high / J_PER_KWH * 56.039, **FLOAT)


def test_without_a_country_carbon_is_a_range_without_a_figure():
    audit = QUICK.model_copy(update={"country": None})
    carbon = figures(audit.measure(subject_of(mlp()), data(), CONTEXT))["carbon_gco2e_per_1000"]
    assert carbon.value is None
    assert "no country" in str(carbon.missing)
    assert 0 < carbon.interval.low < carbon.interval.high


def test_a_country_is_three_letters():
    with pytest.raises(ValueError, match="country"):
        Footprint(country="France")


def test_peak_memory_is_that_of_this_process():
    figure = figures(QUICK.measure(subject_of(mlp()), data(), CONTEXT))["peak_memory_b"]
    assert figure.value > 50e6
    assert figure.unit == "B"
    assert figure.n == 7


def test_training_energy_needs_the_duration_on_record():
    without = figures(QUICK.measure(subject_of(mlp()), data(), CONTEXT))["training_energy_j"]
    assert without.value is None
    assert "not on record" in str(without.missing)
    figure = figures(QUICK.measure(subject_of(mlp(), training=training_record(100.0)), data(), CONTEXT))[
        "training_energy_j"
    ]
    assert figure.provenance == "estimated"
    n_cpus = allocation().n_cpus
    assert figure.interval.low > 100.0 * 1.5 * min(1.0, n_cpus)
    assert figure.interval.high > 100.0 * 10 * n_cpus


def test_figures_of_counters_are_measured_and_carry_their_bounds():
    part = EnergyPart("cpu", Quantity(9.0, 10.0, 11.0, "measured"), Message(text="counter"))
    balance = EnergyBalance((part, replace(part, component="memory")))
    figure = energy_figure(balance, 2_000)
    assert (figure.value, figure.interval.low, figure.interval.high) == (10.0, 9.0, 11.0)
    assert figure.provenance == "measured"
    carbon = carbon_figure(carbon_gco2e(Quantity(1.0, 1.0, 1.0, "measured"), "NOR"), 2_000)
    assert (carbon.value, carbon.provenance) == (30.08, "derived")


def test_energy_without_a_total_is_missing_with_the_reason():
    balance = EnergyBalance((), Message(text="no counter"))
    figure = energy_figure(balance, 10)
    assert figure.value is None
    assert str(figure.missing) == "no counter"
    assert carbon_figure(None, 10).value is None


def test_a_model_against_itself_takes_as_much():
    subject = subject_of(mlp())
    found = figures(QUICK.compare(subject, subject, data(), CONTEXT))
    for metric in ("n_parameters.ratio", "size_b.ratio", "flops.ratio"):
        assert (found[metric].value, found[metric].interval.low) == (1.0, 1.0)


def test_a_smaller_model_takes_its_share_of_parameters_and_bytes():
    small = subject_of(mlp(8), size_b=200)
    found = figures(QUICK.compare(subject_of(mlp()), small, data(), CONTEXT))
    assert found["n_parameters.ratio"].value == pytest.approx((20 * 8 + 8 + 18) / 1474, **FLOAT)
    assert found["size_b.ratio"].value == pytest.approx(200 / (4 * 1474), **FLOAT)
    assert found["flops.ratio"].value == pytest.approx(8 / 64, **FLOAT)


def test_the_latency_ratio_is_the_median_quotient_of_pairs_not_the_quotient_of_medians():
    seconds = np.array(
        [[1.0, 2.0], [10.0, 30.0], [2.0, 3.0], [5.0, 5.0], [1.0, 4.0], [2.0, 5.0], [4.0, 14.0]]
    )
    figure = duration_ratio("latency_s", seconds, 0.95)
    assert figure.metric == "latency_s.ratio"
    assert (figure.value, figure.interval.low, figure.interval.high) == (2.5, 1.0, 4.0)


def test_subjects_without_layers_are_compared_by_time_and_energy_alone():
    output = QUICK.compare(Sleeper(0.001), Sleeper(0.002, "slow"), data(20), CONTEXT)
    found = figures(output)
    assert found["n_parameters.ratio"].value is None
    assert found["flops.ratio"].value is None
    for metric in ("latency_s.ratio", "latency_batch_s.ratio", "energy_j_per_1000.ratio"):
        assert found[metric].interval.low <= found[metric].value <= found[metric].interval.high
    (dots,) = output.evidence
    assert dots.reference == 1.0
    assert len(dots.marks) == len(output.measurements)


def test_training_is_compared_by_recorded_duration():
    first, second = (subject_of(mlp(), training=training_record(s)) for s in (10.0, 35.0))
    found = figures(QUICK.compare(first, second, data(), CONTEXT))
    assert found["training_energy_j.ratio"].value == 3.5


def balance_of(cpu_s, duration_s, watt=4.0, watt_gb=0.3):
    cpu = EnergyPart("cpu", Quantity.exact(cpu_s * watt, "estimated"), Message(text="model"))
    memory = EnergyPart("memory", Quantity.exact(duration_s * watt_gb, "estimated"), Message(text="model"))
    return EnergyBalance((cpu, memory))


def test_the_energy_ratio_covers_every_true_factor():
    rng = np.random.default_rng(2)
    before = [(1.0 + 0.01 * rng.random(), 1.0) for _ in range(12)]
    after = [(0.5 + 0.01 * rng.random(), 0.9) for _ in range(12)]
    pairs = [(balance_of(*a), balance_of(*b)) for a, b in zip(before, after, strict=True)]
    figure = energy_ratio("energy_j_per_1000", pairs, 0.95)
    assert figure.provenance == "estimated"
    for watt, watt_gb in ((1.5, 0.6), (10.0, 0.08), (4.0, 0.3)):
        true = [
            balance_of(*b, watt, watt_gb).total.value / balance_of(*a, watt, watt_gb).total.value
            for a, b in zip(before, after, strict=True)
        ]
        assert figure.interval.low <= np.median(true) <= figure.interval.high


def test_the_energy_ratio_is_missing_where_a_window_has_no_total():
    broken = EnergyBalance((), Message(text="no counter"))
    figure = energy_ratio("energy_j_per_1000", [(broken, broken)] * 6, 0.95)
    assert figure.value is None
    assert str(figure.missing) == "no counter"
    gpu = EnergyBalance((EnergyPart("gpu", Quantity.exact(1.0, "measured"), Message(text="counter")),))
    assert energy_ratio("energy_j_per_1000", [(balance_of(1, 1), gpu)] * 6, 0.95).value is None


def test_models_run_in_turns_and_equally_often():
    order = []
    windows = alternating_windows(
        lambda: order.append("a"), lambda: order.append("b"), duration_s=1e-6, repeats=3, probes=()
    )
    assert len(windows) == 3
    assert order.count("a") == order.count("b")
    assert "".join(order).endswith("ababab")


def test_a_call_longer_than_the_window_runs_once():
    measured, times = repeated_for(lambda: time.sleep(0.02), 0.001, ())
    assert times == 1
    assert measured.duration_s >= 0.02


def test_warm_up_calls_are_not_timed():
    calls = []
    assert len(durations([lambda: calls.append(1)] * 5)) == 5
    assert len(calls) == 8


def test_few_rows_are_enough():
    found = figures(QUICK.measure(subject_of(mlp()), data(1), CONTEXT))
    assert found["latency_batch_s"].value > 0


def test_the_subject_is_left_untouched_and_no_warning_is_raised():
    subject = subject_of(mlp())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        QUICK.measure(subject, data(), CONTEXT)
    assert not subject.module.training
    assert all(p.grad is None and p.requires_grad for p in subject.module.parameters())
    assert not any(layer._forward_hooks for layer in subject.module.modules())


def test_the_interval_of_a_median_covers_as_often_as_promised():
    rng, n = np.random.default_rng(4), 2_000
    intervals = [median_interval(rng.exponential(size=15)) for _ in range(n)]
    covered = np.mean([i.low <= np.log(2) <= i.high for i in intervals])
    # 15 values: the interval of ranks 4 and 12 covers 0.9648 of the time
    assert covered == pytest.approx(0.9648, abs=statistical(n, p=0.9648))


@pytest.mark.parametrize(("n", "expected"), [(0, None), (5, None), (6, (0.0, 5.0)), (9, (1.0, 7.0))])
def test_the_ranks_of_a_median_interval_are_the_tabled_ones(n, expected):
    interval = median_interval(np.arange(n, dtype=np.float64))
    assert (None if interval is None else (interval.low, interval.high)) == expected


# --- models of tokens ------------------------------------------------------------------------------


def test_an_lstm_costs_two_flops_per_weight_and_token():
    module = nn.Sequential(nn.Embedding(20, 8), nn.LSTM(8, 16, batch_first=True))

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.read, self.answer = module, nn.Linear(16, 2)

        def forward(self, ids):
            return self.answer(self.read(ids)[0][:, -1])

    texts = replace(tiny_language_dataset(20), y_true=np.zeros(20, dtype=np.int64), task="classification")
    flops = figures(QUICK.measure(subject_of(Last()), texts, CONTEXT))["flops"]
    assert flops.kind == "estimate"
    assert flops.value == 2 * (12 * 4 * 16 * (8 + 16) + 16 * 2)


def test_a_model_of_language_costs_what_its_next_token_does():
    found = figures(QUICK.measure(tiny_language_subject(), tiny_language_dataset(), CONTEXT))
    assert found["n_parameters"].value == 64
    assert found["latency_s"].value > 0
    data = tiny_language_dataset()
    tokens, rows = int((data.inputs != 0).sum()), len(data)
    per_row = found["throughput_tokens"].value / found["throughput"].value
    assert per_row == pytest.approx(tokens / rows, **FLOAT)


def test_only_rows_of_tokens_have_a_throughput_of_tokens():
    assert "throughput_tokens" not in figures(QUICK.measure(subject_of(mlp()), data(), CONTEXT))


def test_the_notes_say_what_a_prediction_is():
    output = QUICK.measure(tiny_language_subject(), tiny_language_dataset(), CONTEXT)
    assert "A prediction is one token after a row of up to 12 tokens." in [str(note) for note in output.notes]


def test_models_of_language_are_compared_too():
    pair = tiny_language_subject(), tiny_language_subject(seed=1, name="other")
    output = QUICK.compare(*pair, tiny_language_dataset(), CONTEXT)
    found = figures(output)
    assert found["n_parameters.ratio"].value == 1.0
    assert found["latency_s.ratio"].interval is not None
