"""Checkpoints: weights as safetensors, and beside them a card that says everything else.

Both files are sealed: the card holds the sha256 of the weights and of its own content, so that a damaged
byte is noticed instead of changing a figure.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import torch
from pydantic import ValidationError

from auditkit import __version__
from auditkit.config.model import Architecture
from auditkit.data.steps import AnyPreprocessing, LanguagePreprocessing, sizes_of
from auditkit.errors import CheckpointError, ConfigError, UnsafeError
from auditkit.models.own_class import is_own
from auditkit.models.zoo import skeleton
from auditkit.records import Certificate, Message, Record, TrainingRecord
from auditkit.subjects.tensor_file import TensorFile, open_regular, sha256_of, write_tensors
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.subjects.weights import check_fit, fill_module

FORMAT_VERSION = 1
WEIGHTS, CARD = "model.safetensors", "card.json"
_CARD_LIMIT_B = 64 * 2**20
_AGAIN = "train or copy the checkpoint again"


class CheckpointCard(Record):
    """What a checkpoint is besides its weights.

    Attributes:
        format_version: Of this file.
        auditkit: Version that wrote it.
        weights_sha256: Of the weights file.
        architecture: From which the module is built again, sizes included.
        preprocessing: From raw rows to inputs, as fitted on the training rows.
        classes: Names of the outputs, in order.
        positive: The favourable label, where one is known.
        sha256: Of everything above, as canonical JSON.
    """

    format_version: int = FORMAT_VERSION
    auditkit: str
    weights_sha256: str
    title: str
    kind: str
    architecture: dict[str, Any]
    preprocessing: AnyPreprocessing | None
    classes: tuple[str, ...]
    positive: str | None = None
    training: TrainingRecord | None = None
    certificate: Certificate | None = None
    statements: tuple[Message, ...] = ()
    sha256: str = ""

    def seal(self) -> str:
        """sha256 of the content, whatever the layout of the file."""
        content = self.model_dump(mode="json", exclude={"sha256"})
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def save_checkpoint(folder: Path, subject: TorchSubject, *, positive: str | None = None) -> Path:
    """Write a checkpoint that :func:`load_checkpoint` reads back as the same subject.

    Args:
        folder: Made anew; a checkpoint that stands there is replaced as a whole. A path that ends in
            ``.safetensors`` is the weights file itself, with ``NAME.card.json`` beside it.
        subject: Its architecture must be one of the zoo, with all sizes.
        positive: The favourable label, for the card.

    Returns:
        The folder, or the weights file.

    Raises:
        CheckpointError: The module is not what its architecture builds, or the place cannot be written.
    """
    tensors = _tensors(subject)

    def write_weights(stream: IO[bytes]) -> str:
        return write_tensors(stream, tensors)

    def card(weights_sha256: str) -> bytes:
        return _card(subject, positive, weights_sha256).model_dump_json(indent=2).encode()

    try:
        if folder.suffix == ".safetensors":
            folder.parent.mkdir(parents=True, exist_ok=True)
            digest = _replace_file(folder, write_weights)
            _replace_file(_card_beside(folder), lambda stream: stream.write(card(digest)))
        else:
            _replace_folder(folder, write_weights, card)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot be written: {error}") from None
    return folder


def load_checkpoint(
    path: Path, *, name: str = "baseline", device: str = "cpu", own_class: str | None = None
) -> TorchSubject:
    """Read a checkpoint: its folder, or the weights file with its card beside it.

    The file of weights is read once, tensor by tensor, so that memory holds them once.

    Args:
        path: The folder or the weights file.
        name: Of the subject.
        device: Where the module is put.
        own_class: The ``package.module:Class`` that the config names, when the model is of a class of the
            user. A card alone never has a module imported.

    Raises:
        CheckpointError: A file is absent, damaged, written by a newer version, or does not fit the other.
        UnsafeError: The card names a class of the user, and the config does not.
    """
    weights_path, card_path = checkpoint_files(path)
    card = _read_card(card_path)
    _refuse_import(card, card_path, own_class)
    _check_agreement(card, card_path)
    _check_weights_are_there(weights_path)
    with open_regular(weights_path) as stream:
        try:
            architecture = Architecture.model_validate(card.architecture)
            tensors = _read_weights(stream, weights_path, card, architecture)
            module = fill_module(architecture, tensors, weights_path)
        except (ConfigError, ValidationError) as error:
            raise CheckpointError(
                f"{card_path}: the architecture cannot be built: {error}; {_AGAIN}"
            ) from None
    return TorchSubject.build(
        module,
        name=name,
        title=card.title,
        kind=card.kind,
        source=str(path),
        architecture=architecture,
        classes=card.classes,
        preprocessing=card.preprocessing,
        training=card.training,
        certificate=card.certificate,
        statements=card.statements,
        device=device,
    )


def checkpoint_files(path: Path) -> tuple[Path, Path]:
    """The weights file and the card of a checkpoint; either may be absent."""
    if path.suffix != ".safetensors" or path.is_dir():
        return path / WEIGHTS, path / CARD
    own = _card_beside(path)
    return path, own if own.exists() else path.with_name(CARD)


def certificates_in(folder: Path) -> Iterator[tuple[Path, Certificate]]:
    """Every checkpoint in a folder that has a certificate; what cannot be read as one is passed over."""
    cards = (*folder.glob(f"*/{CARD}"), *folder.glob("*.card.json"), *folder.glob(CARD))
    for path in sorted(cards):
        try:
            certificate = _read_card(path).certificate
        except CheckpointError:
            continue
        if certificate is not None:
            yield (path.parent if path.name == CARD else path), certificate


def _refuse_import(card: CheckpointCard, card_path: Path, own_class: str | None) -> None:
    """Refuse a card that would have a module imported which the config does not name."""
    named = str(card.architecture.get("name", ""))
    if is_own(named) and named != own_class:
        raise UnsafeError(
            f"{card_path}: the model is of the class {named!r}. A file alone does not have code imported. "
            f"If you know this class, write subject.architecture: {{name: {named}}} in the config. "
            "Nothing was executed"
        )


def _check_weights_are_there(path: Path) -> None:
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; a checkpoint is a folder with {WEIGHTS} and {CARD}")


def _read_weights(
    stream: IO[bytes], path: Path, card: CheckpointCard, architecture: Architecture
) -> dict[str, torch.Tensor]:
    """The tensors, when the file is the one that the card describes and the shapes are the architecture's."""
    other = CheckpointError(f"{path}: not the weights that the card describes (sha256 differs); {_AGAIN}")
    try:
        file = TensorFile(stream, path)
        # Before memory is taken for the values.
        check_fit(architecture, file.outline, path)
    except (CheckpointError, ConfigError):
        if sha256_of(stream) != card.weights_sha256:
            raise other from None
        raise
    tensors, digest = file.read()
    if digest != card.weights_sha256:
        raise other
    return tensors


