"""What of a pretrained model is trained: the classifier, the biases, products of low rank, or all."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from auditkit.__main__ import main
from auditkit.config.model import Architecture
from auditkit.data.tokenizers import FolderTokenizer
from auditkit.errors import ConfigError, PrivacyRefusedError, UsageError
from auditkit.jobs.audit import audit, prepare_audit
from auditkit.jobs.retrain import retrain
from auditkit.jobs.train import train
from auditkit.models.zoo import build_module
from auditkit.randomness import torch_rng
from auditkit.subjects.checkpoint import load_checkpoint, save_checkpoint
from auditkit.subjects.torch_subject import TorchSubject
from tests.tolerances import FLOAT32

pytest.importorskip("transformers")

from tests.subjects.tiny_folders import BAD, GOOD, save_model

PARTS = ("head", "biases", "low-rank", "all")
ASSUMED = "It is assumed that they were not trained on these rows"
HEAD = ["output.linear.weight", "output.linear.bias"]
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}
SIZES = {"vocabulary_size": 15, "length": 9, "n_classes": 2}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "encoder", "BertModel", **TINY)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "decoder", "GPT2LMHeadModel", n_embd=16, n_layer=1)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    place = tmp_path_factory.mktemp("models") / "classifier"
    return save_model(place, "BertForSequenceClassification", **TINY)


def parts_of(folder, sizes=SIZES, **parameters):
    architecture = Architecture.model_validate({"name": "hf-encoder", "folder": str(folder), **parameters})
    return architecture, build_module(architecture, rng=torch_rng(0, "parts"), **sizes)


def trained_names(module):
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def project(folder, tmp_path, subject, **more):
    shutil.copytree(folder, tmp_path / "model")
    table = "\n".join(f"{text}\t{'good' if text in GOOD else 'bad'}" for text in (*GOOD, *BAD) * 10)
    (tmp_path / "reviews.tsv").write_text(f"text\tlabel\n{table}\n")
    lines = [
        "version: 1",
        f"subject: {subject}",
        "data: {source: reviews.tsv, text: text, target: label, positive: good}",
        "audits: {performance: {}}",
        *(f"{key}: {value}" for key, value in more.items()),
    ]
    path = tmp_path / "audit.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def to_train(**parameters):
    settings = ", ".join(f"{key}: {value}" for key, value in parameters.items())
    return (
        f"{{architecture: {{name: hf-encoder, folder: model, {settings}}}, "
        "training: {epochs: 2, batch_size: 16, learning_rate: 0.05}}"
    )


def moved(subject, folder):
    """Which weights of the folder's model are no longer those of its file, bit for bit."""
    weights = {
        name.removeprefix("transformer."): value
        for name, value in load_file(folder / "model.safetensors").items()
        if "pooler" not in name
    }
    state = {_plain_name(name): value for name, value in subject.state().items()}
    return {name for name, value in weights.items() if not torch.equal(state[name], value)}


def _plain_name(name):
    """As the folder calls it: without the classifier around it and the products beside it."""
    inner = name.removeprefix("front.encoder.")
    for projection in ("query", "value", "c_attn"):
        inner = inner.replace(f"{projection}.layer.", f"{projection}.")
    return inner


def fits(part, names):
    """Whether these may have moved, and some have."""
    if part == "biases":
        return bool(names) and all(name.endswith("bias") for name in names)
    return bool(names) == (part == "all")


# --- what is trained -------------------------------------------------------------------------------


def test_every_bias_and_the_classifier_are_trained(encoder):
    _, module = parts_of(encoder, train="biases")
    biases = [name for name, _ in module.front.named_parameters() if name.endswith("bias")]
    assert trained_names(module) == [*(f"front.{name}" for name in biases), *HEAD]
    assert len(biases) == 9  # of the embeddings' norm, six layers and two norms


def test_products_beside_queries_and_values_are_trained_by_rank(encoder):
    _, module = parts_of(encoder, train="low-rank", rank=3)
    shapes = {name: tuple(p.shape) for name, p in module.named_parameters() if p.requires_grad}
    assert {shape for name, shape in shapes.items() if name not in HEAD} == {(3, 16), (16, 3)}
    assert len(shapes) == 4 + len(HEAD)


@pytest.mark.parametrize(("frozen", "same"), [("true", "head"), ("false", "all")])
def test_what_was_called_frozen_before_is_still_read(encoder, frozen, same):
    _, old = parts_of(encoder, frozen=frozen == "true")
    _, new = parts_of(encoder, train=same)
    assert trained_names(old) == trained_names(new)


def test_a_checkpoint_that_says_frozen_is_still_read(encoder, tmp_path):
    architecture, module = parts_of(encoder, frozen=False, dropout=0.1, **SIZES)
    subject = TorchSubject.build(module, architecture=architecture, classes=("bad", "good"))
    assert load_checkpoint(save_checkpoint(tmp_path / "old", subject)).card.digest == subject.card.digest


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"frozen": True, "train": "biases"}, "frozen: true means train: head"),
        ({"train": "heads"}, "'head', 'biases', 'low-rank' or 'all'"),
        ({"train": "biases", "rank": 4}, "rank: of train: low-rank alone"),
        ({"train": "low-rank", "rank": 0}, "greater than or equal to 1"),
    ],
)
def test_contradictions_about_what_is_trained_are_refused(encoder, parameters, message):
    with pytest.raises(ConfigError, match=message):
        parts_of(encoder, **parameters)


