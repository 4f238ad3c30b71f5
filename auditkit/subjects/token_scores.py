"""Log-probabilities of chosen tokens of given rows, by models that read left to right or fill in masks.

A model that reads left to right gives a token the probability after those before it. A masked model gives it
the probability with all others shown: the row is read once per token, that one masked (Salazar et al. 2020,
arXiv:1910.14659, section 2.1). Unlike the losses of a whole text, no two tokens are masked at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from auditkit.data.dataset import Dataset, FeatureSpace, FloatArray, IntArray, TokenSpace
from auditkit.data.preprocessing import LanguagePreprocessing
from auditkit.data.tokenizers import padded
from auditkit.subjects.masked_language_model import MaskedLanguageModel
from auditkit.subjects.subject import Generative

_MOST_LOGITS = 2**25
"""Numbers that a pass of a masked model may give at once: 128 MiB in single precision."""


@dataclass(frozen=True, slots=True)
class TokenScores:
    """What a model says of chosen tokens.

    Attributes:
        nats: Natural logarithms of the probabilities, one array per row, in the order asked for.
        n_read: Rows that went through the model, masked copies counted one by one.
    """

    nats: list[FloatArray]
    n_read: int


def reads_both_sides(subject: Generative) -> bool:
    """Whether a token is foretold from those on both sides of it."""
    return isinstance(subject, MaskedLanguageModel)


def token_scores(
    subject: Generative,
    steps: LanguagePreprocessing,
    rows: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    *,
    batch_size: int,
) -> TokenScores:
    """Log-probabilities of the tokens at ``positions`` of each row.

    Args:
        subject: A model of language.
        steps: Its preprocessing, from which the ids come.
        rows: Token ids, special ones included, at most ``steps.length + 1`` of them.
        positions: Which tokens, per row; 0 cannot be asked of a model that reads left to right.
        batch_size: Rows per pass; decides memory and not the figures.
    """
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    rows, asked = [rows[row] for row in order], [positions[row] for row in order]
    if isinstance(subject, MaskedLanguageModel):
        found, n_read = _masked(subject, steps, rows, asked, batch_size)
    else:
        found, n_read = _causal(subject, steps, rows, asked, batch_size)
    nats: list[FloatArray] = [np.empty(0)] * len(rows)
    for place, scores in zip(order, found, strict=True):
        nats[place] = scores
    return TokenScores(nats, n_read)


def _causal(
    subject: Generative,
    steps: LanguagePreprocessing,
    rows: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    batch_size: int,
) -> tuple[list[FloatArray], int]:
    found = []
    # A program that was exported may read rows of one length only.
    fixed = "layers" not in subject.capabilities
    for start in range(0, len(rows), batch_size):
        part = rows[start : start + batch_size]
        width = steps.length if fixed else len(part[-1]) - 1
        losses = subject.token_losses(_as_data(steps, part, width), batch_size=batch_size)
        asked = positions[start : start + batch_size]
        found += [-losses.nats[row, np.array(places, dtype=np.int64) - 1] for row, places in enumerate(asked)]
    return found, len(rows)


def _as_data(steps: LanguagePreprocessing, rows: Sequence[Sequence[int]], width: int) -> Dataset:
    """Contexts, and the token that follows each."""
    tokenizer = steps.tokenizer
    contexts = padded([row[:-1] for row in rows], width, tokenizer.padding)
    return Dataset(
        name="sentences",
        source="memory",
        split=None,
        inputs=torch.tensor(contexts, dtype=torch.int64),
        y_true=np.array([row[-1] for row in rows], dtype=np.int64),
        classes=steps.classes,
        target=steps.target,
        features=FeatureSpace((), tokens=TokenSpace(tokenizer.vocabulary, tokenizer.padding)),
        task="language-modelling",
    )


def _masked(
    subject: MaskedLanguageModel,
    steps: LanguagePreprocessing,
    rows: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    batch_size: int,
) -> tuple[list[FloatArray], int]:
    """Every row once per token asked for; copies of one length beside each other."""
    owners = np.array([row for row, places in enumerate(positions) for _ in places], dtype=np.int64)
    places = np.array([place for row in positions for place in row], dtype=np.int64)
    nats = np.empty(len(owners))
    start = 0
    while start < len(owners):
        # Rows come in order of their length, so the step that fits the next few fits the last of them too.
        step = batch_size
        while True:
            width = len(rows[owners[min(start + step, len(owners)) - 1]])
            if step == 1 or step * width * len(steps.classes) <= _MOST_LOGITS:
                break
            step = step // 2
        taken = slice(start, start + step)
        nats[taken] = _of_copies(subject, steps, rows, owners[taken], places[taken])
        start += step
    ends = np.cumsum([0, *(len(row) for row in positions)])
    return [nats[start:end] for start, end in pairwise(ends.tolist())], len(owners)


def _of_copies(
    subject: MaskedLanguageModel,
    steps: LanguagePreprocessing,
    rows: Sequence[Sequence[int]],
    owners: IntArray,
    places: IntArray,
) -> FloatArray:
    """The log-probability of the token that is masked in each copy."""
    width = len(rows[owners[-1]])
    copies = torch.tensor(padded([rows[owner] for owner in owners], width, steps.tokenizer.padding))
    line, column = torch.arange(len(owners)), torch.from_numpy(places)
    wanted = copies[line, column]
    copies[line, column] = subject.mask
    with torch.inference_mode():
        outputs = subject.module(copies.to(subject.device))[line, column].cpu()
    chances = torch.log_softmax(outputs.double(), dim=1)
    return np.asarray(chances.gather(1, wanted[:, None]).squeeze(1).numpy())
