"""Quantisation of models of tokens: embeddings, recurrent layers, attention and convolutions."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.config import Architecture
from auditkit.data.preprocessing import LanguagePreprocessing, TextPreprocessing
from auditkit.data.tokenizers import CharacterTokenizer
from auditkit.models.zoo import build_module
from auditkit.randomness import torch_rng
from auditkit.registry import VARIANTS
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import tiny_language_dataset
from auditkit.variants.variant import VariantContext

TOKENIZER = CharacterTokenizer(characters=tuple("\n abcd"))
LENGTH = 12
SMALL = {
    "rnn": {"width": 8, "hidden": 8},
    "bert": {"width": 8, "layers": 1, "heads": 2},
    "gpt": {"width": 8, "layers": 1, "heads": 2},
    "transformer-lm": {"width": 8, "layers": 1, "heads": 2},
    "wavenet": {"channels": 8, "skip_channels": 8, "layers": 2, "stacks": 1},
}
CLASSIFIERS = {"rnn", "bert"}


def subject_of(name):
    architecture = Architecture.model_validate({"name": name, **SMALL[name]})
    sizes = {"vocabulary_size": len(TOKENIZER.vocabulary), "length": LENGTH, "n_classes": 2}
    steps = (
        TextPreprocessing(target="label", classes=("no", "yes"), tokenizer=TOKENIZER, length=LENGTH)
        if name in CLASSIFIERS
        else LanguagePreprocessing(tokenizer=TOKENIZER, length=LENGTH)
    )
    return TorchSubject.build(
        build_module(architecture, rng=torch_rng(0, name), **sizes),
        architecture=architecture,
        classes=steps.classes,
        preprocessing=steps,
    )


def quantised(baseline, **parameters):
    def no_rows():
        raise AssertionError("quantising needs no training rows")

    context = VariantContext(name="int8", seed=0, folder=Path(), training_data=no_rows)
    return VARIANTS.make("quantise", parameters).derive(baseline, context)


@pytest.mark.parametrize("name", SMALL)
def test_models_of_tokens_are_quantised_and_answer_nearly_alike(name):
    baseline, data = subject_of(name), tiny_language_dataset(20)
    variant = quantised(baseline)
    before, after = (one.predict(data, batch_size=8).log_probabilities for one in (baseline, variant))
    assert np.isfinite(after).all()
    assert np.abs(after - before).max() < 0.2
    assert np.abs(after - before).max() > 0
    assert variant.card.size_b < 0.6 * baseline.card.size_b


@pytest.mark.parametrize("name", SMALL)
def test_every_row_of_the_embedding_lies_on_a_grid_and_padding_stays_nothing(name):
    module = quantised(subject_of(name)).module
    embedding = next(layer for layer in module.modules() if isinstance(layer, nn.Embedding))
    for row in embedding.weight.detach().double():
        levels = row / (row.abs().max() / 127).clamp(min=1e-30)
        torch.testing.assert_close(levels, levels.round(), rtol=0, atol=1e-3)
    assert embedding.weight[0].abs().max() == 0


@pytest.mark.parametrize("name", SMALL)
def test_padding_changes_no_answer_of_the_quantised_model(name):
    variant, data = quantised(subject_of(name)), tiny_language_dataset(20)
    short = data.take(((data.inputs != 0).sum(dim=1) <= 8).numpy())
    cut = torch.log_softmax(variant.logits(short.inputs[:, :8]), dim=1)
    whole = torch.log_softmax(variant.logits(short.inputs), dim=1)
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bits", [4, 8])
def test_fewer_bits_move_the_next_tokens_further(bits):
    baseline, data = subject_of("gpt"), tiny_language_dataset(40)
    losses = [
        quantised(baseline, bits=bits).token_losses(data, batch_size=8).nats,
        baseline.token_losses(data, batch_size=8).nats,
    ]
    moved = np.abs(losses[0] - losses[1]).mean()
    assert 0 < moved < {4: 0.2, 8: 0.01}[bits]


@pytest.mark.parametrize("name", ["gpt", "transformer-lm", "wavenet"])
def test_no_position_of_a_quantised_model_depends_on_what_comes_later(name):
    module, tokens = quantised(subject_of(name)).module, tiny_language_dataset(20).inputs
    changed = tokens.clone()
    changed[:, 7:] = 2 + (tokens[:, 7:] + 1) % 5
    with torch.no_grad():
        assert torch.equal(module(tokens)[:, :7], module(changed)[:, :7])
