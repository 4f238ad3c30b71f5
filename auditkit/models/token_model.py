"""A model of transformers as a module from padded rows of token ids to logits."""

from typing import Any

import torch
from torch import nn

from auditkit.data.tokenizers import FolderTokenizer


class TokenModel(nn.Module):
    """Token ids ``(n, length)`` to logits ``(n, k)``, or ``(n, length, vocabulary)`` for models of language.

    Padding is on the right and is not looked at; ``stand_in`` is shown in its place, because an id that only
    fills rows up may lie outside the vocabulary. The first position always counts: a row without any token
    would otherwise have nothing to look at.
    """

    def __init__(self, model: nn.Module, *, padding: int, stand_in: int) -> None:
        super().__init__()
        self.model = model
        self.padding = padding
        self.stand_in = stand_in
        settings: Any = model.config
        settings.use_cache = False
        settings.return_dict = True
        # Classifiers of the GPT kind look for the last token that is not this one.
        settings.pad_token_id = stand_in

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of each row, or of each position."""
        ids, visible = without_padding(tokens, self.padding, self.stand_in)
        logits: torch.Tensor = self.model(input_ids=ids, attention_mask=visible).logits
        return logits


def without_padding(tokens: torch.Tensor, padding: int, stand_in: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids that a model knows, and which positions it may look at (1) or not (0); both ``(n, length)``."""
    first = torch.arange(tokens.shape[1], device=tokens.device) == 0
    visible = (tokens != padding) | first
    return torch.where(tokens == padding, stand_in, tokens), visible.long()


def vocabulary_size(model: nn.Module) -> int:
    """How many ids a model has a vector for."""
    library_model: Any = model
    return int(library_model.get_input_embeddings().weight.shape[0])


def stand_in_for(tokenizer: FolderTokenizer, model: nn.Module) -> int:
    """The id that a model is shown in place of padding: padding itself where it has a vector for that."""
    if tokenizer.padding < vocabulary_size(model):
        return tokenizer.padding
    return tokenizer.special("eos") or 0


def add_padding_vector(model: nn.Module, padding: int) -> bool:
    """Give a classifier a vector of zeros for an id just behind its vocabulary; whether that was needed.

    Padding is never looked at, so no answer changes. Models of language are left alone: to them one more
    token would be one more answer.
    """
    library_model: Any = model
    old: nn.Embedding = library_model.get_input_embeddings()
    if padding < old.num_embeddings:
        return False
    rows = torch.cat([old.weight.detach(), old.weight.new_zeros((1, old.embedding_dim))])
    new = nn.Embedding(len(rows), rows.shape[1], _weight=rows)
    library_model.set_input_embeddings(new)
    library_model.config.vocab_size = len(rows)
    return True


def most_positions(model: nn.Module) -> int | None:
    """How many tokens a model can read; ``None`` where nothing limits it."""
    settings = model.config
    known = [getattr(settings, key, None) for key in ("max_position_embeddings", "n_positions")]
    found = [int(value) for value in known if isinstance(value, int) and value > 0]
    if not found:
        return None
    # Models of the RoBERTa kind count positions from behind the padding id.
    skipped = [
        layer.padding_idx + 1
        for name, layer in model.named_modules()
        if name.endswith("position_embeddings") and getattr(layer, "padding_idx", None) is not None
    ]
    return max(1, min(found) - max(skipped, default=0))