def test_a_model_whose_attention_has_other_names_gets_no_products(tmp_path):
    folder = save_model(tmp_path / "neox", "GPTNeoXModel", **TINY, num_attention_heads=2)
    with pytest.raises(ConfigError, match="GPTNeoXModel has no layers for queries and values"):
        parts_of(folder, train="low-rank")


def test_a_row_of_a_decoder_is_the_state_of_its_last_token(decoder):
    n_tokens = len(FolderTokenizer.read(decoder).vocabulary)
    _, module = parts_of(decoder, {**SIZES, "vocabulary_size": n_tokens}, pooling="last", dropout=0.0)
    padding = module.front.padding
    for row in torch.tensor([[1, 2, 3, padding, padding, padding], [4, 5, 6, 7, 8, 9]]):
        with torch.no_grad():
            own = row[row != padding][None]
            states = module.eval().front.encoder(input_ids=own).last_hidden_state
            expected, found = module.output(states[:, -1])[0], module(row[None])[0]
        assert found.tolist() == pytest.approx(expected.tolist(), **FLOAT32)


# --- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_trained_stored_and_read_without_moving_another(encoder, tmp_path, part):
    subject, place = train(project(encoder, tmp_path, to_train(train=part)))
    again = load_checkpoint(place)
    assert again.card.digest == subject.card.digest
    assert fits(part, moved(again, encoder))


def test_variants_of_several_parts_stand_beside_one_baseline(encoder, tmp_path):
    kind = "kind: dp-retrain, epsilon: 3, steps: 3, accept_weak: true"
    parts = ("biases", "low-rank", "all")
    variants = ", ".join(f"{part}: {{{kind}, train: {part}}}" for part in parts)
    path = project(encoder, tmp_path, to_train(train="head"), variants=f"{{{variants}}}")
    run, _ = audit(prepare_audit(path), out=tmp_path / "run")
    assert [card.name for card in run.subjects] == ["baseline", *parts]
    for card in run.subjects[1:]:
        assert fits(card.name, moved(load_checkpoint(tmp_path / "run" / "variants" / card.name), encoder))
        assert card.certificate.epsilon <= 3
        assert ASSUMED in str(card.certificate.assumptions[0])


@pytest.mark.proof
@pytest.mark.parametrize("body", ["encoder", "decoder"])
@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_retrained_privately_from_the_config_alone(request, tmp_path, part, body):
    folder = request.getfixturevalue(body)
    pooling = "mean" if body == "encoder" else "last"
    done = retrain(
        project(folder, tmp_path, to_train(train=part, pooling=pooling)),
        epsilon=3,
        reproducible=True,
        accept_weak=True,
    )
    assert done.certificate.epsilon <= 3
    assert ASSUMED in str(done.certificate.assumptions[0])
    again = load_checkpoint(done.folder)
    assert again.card.digest == done.subject.card.digest
    assert fits(part, moved(again, folder))


@pytest.mark.proof
def test_an_audited_folder_is_retrained_on_its_public_body(classifier, tmp_path):
    path = project(classifier, tmp_path, "{hf: model}")
    done = retrain(path, epsilon=3, trained="low-rank", public_body=True, accept_weak=True)
    assert done.certificate.certified
    assert done.certificate.epsilon <= 3
    again = load_checkpoint(done.folder)
    assert again.card.digest == done.subject.card.digest
    assert again.architecture.parameters["train"] == "low-rank"


def test_parts_are_of_pretrained_weights_alone(tmp_path, encoder):
    path = project(encoder, tmp_path, "{architecture: bert, training: {epochs: 1}}")
    with pytest.raises(UsageError, match="bert starts from fresh ones"):
        retrain(path, epsilon=3, trained="biases")


# --- a model that was trained on labels -------------------------------------------------------------


def test_the_body_of_a_classifier_is_not_taken_for_public_in_silence(classifier, tmp_path):
    path = project(classifier, tmp_path, to_train())
    with pytest.raises(
        PrivacyRefusedError, match=r"those of a BertForSequenceClassification.*public_body: true"
    ):
        retrain(path, epsilon=3)


def test_a_folder_is_refused_with_the_lines_that_would_retrain_it(classifier, tmp_path, capsys):
    path = project(classifier, tmp_path, "{hf: model}")
    assert main(["retrain", str(path), "--epsilon", "3", "--train", "biases"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "auditkit retrain --public-body --train biases" in told
    assert "{kind: dp-retrain, epsilon: 3, public_body: true, train: biases}" in told
    assert "subject: {architecture: {name: hf-encoder, folder: FOLDER, train: biases}" in told


def test_a_new_classifier_is_trained_on_the_public_body_of_an_audited_folder(classifier, tmp_path):
    variant = "{kind: dp-retrain, epsilon: 3, steps: 3, train: biases, public_body: true, accept_weak: true}"
    path = project(classifier, tmp_path, "{hf: model}", variants=f"{{dp: {variant}}}")
    run, _ = audit(prepare_audit(path), out=tmp_path / "run")
    assert {result.status for result in run.results} == {"measured"}
    (card,) = run.subjects[1:]
    assert "said that they were not trained on these rows" in str(card.certificate.assumptions[0])
    assert card.architecture == "hf-encoder"
    assert card.classes == run.subjects[0].classes
