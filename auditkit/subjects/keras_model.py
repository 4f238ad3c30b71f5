"""A ``.keras`` file of Keras 3 as a subject, on the torch backend.

A plain chain of layers becomes the same layers of torch; any other model runs in Keras itself, as one module
with gradients but without layers to be told apart. Its last activation is taken off, so that what it puts out
are logits and no softmax is taken twice.
"""

import os
import sys
import tempfile
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditkit.config.model import Architecture
from auditkit.data.preprocessing import Preprocessing, n_inputs
from auditkit.data.steps import LanguagePreprocessing, TextPreprocessing
from auditkit.errors import CheckpointError, DataError, UsageError
from auditkit.randomness import global_generators_seeded, torch_rng
from auditkit.records import Message
from auditkit.subjects.keras_check import check_keras, require_keras
from auditkit.subjects.keras_layers import Reshape, activation_name, chain_of, translated
from auditkit.subjects.sources import Request
from auditkit.subjects.torch_subject import TorchSubject

TOLERANCE = 1e-4
"""How far a translated chain may be from the original, relative to its largest output."""

_ROWS = 32
_BACKEND = "KERAS_BACKEND"


class KerasModule(nn.Module):
    """A Keras model as a module: float rows ``(n, *shape)`` to its outputs."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Outputs of the model, dropout on in training mode only."""
        keras: Any = import_module("keras")
        place = f"gpu:{inputs.device.index or 0}" if inputs.device.type == "cuda" else "cpu"
        with keras.device(place):
            outputs: torch.Tensor = self.model(inputs, training=self.training)
        return outputs


class LogProbabilities(nn.Module):
    """Natural logarithms of probabilities; zeros become the smallest number above zero."""

    def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Shape as given."""
        return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()


class Logit(nn.Module):
    """Logits of probabilities, which are kept within what single precision can tell from 0 and 1."""

    def forward(self, probabilities: torch.Tensor) -> torch.Tensor:
        """Shape as given."""
        return torch.logit(probabilities, eps=1e-7)


class Numbers(nn.Module):
    """Rows as single-precision numbers."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Shape as given."""
        return inputs.float()


def load(request: Request) -> TorchSubject:
    """The model behind ``subject.keras``.

    Raises:
        UnsafeError: The file could run code when loaded; see :mod:`auditkit.subjects.keras_check`.
        CheckpointError: Damaged, or not fitting the data.
        DataError: The data are texts.
        UsageError: Keras already runs on another backend in this process.
        MissingExtraError: Keras is absent or too old.
    """
    path = request.path("keras")
    require_keras()
    content = check_keras(path)
    preprocessing = _numbers_asked_for(request.preprocessing, path)
    model = _read(content, path)
    shape = _input_shape(model, n_inputs(preprocessing), path)
    module, statements = _classifier(model, len(preprocessing.classes), path)
    whole = nn.Sequential(Numbers(), Reshape(shape), *module)
    return TorchSubject.build(
        whole,
        name=request.name,
        title=request.config.name or path.stem,
        source=str(path),
        architecture=Architecture(name=f"Keras {type(model).__name__}"),
        classes=preprocessing.classes,
        preprocessing=preprocessing,
        statements=(_said_of_inputs(request), *statements),
        device=request.device,
    )


def _numbers_asked_for(preprocessing: Preprocessing | None, path: Path) -> Preprocessing:
    if preprocessing is None:
        raise UsageError(f"{path}: needs data to say what its inputs mean; name them under data:")
    if isinstance(preprocessing, TextPreprocessing | LanguagePreprocessing):
        raise DataError(
            f"{path}: the data are texts, and the file does not say which number is which word. Use "
            "subject.function with the tokenizer of the model"
        )
    return preprocessing


def _read(content: bytes, path: Path) -> Any:
    """The model, read from the archive that was written anew."""
    keras = _keras()
    try:
        with tempfile.TemporaryDirectory() as folder, global_generators_seeded(0), keras.device("cpu"):
            copy = Path(folder) / "model.keras"
            copy.write_bytes(content)
            with warnings.catch_warnings():
                # Keras warns about how layers were written; the file is as it is.
                warnings.simplefilter("ignore")
                model = keras.saving.load_model(copy, safe_mode=True, compile=False)
    except Exception as error:  # a damaged file raises whatever its bytes happen to mean
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckpointError(f"{path}: cannot be read: {reason}. Save the model again") from None
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"{path}: {name} holds values that are NaN or infinite; save the model again"
            )
    return model


def _keras() -> Any:
    """Keras on torch.

    Raises:
        UsageError: It was imported on another backend before.
    """
    if "keras" not in sys.modules:
        # Child processes that are sent a model import Keras too: the variable stays.
        os.environ[_BACKEND] = "torch"
    keras: Any = import_module("keras")
    found = keras.backend.backend()
    if found != "torch":
        raise UsageError(
            f"subject.keras: Keras already runs on {found} in this process; start it with {_BACKEND}=torch"
        )
    return keras


