"""Weights that were learned elsewhere: what epsilon does not cover, and when that must be said twice.

Nothing in a folder of weights tells which rows they were learned from. That a body was public is an
assumption of the certificate; a body that was trained to tell classes is the likeliest to have been trained
on these very rows, and is not taken without the user's word.
"""

from collections.abc import Iterator
from pathlib import Path

from auditkit.data.json_files import read_json
from auditkit.data.transformers_folder import CONFIG, weights_sha256
from auditkit.privacy.preflight.report import Check, assumed, unsafe
from auditkit.records import Message

_LABELLED = ("Classification", "QuestionAnswering", "MultipleChoice")
"""How the names of classes end that are trained on labelled rows, and not on text at large."""


def pretrained_checks(folder: Path, *, is_public: bool) -> Iterator[Check]:
    """Take the weights in ``folder`` for public, but those trained on labels only at the user's word.

    Args:
        folder: Of transformers; screened.
        is_public: Whether the user says that its weights were not trained on the private rows.
    """
    names = read_json(folder / CONFIG).get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if isinstance(name, str) and name.endswith(_LABELLED) and not is_public:
        yield unsafe("start", _FINE_TUNED, folder=str(folder), name=name)
        return
    values = {"folder": folder.resolve().name, "sha256": weights_sha256(folder)}
    yield assumed("start", Message(text=_STATED if is_public else _ASSUMED, values=values))


_FINE_TUNED = (
    "the weights in {folder} are those of a {name}, which was trained on labelled rows: if on these, "
    "whatever it learned of them would stay, and epsilon would not cover it. If they were not trained on "
    "these rows, say so: --public-body (public_body: true in a config). Else name the folder of the model as "
    "it was before it saw them"
)


_ASSUMED = (
    "The training began with the pretrained weights in {folder} (sha256 {sha256}). It is assumed that they "
    "were not trained on these rows: epsilon does not cover what they learned before."
)
_STATED = (
    "The training began with the pretrained weights in {folder} (sha256 {sha256}). Whoever started it said "
    "that they were not trained on these rows: epsilon does not cover what they learned before."
)
