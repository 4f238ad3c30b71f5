"""The same audit on every device: subject, data and variants move, findings stay."""

import math

import pytest
import torch

from auditkit.jobs.audit import audit, prepare_audit
from auditkit.records import figure_address

NO_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible to torch")
NEARLY = {"rel_tol": 0.02, "abs_tol": 0.02}
"""Kernels add in another order; trained weights then drift apart a little."""

CONFIGS = {
    "table": """
subject: {architecture: {name: tabular-mlp, hidden: [16]}, training: {epochs: 3, batch_size: 128}, name: t}
data: {source: lending, members: train, limit: 2000}
variants:
  dp: {kind: dp-retrain, epsilon: 3, steps: 20}
  int8: {kind: quantise}
audits: {performance: {}, calibration: {}, group-fairness: {}, attribution: {max_rows: 32}}
policy: [{figure: performance/accuracy, at_least: 0.5}]
""",
    "sentences": """
subject: {architecture: {name: rnn, width: 8, hidden: 8}, training: {epochs: 1, batch_size: 8}, name: s}
data: {source: words.csv, text: sentence, target: mood, positive: good, members: train}
variants: {dp: {kind: dp-retrain, epsilon: 8, steps: 3, public_preprocessing: true}}
audits: {performance: {}, attribution: {max_rows: 8}, membership-inference: {}}
policy: [{figure: performance/accuracy, at_least: 0.1}]
""",
    "language": """
subject: {architecture: {name: gpt, width: 16, layers: 1, heads: 2}, training: {epochs: 1}, name: g}
data: {source: text.txt, length: 16, members: train}
variants: {dp: {kind: dp-retrain, epsilon: 8, steps: 3, public_preprocessing: true}}
audits: {language-modelling: {}, performance: {}, membership-inference: {}}
policy: [{figure: language-modelling/perplexity, at_most: 100}]
""",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("device")
    words = [
        (f"{'fine' if i % 2 else 'dull'} film number {i}", "good" if i % 2 else "bad") for i in range(80)
    ]
    lines = ["sentence,mood", *(f"{sentence},{mood}" for sentence, mood in words)]
    (folder / "words.csv").write_text("\n".join(lines) + "\n")
    (folder / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 40)
    kept = {}

    def run(kind: str, device: str):
        if (kind, device) not in kept:
            place = folder / kind / device
            place.mkdir(parents=True)
            config = folder / f"{kind}-{device}.yaml"
            config.write_text(f"version: 1\nseed: 3\n{CONFIGS[kind]}")
            overrides = [f"execution.device={device}", f"subject.checkpoint={place / 'model'}"]
            prepared = prepare_audit(config, overrides=overrides)
            result, _ = audit(prepared, out=place / "run")
            kept[kind, device] = prepared.subject, result
        return kept[kind, device]

    return run


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_CUDA)])
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_run_gives_the_same_findings_wherever_it_runs(runs, kind, device):
    subject, run = runs(kind, device)
    _, on_cpu = runs(kind, "cpu")
    assert subject.device.type == device
    assert {p.device.type for p in subject.module.parameters()} == {device}
    assert "failed" not in {result.status for result in run.results}
    assert [(found.rule, found.verdict) for found in run.findings] == [
        (found.rule, found.verdict) for found in on_cpu.findings
    ]
    expected = _figures(on_cpu)
    for address, value in _figures(run).items():
        assert math.isclose(value, expected[address], **NEARLY), address


def _figures(run):
    return {
        figure_address(result, measurement): measurement.value
        for result in run.results
        for measurement in result.measurements
        if measurement.value is not None and result.subject == "baseline" and result.audit != "attribution"
    }
