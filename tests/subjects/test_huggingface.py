import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch

from auditkit.config.model import DataConfig, SubjectConfig
from auditkit.data.encoding import encode
from auditkit.data.rows import Rows, TextForm, texts
from auditkit.data.steps import LanguagePreprocessing, TextPreprocessing
from auditkit.data.tokenizers import FolderTokenizer, WordTokenizer
from auditkit.errors import (
    AuditkitError,
    CheckpointError,
    DataError,
    MissingExtraError,
    UnsafeError,
)
from auditkit.jobs.audit import audit, prepare_audit
from auditkit.subjects.masked_language_model import STRIDE, MaskedLanguageModel
from auditkit.subjects.sources import Request, load_source
from auditkit.subjects.subject import Generative, row_losses
from auditkit.variants.quantise import Quantise
from auditkit.variants.variant import VariantContext
from tests.tolerances import FLOAT32

pytest.importorskip("transformers")

from tests.subjects.tiny_folders import (
    BAD,
    GOOD,
    log_probabilities,
    plain,
    save_model,
)

BERT, GPT_CLASSIFIER = "BertForSequenceClassification", "GPT2ForSequenceClassification"
REVIEWS = (*GOOD, *BAD)
WORD_STEPS = TextPreprocessing(
    target="label", classes=("bad", "good"), tokenizer=WordTokenizer(words=("a",)), length=9
)
LANGUAGE_STEPS = LanguagePreprocessing(tokenizer=WordTokenizer(words=("a",)), length=9)


def loaded(folder, *, steps=WORD_STEPS, length=None):
    config = SubjectConfig(hf=str(folder))
    return load_source("hf", Request(config=config, folder=folder.parent, preprocessing=steps, length=length))


def reviews(subject, written=REVIEWS):
    labels = texts(["good" if text in GOOD else "bad" for text in written])
    rows = Rows(
        name="reviews", source="memory", split="test", target="label", labels=labels, texts=texts(written)
    )
    return encode(rows, subject.preprocessing)


def language(subject, written=REVIEWS):
    rows = Rows(
        name="texts",
        source="memory",
        split="test",
        target="next token",
        labels=texts(written),
        texts=texts(written),
        task="language-modelling",
    )
    return encode(rows, subject.preprocessing)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "bert", BERT)


@pytest.fixture
def copy(bert, tmp_path):
    return shutil.copytree(bert, tmp_path / "copy")


def changed(folder, file="config.json", **values):
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, **values}))
    return folder


@pytest.mark.parametrize("class_name", [BERT, "DistilBertForSequenceClassification", GPT_CLASSIFIER])
def test_probabilities_are_those_of_a_plain_call_without_padding(tmp_path, class_name):
    folder = save_model(tmp_path / "model", class_name)
    subject = loaded(folder)
    found = subject.predict(reviews(subject), batch_size=3).log_probabilities
    model, tokenizer = plain(folder, class_name)
    model.config.pad_token_id = -1  # so that the last token of each text is taken, whatever it is
    expected = torch.stack([log_probabilities(model, tokenizer(text)["input_ids"]) for text in REVIEWS])
    assert found == pytest.approx(expected.numpy(), **FLOAT32)
    assert subject.capabilities == {"predictions", "probabilities", "losses", "gradients", "layers"}
    assert subject.card.architecture == class_name


def test_losses_of_tokens_are_those_of_a_plain_call_without_padding(tmp_path):
    folder = save_model(tmp_path / "gpt", "GPT2LMHeadModel")
    subject = loaded(folder, steps=LANGUAGE_STEPS)
    written = ("a fine film", "a <|endoftext|> film and a story", "good film")
    data = language(subject, written)
    losses = subject.token_losses(data, batch_size=2)
    model, tokenizer = plain(folder, "GPT2LMHeadModel")
    for row, text in enumerate(written):
        ids = tokenizer(text)["input_ids"]
        told = log_probabilities(model, ids)
        expected = [-float(told[index, following]) for index, following in enumerate(ids[1:])]
        assert losses.nats[row][losses.counted[row]].tolist() == pytest.approx(expected, **FLOAT32)
    assert isinstance(subject, Generative)
    assert "generative" in subject.capabilities
    assert "predictions" not in subject.capabilities
    assert subject.card.classes == ()


