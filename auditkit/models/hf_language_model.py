"""A pretrained model of language from a local transformers folder, trained further on other texts."""

from typing import Literal

import torch
from torch import nn

from auditkit.data.tokenizers import FolderTokenizer
from auditkit.data.transformers_folder import CONFIG
from auditkit.errors import CheckpointError
from auditkit.models.architecture import ArchitectureKind, LanguageParameters
from auditkit.models.pretrained import head_of, load_with_head, with_head_like
from auditkit.models.pretrained_part import (
    PretrainedParameters,
    check_fit,
    choose_trained,
    folder_of,
    without_values,
)
from auditkit.models.token_model import TokenModel, stand_in_for


class HfLanguageModelParameters(PretrainedParameters, LanguageParameters):
    """The model in a folder that foretells the next token, such as GPT-2."""

    train: Literal["biases", "low-rank", "all"] = "low-rank"


def _build(parameters: HfLanguageModelParameters) -> nn.Module:
    folder = folder_of(parameters)
    head, class_name = head_of(folder)
    if head != "causal":
        raise CheckpointError(
            f"{folder / CONFIG}: {class_name} does not foretell the next token; name a folder whose model "
            "does, such as GPT2LMHeadModel, or train a classifier on its body: name: hf-encoder"
        )
    sketch = torch.get_default_device().type == "meta"
    model = with_head_like(folder, class_name) if sketch else load_with_head(folder, class_name)
    tokenizer = FolderTokenizer.read(folder.resolve())
    check_fit(parameters, tokenizer, model)
    with torch.device("cpu"):
        choose_trained(model, parameters)
        module = TokenModel(model, padding=tokenizer.padding, stand_in=stand_in_for(tokenizer, model))
    return without_values(module) if sketch else module


HF_LANGUAGE_MODEL = ArchitectureKind(
    HfLanguageModelParameters, _build, takes="tokens", task="language-modelling", pretrained=folder_of
)
