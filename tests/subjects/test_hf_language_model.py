"""A pretrained model of language from a folder of transformers, trained further, also with privacy."""

import shutil

import pytest

from auditkit.__main__ import main
from auditkit.config.model import Architecture
from auditkit.errors import CheckpointError, ConfigError
from auditkit.jobs.audit import audit, prepare_audit
from auditkit.jobs.train import train
from auditkit.models.zoo import build_module, skeleton
from auditkit.randomness import torch_rng
from auditkit.subjects.checkpoint import load_checkpoint
from tests.tolerances import FLOAT32

pytest.importorskip("transformers")

from safetensors.torch import load_file

from tests.subjects.tiny_folders import BAD, GOOD, save_model

PARTS = ("biases", "low-rank", "all")
SIZES = {"vocabulary_size": 12, "length": 8}
PRIVATE = "kind: dp-retrain, epsilon: 3, steps: 3, accept_weak: true"


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "decoder"
    return save_model(place, "GPT2LMHeadModel", n_embd=16, n_layer=1)


def architecture_of(folder, **parameters):
    return Architecture.model_validate({"name": "hf-language-model", "folder": str(folder), **parameters})


def project(folder, tmp_path, subject, **more):
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "stories.txt").write_text("\n".join((*GOOD, *BAD) * 20))
    lines = [
        "version: 1",
        f"subject: {subject}",
        "data: {source: stories.txt, tokenizer: model, length: 8}",
        "audits: {language-modelling: {}}",
        *(f"{key}: {value}" for key, value in more.items()),
    ]
    path = tmp_path / "audit.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def to_train(part):
    return (
        f"{{architecture: {{name: hf-language-model, folder: model, train: {part}}}, "
        "training: {epochs: 2, batch_size: 16, learning_rate: 0.05}}"
    )


def moved(subject, folder):
    """Which weights of the folder's model are no longer those of its file, bit for bit."""
    weights = load_file(folder / "model.safetensors")
    state = {
        name.removeprefix("model.").replace("c_attn.layer.", "c_attn."): value
        for name, value in subject.state().items()
    }
    return {name for name, value in weights.items() if not state[name].equal(value)}


def is_allowed(part, name):
    return part == "all" or (part == "biases" and name.endswith("bias"))


def test_before_any_training_it_foretells_what_the_folder_does(decoder, tmp_path):
    prepared = prepare_audit(project(decoder, tmp_path, "{hf: model}"))
    audited = prepared.subject
    fresh = build_module(
        architecture_of(decoder, train="low-rank"), rng=torch_rng(0, "unused"), **SIZES
    ).eval()
    inputs = prepared.data.inputs[:4]
    assert fresh(inputs).flatten().tolist() == pytest.approx(
        audited.module(inputs).flatten().tolist(), **FLOAT32
    )


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_trained_stored_and_read_without_moving_another(decoder, tmp_path, part):
    subject, place = train(project(decoder, tmp_path, to_train(part)))
    again = load_checkpoint(place)
    assert again.card.digest == subject.card.digest
    names = moved(again, decoder)
    assert all(is_allowed(part, name) for name in names)
    assert bool(names) == (part != "low-rank")


def test_embedding_and_output_share_one_matrix_after_reading_as_before(decoder, tmp_path):
    subject, place = train(project(decoder, tmp_path, to_train("all")))
    for one in (subject, load_checkpoint(place)):
        assert one.module.model.lm_head.weight is one.module.model.transformer.wte.weight
        assert one.card.n_parameters == subject.card.n_parameters


def test_a_sketch_of_it_has_the_same_weights_and_ties(decoder):
    architecture = architecture_of(decoder, train="all")
    built = build_module(architecture, rng=torch_rng(0, "unused"), **SIZES)
    sketched = skeleton(architecture, **SIZES)
    assert {name: one.shape for name, one in sketched.named_parameters()} == {
        name: one.shape for name, one in built.named_parameters()
    }
    assert all(one.is_meta for one in sketched.parameters())


def test_parts_of_one_audited_folder_are_trained_privately_beside_it(decoder, tmp_path):
    variants = ", ".join(f"{part}: {{{PRIVATE}, train: {part}, public_body: true}}" for part in PARTS)
    path = project(decoder, tmp_path, "{hf: model}", variants=f"{{{variants}}}")
    run, _ = audit(prepare_audit(path), out=tmp_path / "run")
    assert {result.status for result in run.results} == {"measured"}
    assert [card.name for card in run.subjects[1:]] == list(PARTS)
    for card in run.subjects[1:]:
        assert card.certificate.epsilon <= 3
        assert "said that they were not trained on these rows" in str(card.certificate.assumptions[0])
        names = moved(load_checkpoint(tmp_path / "run" / "variants" / card.name), decoder)
        assert all(is_allowed(card.name, name) for name in names)
        assert bool(names) == (card.name != "low-rank")


def test_products_of_low_rank_are_what_is_trained_where_nothing_is_said(decoder, tmp_path):
    path = project(
        decoder, tmp_path, "{hf: model}", variants=f"{{dp: {{{PRIVATE}, public_body: true, rank: 3}}}}"
    )
    run, _ = audit(prepare_audit(path), out=tmp_path / "run")
    again = load_checkpoint(tmp_path / "run" / "variants" / "dp")
    assert again.architecture.parameters["train"] == "low-rank"
    assert again.architecture.parameters["rank"] == 3
    # down and up beside queries and beside values
    assert run.subjects[1].certificate.trained.n == 4 * 3 * 16


def test_weights_that_a_config_begins_with_are_assumed_to_be_public(decoder, tmp_path):
    path = project(decoder, tmp_path, to_train("biases"), variants=f"{{dp: {{{PRIVATE}}}}}")
    run, _ = audit(prepare_audit(path), out=tmp_path / "run")
    assert "It is assumed that they were not" in str(run.subjects[1].certificate.assumptions[0])


def test_an_audited_folder_is_refused_with_the_lines_that_would_retrain_it(decoder, tmp_path, capsys):
    path = project(decoder, tmp_path, "{hf: model}")
    assert main(["retrain", str(path), "--epsilon", "3"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "auditkit retrain --public-body --train low-rank" in told
    assert "{architecture: {name: hf-language-model, folder: FOLDER, train: low-rank}, training:" in told
    assert "train may be biases, low-rank or all" in told


def test_there_is_no_head_apart_from_the_rest(decoder, tmp_path, capsys):
    path = project(decoder, tmp_path, "{hf: model}")
    assert main(["retrain", str(path), "--epsilon", "3", "--public-body", "--train", "head"]) == 2
    assert "'biases', 'low-rank' or 'all'" in " ".join(capsys.readouterr().err.split())


def test_a_folder_that_foretells_no_token_is_refused(tmp_path):
    folder = save_model(tmp_path / "model", "BertForMaskedLM")
    with pytest.raises(CheckpointError, match=r"BertForMaskedLM does not foretell.*hf-encoder"):
        build_module(architecture_of(folder), rng=torch_rng(0, "unused"), vocabulary_size=15, length=8)


def test_data_of_another_tokenizer_are_refused_with_what_to_write(decoder):
    with pytest.raises(ConfigError, match=r"the data have 99 tokens, the model 12; write data\.tokenizer"):
        build_module(architecture_of(decoder), rng=torch_rng(0, "unused"), vocabulary_size=99, length=8)