def test_a_token_that_ends_texts_is_not_taken_for_padding(tmp_path):
    folder = save_model(tmp_path / "gpt", "GPT2LMHeadModel")
    tokenizer = FolderTokenizer.read(folder)
    assert tokenizer.padding == len(tokenizer.vocabulary) - 1 == tokenizer.n_own
    assert tokenizer.special("eos") == 0
    assert 0 in tokenizer.ids("a <|endoftext|> film")


def test_pseudo_losses_are_those_of_masking_the_tokens_by_hand(tmp_path):
    folder = save_model(tmp_path / "masked", "BertForMaskedLM")
    subject = loaded(folder, steps=LANGUAGE_STEPS, length=20)
    assert isinstance(subject, MaskedLanguageModel)
    written = ("a fine film", "a warm and fine story and a dull and cold film", "good")
    losses = subject.token_losses(language(subject, written), batch_size=2)
    model, tokenizer = plain(folder, "BertForMaskedLM")
    for row, text in enumerate(written):
        ids = tokenizer(text)["input_ids"]
        inner = range(1, len(ids) - 1)
        expected = []
        for index in inner:
            hidden = [
                tokenizer.mask_token_id if at in inner and (at - index) % STRIDE == 0 else token
                for at, token in enumerate(ids)
            ]
            expected.append(-float(log_probabilities(model, hidden)[index, ids[index]]))
        assert losses.nats[row][losses.counted[row]].tolist() == pytest.approx(expected, **FLOAT32)
    assert subject.capabilities == {"generative", "layers", "losses"}
    assert any("masked at a time" in str(statement) for statement in subject.card.statements)


def test_texts_without_a_word_have_no_pseudo_loss(tmp_path):
    subject = loaded(save_model(tmp_path / "masked", "BertForMaskedLM"), steps=LANGUAGE_STEPS)
    with pytest.raises(DataError, match="1 texts hold no token to be foretold"):
        subject.token_losses(language(subject, ("a fine film", "")), batch_size=2)


def test_batches_do_not_change_the_losses_of_rows(tmp_path):
    subject = loaded(save_model(tmp_path / "masked", "BertForMaskedLM"), steps=LANGUAGE_STEPS)
    data = language(subject)
    one, all_at_once = (row_losses(subject, data, batch_size=size) for size in (1, 8))
    assert one == pytest.approx(all_at_once, **FLOAT32)


def test_a_subject_survives_pickling(bert):
    subject = loaded(bert)
    again = pickle.loads(pickle.dumps(subject))
    data = reviews(subject)
    assert np.array_equal(
        subject.predict(data, batch_size=8).log_probabilities,
        again.predict(data, batch_size=8).log_probabilities,
    )
    assert again.preprocessing.tokenizer.ids("a fine film") == subject.preprocessing.tokenizer.ids(
        "a fine film"
    )


def test_rows_are_as_long_as_asked_but_not_longer_than_the_model_reads(bert):
    assert loaded(bert).preprocessing.length == 40
    assert loaded(bert, length=7).preprocessing.length == 7
    assert loaded(bert, length=300).preprocessing.length == 40


def test_classes_are_matched_by_name_whatever_their_order(copy):
    changed(copy, id2label={"0": "GOOD", "1": "Bad"}, label2id={"GOOD": 0, "Bad": 1})
    subject = loaded(copy)
    assert subject.card.classes == ("good", "bad")
    assert subject.card.statements == ()


def test_classes_with_other_names_are_matched_by_position_and_that_is_stated(bert):
    subject = loaded(bert)
    assert subject.card.classes == ("bad", "good")
    assert "LABEL_0 = bad, LABEL_1 = good" in str(subject.card.statements[0])


def test_a_model_may_have_a_class_that_the_data_lack(tmp_path):
    folder = save_model(
        tmp_path / "three",
        BERT,
        id2label={0: "bad", 1: "so so", 2: "good"},
        label2id={"bad": 0, "so so": 1, "good": 2},
    )
    assert loaded(folder).card.classes == ("bad", "so so", "good")


def test_another_number_of_classes_is_refused(tmp_path):
    folder = save_model(tmp_path / "three", BERT, num_labels=3)
    with pytest.raises(CheckpointError, match=r"3 classes \(LABEL_0, LABEL_1, LABEL_2\), the data 2"):
        loaded(folder)


