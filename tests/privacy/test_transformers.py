"""Encoders and decoders of transformers, built small from their configurations: nothing is downloaded."""

import copy
import warnings

import pytest
import torch
from torch import nn

from auditkit.config.model import Architecture
from auditkit.data.sequences import NOT_COUNTED
from auditkit.data.tokenizers import FolderTokenizer
from auditkit.models.losses import per_row_loss
from auditkit.models.zoo import build_module
from auditkit.privacy.clipping import ROUNDING_SLACK, ClippedGradients
from auditkit.privacy.per_example.book_keeping import Recorder
from auditkit.randomness import global_generators_seeded, torch_rng
from tests.privacy.reference import clipped_together, length

pytest.importorskip("transformers", reason="transformers is not installed")

import transformers

from tests.subjects.tiny_folders import save_model

TOLERANCE = 1e-5
VOCABULARY, LENGTH = 40, 9
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 24, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
         "max_position_embeddings": 16, "pad_token_id": 0}  # fmt: skip


class Logits(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(ids).logits


def bert() -> nn.Module:
    return transformers.BertForSequenceClassification(transformers.BertConfig(num_labels=3, **SMALL))


def roberta() -> nn.Module:
    return transformers.RobertaForSequenceClassification(transformers.RobertaConfig(num_labels=3, **SMALL))


def distilbert() -> nn.Module:
    config = transformers.DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, n_layers=2, n_heads=2, hidden_dim=24, num_labels=3, dropout=0.0,
        attention_dropout=0.0, seq_classif_dropout=0.0, max_position_embeddings=16,
    )  # fmt: skip
    return transformers.DistilBertForSequenceClassification(config)


def vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=8,
        patch_size=4, num_channels=1, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return transformers.ViTForImageClassification(config)


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=16, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=2, use_cache=False,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def llama() -> nn.Module:
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=16, bos_token_id=1, eos_token_id=2, use_cache=False,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


MODELS = {maker.__name__: maker for maker in (bert, roberta, distilbert, vit, gpt2, llama)}


def made(name: str) -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """The module, inputs with a repeated token, and targets."""
    with global_generators_seeded(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = Logits(MODELS[name]()).train()
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.3)
    rng = torch_rng(0, "ids")
    inputs = torch.randint(3, VOCABULARY, (6, LENGTH), generator=rng)
    inputs[:, 1] = inputs[:, 4]
    if name == "vit":
        inputs = torch.randn(6, 1, 8, 8, generator=rng)
    targets = torch.randint(0, 3, (6,), generator=rng)
    if name in ("gpt2", "llama"):
        targets = inputs.roll(-1, dims=1)
    return module, inputs, targets


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", MODELS)
def test_norms_and_sums_equal_those_of_one_backward_pass_per_row(name):
    module, inputs, targets = made(name)
    expected = _gradients(module, inputs, targets)
    norms = torch.tensor([length(row) for row in expected])
    with ClippedGradients(module, 1e9) as clipped:
        torch.testing.assert_close(clipped.norms(inputs, targets), norms, rtol=TOLERANCE, atol=0.0)
        found = clipped.clipped_sum(inputs, targets)
    sums = [sum(parts) for parts in zip(*expected, strict=True)]
    difference = length([a.double() - b for a, b in zip(found, sums, strict=True)])
    assert difference <= TOLERANCE * length(sums)
    recorder = Recorder(module)
    recorder.parts(inputs, targets, None)
    assert recorder.without_rule is None


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_clipped_sum_with_tied_embeddings_equals_one_backward_pass_per_row():
    module, inputs, targets = made("gpt2")
    assert module.model.lm_head.weight is module.model.transformer.wte.weight
    rows = _gradients(module, inputs, targets)
    bound = sorted(length(row) for row in rows)[len(rows) // 2]
    columns = [torch.stack(column) for column in zip(*rows, strict=True)]
    expected = clipped_together(columns, bound * (1 - ROUNDING_SLACK))
    with ClippedGradients(module, bound) as clipped:
        found = clipped.clipped_sum(inputs, targets)
    difference = length([a.double() - b for a, b in zip(found, expected, strict=True)])
    assert difference <= TOLERANCE * length(expected)


NO_DROPOUT = dict.fromkeys(
    ("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout", "resid_pdrop",
     "embd_pdrop", "attn_pdrop"), 0.0)  # fmt: skip


@pytest.mark.parametrize("class_name", ["BertModel", "DistilBertModel", "RobertaModel", "GPT2Model"])
def test_norms_of_each_trained_part_equal_those_of_one_backward_pass_per_row(tmp_path, class_name):
    folder = save_model(tmp_path / "model", class_name, initializer_range=0.1, **NO_DROPOUT)
    n_tokens = len(FolderTokenizer.read(folder).vocabulary)
    rng = torch_rng(0, "ids", class_name)
    inputs = torch.randint(1, n_tokens - 1, (6, LENGTH), generator=rng)
    targets = torch.randint(0, 2, (6,), generator=rng)
    for part in ("head", "biases", "low-rank", "all"):
        module = _classifier(folder, part, n_tokens)
        inputs[-1, 4:] = module.front.padding
        expected = torch.tensor([length(row) for row in _gradients(module, inputs, targets)])
        with ClippedGradients(module, 1.0) as clipped:
            found = clipped.norms(inputs, targets)
        torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=0.0)


