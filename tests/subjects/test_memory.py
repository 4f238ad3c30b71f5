"""How much memory an audit of a large model takes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, re, sys
from pathlib import Path
from auditkit.jobs.audit import audit, prepare_audit
from auditkit.jobs import train  # what a run imports anyway
import auditkit.audits.performance.language_modelling, auditkit.audits.privacy.membership_inference
import auditkit.audits.compute.footprint, captum.attr, opacus

def peak_b():
    # ru_maxrss would begin with that of the process that started this one.
    return 1024 * int(re.search(r"VmHWM:\\s+([0-9]+)", Path("/proc/self/status").read_text())[1])

before_b = peak_b()
run, _ = audit(prepare_audit(Path(sys.argv[1])), out=Path(sys.argv[2]))
card = run.subjects[0]
print(json.dumps({
    "peak_b": peak_b() - before_b, "weights_b": card.size_b, "n_parameters": card.n_parameters,
    "statuses": {result.audit: result.status for result in run.results},
}))
"""

CONFIG = """
version: 1
subject: {checkpoint: large}
data: {source: text.txt, length: 64, members: train, limit: 32}
audits: {language-modelling: {}, membership-inference: {}, footprint: {batch_rows: 8, repeats: 6}}
execution: {batch_size: 8, device: cpu}
"""

MAKE = """
from pathlib import Path
import sys
from auditkit.config.model import Architecture, DataConfig
from auditkit.data.loading import load_training_data
from auditkit.models.zoo import build_module, complete
from auditkit.randomness import torch_rng
from auditkit.subjects.checkpoint import save_checkpoint
from auditkit.subjects.torch_subject import TorchSubject

folder = Path(sys.argv[1])
data, steps = load_training_data(
    DataConfig(source="text.txt", length=64), preprocessing=None, seed=0, folder=folder
)
named = Architecture.model_validate({"name": "gpt", "width": 768, "layers": 14, "heads": 12})
full = complete(named, **data.sizes())
module = build_module(full, rng=torch_rng(0, "test"))
subject = TorchSubject.build(module, architecture=full, classes=(), preprocessing=steps)
save_checkpoint(folder / "large", subject)
"""


@pytest.mark.proof
def test_auditing_a_hundred_million_parameters_takes_less_than_three_times_their_weights(tmp_path: Path):
    (tmp_path / "text.txt").write_text("to be, or not to be, that is the question. " * 400)
    (tmp_path / "audit.yaml").write_text(CONFIG)
    subprocess.run([sys.executable, "-c", MAKE, str(tmp_path)], check=True, cwd=tmp_path)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "audit.yaml"), str(tmp_path / "run")]
    done = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["n_parameters"] > 99e6
    assert set(found["statuses"].values()) == {"measured"}
    batch_b = 8 * 64 * 768 * 4 * 20  # rows x tokens x width x bytes x what one layer holds at a time
    assert found["peak_b"] < 3 * found["weights_b"] + batch_b
