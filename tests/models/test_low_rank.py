"""Products of low rank beside the attention of pretrained models, in the names that transformers gives."""

import copy

import pytest
import torch
from torch import nn

from auditkit.models.low_rank import LowRank, add_low_rank
from auditkit.randomness import global_generators_seeded, torch_rng
from tests.tolerances import FLOAT32

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

WIDTH, RANK, ALPHA = 16, 2, 6.0
SMALL = {"vocab_size": 12, "hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2,
         "intermediate_size": 24, "max_position_embeddings": 12, "pad_token_id": 0}  # fmt: skip
NAMES = {"bert": ("query", "value"), "distilbert": ("q_lin", "v_lin"), "roberta": ("query", "value")}


def bert() -> nn.Module:
    return transformers.BertModel(transformers.BertConfig(**SMALL), add_pooling_layer=False)


def roberta() -> nn.Module:
    return transformers.RobertaModel(transformers.RobertaConfig(**SMALL), add_pooling_layer=False)


def distilbert() -> nn.Module:
    sizes = {"dim": WIDTH, "n_layers": 1, "n_heads": 2, "hidden_dim": 24}
    return transformers.DistilBertModel(transformers.DistilBertConfig(vocab_size=12, **sizes))


def gpt2() -> nn.Module:
    sizes = {"n_embd": WIDTH, "n_layer": 1, "n_head": 2, "n_positions": 12}
    return transformers.GPT2Model(transformers.GPT2Config(vocab_size=12, bos_token_id=1, **sizes))


MODELS = {maker.__name__: maker for maker in (bert, distilbert, roberta, gpt2)}


def states(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor([[3, 4, 5, 6], [7, 8, 3, 9]])).last_hidden_state


@pytest.fixture(params=MODELS)
def pair(request):
    """A model, and the same with products."""
    with global_generators_seeded(0):
        plain = MODELS[request.param]()
        thin = copy.deepcopy(plain)
        add_low_rank(thin, rank=RANK, alpha=ALPHA)
    return request.param, plain, thin


def fill(model: nn.Module) -> None:
    """Values for all that is trained."""
    rng = torch_rng(0, "products")
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, generator=rng)


def test_nothing_changes_until_something_is_learned(pair):
    _, plain, thin = pair
    assert torch.equal(states(thin), states(plain))


def test_only_the_products_are_trained(pair):
    name, _, thin = pair
    trained = [key for key, parameter in thin.named_parameters() if parameter.requires_grad]
    layers = [key for key, layer in thin.named_modules() if isinstance(layer, LowRank)]
    assert len(trained) == 4
    assert all(key.rpartition(".")[0].rpartition(".")[0].endswith(("down", "up")) for key in trained)
    assert [key.rpartition(".")[2] for key in layers] == list(NAMES.get(name, ("c_attn",)))


def test_products_are_what_they_are_when_written_into_the_weights_by_hand(pair):
    name, plain, thin = pair
    fill(thin)
    for key, layer in thin.named_modules():
        if isinstance(layer, LowRank):
            weight = plain.get_submodule(key).weight.data
            changes = [
                ALPHA / RANK * up.weight @ down.weight for down, up in zip(layer.down, layer.up, strict=True)
            ]
            if name == "gpt2":
                weight[:, :WIDTH] += changes[0].T
                weight[:, 2 * WIDTH :] += changes[1].T
            else:
                weight += changes[0]
    assert states(thin).flatten().tolist() == pytest.approx(states(plain).flatten().tolist(), **FLOAT32)


def test_a_model_without_known_names_gets_none():
    assert add_low_rank(nn.Sequential(nn.Linear(3, 3)), rank=RANK, alpha=ALPHA) == 0