@pytest.mark.parametrize("part", ["biases", "low-rank", "all"])
def test_norms_of_each_trained_part_of_a_model_of_language_equal_those_of_one_backward_pass(tmp_path, part):
    folder = save_model(tmp_path / "model", "GPT2LMHeadModel", initializer_range=0.1, **NO_DROPOUT)
    n_tokens = len(FolderTokenizer.read(folder).vocabulary)
    ids = torch.randint(1, n_tokens - 1, (6, LENGTH + 1), generator=torch_rng(0, "ids", part))
    inputs, targets = ids[:, :-1].clone(), ids[:, 1:].clone()
    inputs[-1, 4:], targets[-1, 4:] = n_tokens - 1, NOT_COUNTED
    architecture = Architecture.model_validate(
        {"name": "hf-language-model", "folder": str(folder), "train": part}
    )
    sizes = {"vocabulary_size": n_tokens, "length": LENGTH}
    module = _with_products(build_module(architecture, rng=torch_rng(0, part), **sizes).train())
    expected = torch.tensor([length(row) for row in _gradients(module, inputs, targets)])
    with ClippedGradients(module, 1.0) as clipped:
        found = clipped.norms(inputs, targets)
    torch.testing.assert_close(found, expected, rtol=TOLERANCE, atol=0.0)


def _classifier(folder, part: str, n_tokens: int) -> nn.Module:
    pooling = "last" if part == "biases" else "mean"
    architecture = Architecture.model_validate(
        {"name": "hf-encoder", "folder": str(folder), "train": part, "pooling": pooling, "dropout": 0.0}
    )
    sizes = {"vocabulary_size": n_tokens, "length": LENGTH, "n_classes": 2}
    return _with_products(build_module(architecture, rng=torch_rng(0, part), **sizes).train())


def _with_products(module: nn.Module) -> nn.Module:
    """Products that start at zero are given values."""
    rng = torch_rng(0, "products")
    for name, parameter in module.named_parameters():
        if ".up." in name:
            nn.init.normal_(parameter, std=0.3, generator=rng)
    return module


def _gradients(module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> list[list[torch.Tensor]]:
    module = copy.deepcopy(module).double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    found = []
    for row in range(len(inputs)):
        loss = per_row_loss(module(inputs[row : row + 1]), targets[row : row + 1]).sum()
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        found.append(
            [torch.zeros_like(p) if g is None else g for g, p in zip(gradients, parameters, strict=True)]
        )
    return found