@pytest.mark.parametrize("settings", [{"num_labels": 1}, {"problem_type": "multi_label_classification"}])
def test_a_model_that_does_not_choose_one_class_is_refused(tmp_path, settings):
    folder = save_model(tmp_path / "model", BERT, **settings)
    with pytest.raises(CheckpointError, match="choose one of two or more classes"):
        loaded(folder)


def test_weights_of_half_precision_are_converted_and_that_is_stated(tmp_path, bert):
    model, _ = plain(bert, BERT)
    folder = shutil.copytree(bert, tmp_path / "half")
    model.to(torch.bfloat16).save_pretrained(folder)
    subject = loaded(folder)
    assert {tensor.dtype for tensor in subject.module.parameters()} == {torch.float32}
    assert "stored as bfloat16" in str(subject.card.statements[0])


def test_an_audit_of_labelled_texts_runs_end_to_end(bert, tmp_path):
    table = "\n".join(f"{text}\t{'good' if text in GOOD else 'bad'}" for text in REVIEWS * 6)
    (tmp_path / "reviews.tsv").write_text(f"text\tlabel\n{table}\n")
    shutil.copytree(bert, tmp_path / "bert")
    (tmp_path / "audit.yaml").write_text(
        """
version: 1
subject: {hf: bert}
data: {source: reviews.tsv, text: text, target: label, positive: good, members: train}
audits:
  performance: {}
  calibration: {}
  membership-inference: {}
  footprint: {energy_window_s: 0.05}
"""
    )
    prepared = prepare_audit(tmp_path / "audit.yaml")
    assert prepared.subject.preprocessing.length == 7  # the longest training row, special tokens included
    run, _ = audit(prepared, out=tmp_path / "run")
    assert {result.audit: result.status for result in run.results} == dict.fromkeys(
        ("performance", "calibration", "membership-inference", "footprint"), "measured"
    )
    again, _ = audit(prepare_audit(tmp_path / "audit.yaml"), out=tmp_path / "again")
    accuracy = [m.value for r in run.results for m in r.measurements if m.metric == "accuracy"]
    assert accuracy == [m.value for r in again.results for m in r.measurements if m.metric == "accuracy"]
    assert accuracy


@pytest.mark.parametrize("class_name", ["GPT2LMHeadModel", "BertForMaskedLM"])
def test_an_audit_of_plain_text_runs_end_to_end(tmp_path, class_name):
    save_model(tmp_path / "model", class_name)
    (tmp_path / "book.txt").write_text(" ".join(REVIEWS * 40))
    (tmp_path / "audit.yaml").write_text(
        """
version: 1
subject: {hf: model}
data: {source: book.txt, members: train, length: 16}
audits: {performance: {}, language-modelling: {}, membership-inference: {}, attribution: {max_texts: 4}}
"""
    )
    run, _ = audit(prepare_audit(tmp_path / "audit.yaml"), out=tmp_path / "run")
    status = {result.audit: result.status for result in run.results}
    assert status == {
        "performance": "skipped",
        "language-modelling": "measured",
        "membership-inference": "measured",
        # what follows a row is found by masking, one token after the other, and has no gradient
        "attribution": "measured" if class_name == "GPT2LMHeadModel" else "skipped",
    }


def test_a_vocabulary_of_any_size_is_answered_in_pieces_with_the_same_figures(tmp_path, monkeypatch):
    subject = loaded(save_model(tmp_path / "gpt", "GPT2LMHeadModel"), steps=LANGUAGE_STEPS)
    data = language(subject, BAD)
    whole = subject.token_losses(data, batch_size=8)
    n_rows = []
    subject.module.register_forward_pre_hook(lambda _, arguments: n_rows.append(len(arguments[0])))
    monkeypatch.setattr(
        "auditkit.subjects.torch_subject.MOST_LOGITS", 2 * len(data.classes) * data.inputs.shape[1]
    )
    pieces = subject.token_losses(data, batch_size=8)
    assert set(n_rows) == {2}
    assert pieces.nats == pytest.approx(whole.nats, **FLOAT32)