def _tensors(subject: TorchSubject) -> dict[str, torch.Tensor]:
    """The state, checked to be what the architecture builds."""
    state = dict(subject.state())
    expected = skeleton(subject.architecture).state_dict()
    if {name: tensor.shape for name, tensor in state.items()} != {k: v.shape for k, v in expected.items()}:
        raise CheckpointError(
            f"{subject.card.name}: the module is not what its architecture {subject.architecture.name!r} "
            "builds; a checkpoint could not be read back"
        )
    return state


def _card(subject: TorchSubject, positive: str | None, weights_sha256: str) -> CheckpointCard:
    card = CheckpointCard(
        auditkit=__version__,
        weights_sha256=weights_sha256,
        title=subject.card.title,
        kind=subject.card.kind,
        architecture=subject.architecture.model_dump(mode="json"),
        preprocessing=subject.preprocessing,
        classes=subject.card.classes,
        positive=positive,
        training=subject.card.training,
        certificate=subject.card.certificate,
        statements=subject.card.statements,
    )
    return card.model_copy(update={"sha256": card.seal()})


def _read_card(path: Path) -> CheckpointCard:
    content = _read(path, limit_b=_CARD_LIMIT_B)
    try:
        values = json.loads(content)
        version = values["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path}: not the card of a checkpoint ({error}); {_AGAIN}") from None
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{path}: format version {version!r}, this auditkit {__version__} reads {FORMAT_VERSION}; "
            "update auditkit, or train again"
        )
    try:
        card = CheckpointCard.model_validate_json(content)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in item["loc"])
        raise CheckpointError(f"{path}: damaged: {where}: {item['msg']}; {_AGAIN}") from None
    if card.sha256 != card.seal():
        raise CheckpointError(
            f"{path}: the content was changed after it was written (sha256 differs); {_AGAIN}"
        )
    return card


def _tokens_of(steps: AnyPreprocessing) -> tuple[str, ...]:
    """What a model of language chooses from; its card names no classes."""
    return steps.classes if isinstance(steps, LanguagePreprocessing) else ()


def _check_agreement(card: CheckpointCard, path: Path) -> None:
    """Refuse a card whose parts are not about the same model."""
    steps, written = card.preprocessing, card.architecture
    sizes = {"n_classes": len(card.classes)} if steps is None else sizes_of(steps)
    problems = [
        f"{key} is {written[key]!r} in the architecture, {size} in what the model reads"
        for key, size in sizes.items()
        if written.get(key) not in (None, size)
    ]
    if steps is not None and steps.classes != (card.classes or _tokens_of(steps)):
        problems.append(
            f"the preprocessing has the classes {list(steps.classes)}, the model {list(card.classes)}"
        )
    if card.positive is not None and card.positive not in card.classes:
        problems.append(f"the favourable label {card.positive!r} is not one of the classes")
    if problems:
        raise CheckpointError(f"{path}: contradicts itself: {'; '.join(problems)}; {_AGAIN}")


def _read(path: Path, *, limit_b: int) -> bytes:
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; a checkpoint is a folder with {WEIGHTS} and {CARD}")
    with open_regular(path) as stream:
        content = stream.read(limit_b + 1)
    if len(content) > limit_b:
        raise CheckpointError(f"{path}: larger than {limit_b} bytes; not the card of a checkpoint. {_AGAIN}")
    return content


def _card_beside(weights: Path) -> Path:
    return weights.with_name(f"{weights.stem}.card.json")


def _replace_file(path: Path, write: Callable[[IO[bytes]], Any]) -> Any:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with temporary.open("wb") as stream:
        written = write(stream)
    temporary.replace(path)
    return written


def _replace_folder(
    folder: Path, write_weights: Callable[[IO[bytes]], str], card: Callable[[str], bytes]
) -> None:
    """Write a whole folder beside its place and rename it there."""
    strange = (
        sorted(path.name for path in folder.iterdir() if path.name not in (WEIGHTS, CARD))
        if folder.is_dir()
        else []
    )
    if strange or folder.is_file():
        raise CheckpointError(
            f"{folder}: is {'a folder with other files, such as ' + strange[0] if strange else 'a file'}; "
            "a checkpoint needs a folder of its own"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        made = temporary / "new"
        made.mkdir()
        with (made / WEIGHTS).open("wb") as stream:
            digest = write_weights(stream)
        (made / CARD).write_bytes(card(digest))
        if folder.is_dir():
            folder.rename(temporary / "old")
        made.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