def _input_shape(model: Any, width: int, path: Path) -> tuple[int, ...]:
    """The shape of one row, checked against the numbers that the data have."""
    shapes = model.input_shape
    if not isinstance(shapes, tuple) or not all(size is None or isinstance(size, int) for size in shapes):
        raise CheckpointError(f"{path}: the model has several inputs; expected one")
    shape = tuple(width if len(shapes) == 2 and size is None else size for size in shapes[1:])
    n_numbers = 1
    for size in shape:
        n_numbers *= size or 0
    if n_numbers != width:
        raise CheckpointError(
            f"{path}: the model takes rows of shape {shapes[1:]}, the data have {width} numbers per row; "
            "check data.features, or train the model on these columns"
        )
    return tuple(int(size or 0) for size in shape)


def _classifier(model: Any, n_classes: int, path: Path) -> tuple[list[nn.Module], tuple[Message, ...]]:
    """Modules that end in logits or log-probabilities, and what is to be said of them."""
    shape = model.output_shape
    n_outputs = shape[-1] if isinstance(shape, tuple) and len(shape) == 2 else None
    if n_outputs not in ({1, 2} if n_classes == 2 else {n_classes}):
        raise CheckpointError(
            f"{path}: the model puts out {shape}, the data have {n_classes} classes; expected one output per "
            "class, or a single one where there are two classes"
        )
    last = _last_layer(model)
    ending = "softmax" if type(last).__name__ == "Softmax" else activation_name(last)
    if ending == ("softmax" if n_outputs == 1 else "sigmoid"):
        raise CheckpointError(
            f"{path}: {n_outputs} outputs through {ending}: such classes do not exclude one another; "
            "expected softmax, or a single output through sigmoid"
        )
    rows, expected = _some_answers(model)
    chain = _chain(model, rows, expected)
    how: tuple[Message, ...] = ()
    if ending in ("softmax", "sigmoid"):
        modules = _without_ending(model, chain, last, ending)
    else:
        modules, how = _as_they_are(model, chain, expected, ending)
    return modules, how if chain is not None else (*how, _WHOLE)


def _last_layer(model: Any) -> Any:
    """The layer that makes the output."""
    layer = model.outputs[0]._keras_history.operation
    return _last_layer(layer) if hasattr(layer, "outputs") and hasattr(layer, "layers") else layer


def _some_answers(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Random rows and what the model puts out for them."""
    rng = torch_rng(0, "keras", "rows")
    rows = torch.randn(_ROWS, *(size or 1 for size in model.input_shape[1:]), generator=rng)
    with torch.inference_mode():
        return rows, KerasModule(model).eval()(rows).cpu()


_WHOLE = Message(text="The model runs in Keras as a whole: its layers cannot be told apart.")


def _chain(model: Any, rows: torch.Tensor, expected: torch.Tensor) -> nn.Sequential | None:
    """The model in layers of torch, if that gives the same outputs."""
    if type(model).__name__ != "Sequential":
        return None
    with global_generators_seeded(0):
        chain = translated(list(chain_of(model)))
    if chain is None:
        return None
    with torch.inference_mode():
        found = chain.eval()(rows)
    close = found.shape == expected.shape and torch.allclose(
        found, expected, rtol=TOLERANCE, atol=TOLERANCE * float(expected.abs().max())
    )
    return chain if close else None


def _without_ending(model: Any, chain: nn.Sequential | None, last: Any, ending: str) -> list[nn.Module]:
    """Logits: what goes into the last activation where that can be taken off, else its inverse."""
    if chain is not None:
        return list(chain)[:-1]
    if type(last).__name__ not in ("Softmax", "Activation"):
        last.activation = _keras().activations.linear
        return [KerasModule(model)]
    return [KerasModule(model), Logit() if ending == "sigmoid" else LogProbabilities()]


def _as_they_are(
    model: Any, chain: nn.Sequential | None, answers: torch.Tensor, ending: str
) -> tuple[list[nn.Module], tuple[Message, ...]]:
    """Outputs whose last layer does not say what they are: probabilities if they look so, else logits."""
    modules: list[nn.Module] = [KerasModule(model)] if chain is None else list(chain)
    within = bool(((answers >= 0) & (answers <= 1)).all())
    if within and answers.shape[1] == 1:
        modules, what = [*modules, Logit()], "probabilities"
    elif within and torch.allclose(answers.sum(dim=1), torch.ones(len(answers)), atol=TOLERANCE):
        modules, what = [*modules, LogProbabilities()], "probabilities"
    else:
        what = "logits"
    text = "The last layer has the activation {activation}; its outputs are taken as {what}."
    return modules, (Message(text=text, values={"activation": ending, "what": what}),)


def _said_of_inputs(request: Request) -> Message:
    if request.config.inputs == "raw":
        return Message(text="It is given rows as they were read (inputs: raw).")
    return Message(
        text="It is given rows encoded by steps fitted on the training rows (inputs: encoded); the file does "
        "not say whether it was trained on rows like these."
    )