def test_a_folder_is_quantised_like_any_module(bert, tmp_path):
    subject = loaded(bert)
    context = VariantContext(
        name="int8", seed=0, folder=tmp_path, training_data=lambda: reviews(subject), device="cpu"
    )
    data = reviews(subject)
    quantised = Quantise().derive(subject, context)
    assert quantised.card.size_b < 0.5 * subject.card.size_b
    assert quantised.predict(data, batch_size=4).log_probabilities.shape == (len(data), 2)


def test_data_of_another_kind_are_refused(bert, tmp_path):
    with pytest.raises(DataError, match=r"data\.text: COLUMN"):
        loaded(bert, steps=LANGUAGE_STEPS)
    folder = save_model(tmp_path / "gpt", "GPT2LMHeadModel")
    with pytest.raises(DataError, match=r"name a text as data\.source"):
        loaded(folder, steps=WORD_STEPS)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "evil.Config"}}),
        ("config.json", {"text_config": {"inner": [{"auto_map": {}}]}}),
        ("config.json", {"_attn_implementation_internal": "someone/kernel"}),
        ("config.json", {"attn_implementation": "someone/kernel"}),
        ("config.json", {"vision_config": {"trust_remote_code": True}}),
        ("config.json", {"custom_pipelines": {"x": {"impl": "evil.Pipe"}}}),
        ("config.json", {"model_type": "brand-new"}),
        ("config.json", {"text_config": {"model_type": "brand-new"}}),
        ("config.json", {"transformers_weights": "pytorch_model.bin"}),
        ("config.json", {"quantization_config": {"quant_method": "gptq"}}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tok", None]}}),
        ("tokenizer_config.json", {"vocab_file": "../../etc/passwd"}),
        ("generation_config.json", {"custom_generate": "someone/code"}),
        ("processor_config.json", {"auto_map": {}}),
        ("adapter_config.json", {"base_model_name_or_path": "someone/model"}),
        ("sub/config.json", {"auto_map": {}}),
    ],
)
def test_a_folder_whose_json_names_code_is_refused(copy, file, values):
    (copy / file).parent.mkdir(exist_ok=True)
    changed(copy, file, **values)
    with pytest.raises(UnsafeError, match=r"Nothing was executed") as caught:
        loaded(copy)
    assert caught.value.exit_code == 5
    assert str(copy / file) in str(caught.value)


@pytest.mark.parametrize("name", ["modeling_evil.py", "deep/inside.py", "kernel.so"])
def test_a_folder_with_code_is_refused(copy, name):
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_text("raise SystemExit")
    with pytest.raises(UnsafeError, match="code in a folder of weights"):
        loaded(copy)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "last.ckpt"])
def test_pickled_weights_alone_are_refused_with_how_to_convert_them(copy, name):
    (copy / "model.safetensors").unlink()
    (copy / "tokenizer.json").unlink()
    (copy / name).write_bytes(pickle.dumps({}))
    with pytest.raises(UnsafeError, match=r"save_pretrained\(COPY\) writes model\.safetensors"):
        loaded(copy)


def test_a_link_out_of_the_folder_is_refused(copy, tmp_path):
    outside = tmp_path / "outside.safetensors"
    shutil.move(copy / "model.safetensors", outside)
    (copy / "model.safetensors").symlink_to(outside)
    with pytest.raises(UnsafeError, match="a link out of the folder"):
        loaded(copy)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", "part.bin", "a\\b.safetensors"])
def test_an_index_that_names_other_files_is_refused(copy, name):
    (copy / "model.safetensors").unlink()
    changed(copy, "model.safetensors.index.json", weight_map={"classifier.weight": name})
    with pytest.raises(UnsafeError, match="weight_map names"):
        loaded(copy)


