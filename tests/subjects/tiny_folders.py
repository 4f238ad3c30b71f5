"""Tiny folders of transformers with random weights and a tokenizer of their own."""

import warnings
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from auditkit.randomness import global_generators_seeded

GOOD = ("a fine film", "fine and warm", "a warm and fine story", "good")
BAD = ("a dull film", "dull and cold", "a cold and dull story", "bad bad film")
WORDS = sorted({word for text in (*GOOD, *BAD) for word in text.split()})
SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def save_tokenizer(folder: Path, *, kind: str) -> int:
    """A tokenizer of whole words with the special tokens of BERT, or with an end of text only; its size."""
    from transformers import PreTrainedTokenizerFast

    special = list(SPECIAL.values()) if kind == "bert" else ["<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate([*special, *WORDS])}
    unknown = "[UNK]" if kind == "bert" else "<|endoftext|>"
    engine = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    engine.pre_tokenizer = pre_tokenizers.Whitespace()
    named = {"eos_token": "<|endoftext|>", "bos_token": "<|endoftext|>"}
    if kind == "bert":
        engine.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
        )
        named = {f"{role}_token": token for role, token in SPECIAL.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        PreTrainedTokenizerFast(tokenizer_object=engine, **named).save_pretrained(folder)
    return len(vocabulary)


def save_model(folder: Path, class_name: str, **settings) -> Path:
    """A randomly initialised model with its tokenizer."""
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    is_gpt = class_name.startswith("GPT2")
    n_tokens = save_tokenizer(folder, kind="gpt" if is_gpt else "bert")
    sizes = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 48}
    if class_name.startswith(("Bert", "Roberta")):
        sizes = {"pad_token_id": 0} if class_name.startswith("Roberta") else {}
        sizes |= {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        }
        sizes |= {"max_position_embeddings": 40}
    if class_name.startswith("DistilBert"):
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 40}
    stem = class_name.partition("For")[0].removesuffix("LMHeadModel").removesuffix("Model")
    config_class = getattr(transformers, f"{stem}Config")
    if is_gpt:
        sizes |= {"bos_token_id": 0, "eos_token_id": 0}
    # Wide initial values, so that random models differ between inputs by more than rounding.
    config = config_class(vocab_size=n_tokens, **{"initializer_range": 0.5, **sizes, **settings})
    with global_generators_seeded(1):
        model = getattr(transformers, class_name)(config)
    model.save_pretrained(folder)
    return folder


def plain(folder: Path, class_name: str):
    """Model and tokenizer as a user of transformers would load them."""
    import transformers

    model = getattr(transformers, class_name).from_pretrained(folder, attn_implementation="eager")
    return model.eval(), transformers.PreTrainedTokenizerFast.from_pretrained(folder)


def log_probabilities(model, ids: list[int]) -> torch.Tensor:
    """Of one text on its own, without padding: the independent reference."""
    with torch.no_grad():
        return torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0].double(), dim=-1)