def test_weights_in_shards_are_read(copy):
    shutil.move(copy / "model.safetensors", copy / "model-00001-of-00001.safetensors")
    from safetensors import safe_open

    with safe_open(copy / "model-00001-of-00001.safetensors", "pt") as opened:
        names = list(opened.keys())
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}
    changed(copy, "model.safetensors.index.json", **index)
    assert loaded(copy).card.n_parameters > 0
    (copy / "model-00001-of-00001.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no such file, though"):
        loaded(copy)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply|not JSON"),
        (b"[" * 300 + b"]" * 300, "deeper than 100|nested too deeply"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[]", "expected an object"),
        (b"{}", "model_type is not set"),
        (b'{"model_type": "bert", "architectures": 3}', "architectures is 3"),
        (b'{"model_type": "bert", "architectures": ["BertModel"]}', "hf-encoder"),
    ],
)
def test_a_damaged_configuration_is_refused(copy, content, message):
    (copy / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        loaded(copy)


def test_a_file_of_json_beyond_all_measure_is_refused(copy):
    with (copy / "extra.json").open("wb") as stream:
        stream.truncate(2**27)
    with pytest.raises(CheckpointError, match="larger than 64 MiB"):
        loaded(copy)


@pytest.mark.parametrize("length", [0, 7, 100, -50])
def test_truncated_weights_are_refused(copy, length):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="cannot be read"):
        loaded(copy)


def test_missing_not_finite_and_misshapen_weights_are_refused(copy):
    from safetensors.torch import load_file, save_file

    path = copy / "model.safetensors"
    weights = load_file(path)
    save_file(
        {key: value for key, value in weights.items() if "classifier" not in key}, path, {"format": "pt"}
    )
    with pytest.raises(CheckpointError, match=r"lack classifier\.bias, classifier\.weight"):
        loaded(copy)
    save_file({**weights, "classifier.bias": torch.tensor([0.0, torch.nan])}, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"classifier\.bias holds values that are NaN"):
        loaded(copy)
    save_file({**weights, "classifier.bias": torch.zeros(5)}, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match="cannot be read"):
        loaded(copy)


def test_flipped_bytes_are_refused_or_give_a_subject(copy):
    rng = np.random.default_rng(5)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        content = (copy / name).read_bytes()
        head = min(len(content), 4000)
        for position in rng.integers(0, head, 8):
            damaged = bytearray(content)
            damaged[position] ^= 1 << int(rng.integers(8))
            (copy / name).write_bytes(bytes(damaged))
            try:
                assert loaded(copy).card.n_parameters > 0
            except AuditkitError as error:
                assert str(copy) in str(error)  # noqa: PT017 - both outcomes are allowed
        (copy / name).write_bytes(content)


def test_a_tokenizer_that_changed_is_noticed(copy):
    tokenizer = FolderTokenizer.read(copy)
    again = FolderTokenizer.model_validate_json(tokenizer.model_dump_json())
    changed(copy, "tokenizer.json", truncation=None, padding=None, version="1.0", extra=1)
    with pytest.raises(CheckpointError, match="sha256 differs"):
        again.ids("a fine film")


def test_a_folder_without_a_tokenizer_is_refused_with_how_to_write_it(copy):
    (copy / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"AutoTokenizer\.from_pretrained"):
        loaded(copy)


def test_too_old_a_library_is_an_absent_extra(bert, monkeypatch):
    monkeypatch.setattr("auditkit.models.pretrained.version", lambda _name: "5.2.1")
    with pytest.raises(
        MissingExtraError, match=r"5\.3 or later \(installed: 5\.2\.1\).*auditkit\[hf\]"
    ) as caught:
        loaded(bert)
    assert caught.value.exit_code == 6


def test_loading_leaves_the_network_switch_and_the_generators_as_they_were(bert, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before, state = constants.HF_HUB_OFFLINE, torch.random.get_rng_state()
    loaded(bert)
    assert before == constants.HF_HUB_OFFLINE
    assert "HF_HUB_OFFLINE" not in os.environ
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_misspelt_tokenizer_is_named(tmp_path):
    from auditkit.data.sources import read_rows

    config = DataConfig(source="shakespeare", tokenizer="wrod")
    with pytest.raises(DataError, match="neither word, character, byte nor a folder"):
        read_rows(config, split="test", seed=0, folder=tmp_path)


def test_a_folder_can_read_texts_for_any_model(copy, tmp_path):
    from auditkit.data.fitting import fit_preprocessing

    rows = Rows(
        name="reviews",
        source="memory",
        split="train",
        target="label",
        labels=texts(["good", "bad"]),
        texts=texts(["a fine film", "a dull film"]),
        text_form=TextForm(str(copy)),
    )
    fitted = fit_preprocessing(rows)
    assert fitted.length == 5
    assert encode(rows, fitted).inputs.tolist() == [
        fitted.tokenizer.ids("a fine film"),
        fitted.tokenizer.ids("a dull film"),
    ]
