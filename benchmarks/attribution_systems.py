"""The twelve systems, small and freshly initialised, with rows to explain, and Captum's word on each."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import (
    LRP,
    DeepLift,
    GradientShap,
    GuidedBackprop,
    IntegratedGradients,
    LayerAttribution,
    LayerGradCam,
    Saliency,
)
from captum.attr._utils.lrp_rules import PropagationRule
from torch import Tensor, nn

from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows
from auditkit.audits.explainability.token_embedding import find_token_embedding, vectors_in_place
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.data.preprocessing import LanguagePreprocessing
from auditkit.data.tokenizers import CharacterTokenizer
from auditkit.models.zoo import build_module, kind_of
from auditkit.randomness import global_generators_seeded, torch_rng
from auditkit.records import Message
from auditkit.subjects.torch_subject import TorchSubject

SYSTEMS: Mapping[str, Mapping[str, object]] = {
    "xor": {},
    "mlp": {"hidden": [16]},
    "mlp-plain": {},
    "net": {"hidden": 16},
    "cnn": {"channels": [4, 6], "hidden": [12]},
    "rnn": {"width": 8, "hidden": 8},
    "transformer-lm": {"width": 8, "layers": 2, "heads": 2},
    "bert": {"width": 8, "layers": 2, "heads": 2},
    "gpt": {"width": 8, "layers": 2, "heads": 2},
    "resnet": {"channels": [4, 8], "groups": 2, "stem_stride": 1},
    "vgg": {"channels": [4, 6], "hidden": [12]},
    "wavenet": {"channels": 8, "skip_channels": 8, "layers": 2, "stacks": 1},
}
"""Parameters that keep each small."""

TOKENS = CharacterTokenizer(characters=tuple("abcdefghi"))
SIDE, LENGTH, N_CLASSES = 8, 7, 3
STEPS = 16
"""Of the path, for both sides."""

DRAWS = 4
"""Of methods that draw, for both sides the same ones."""


def system(name: str, *, n: int = 12, seed: int = 0) -> tuple[TorchSubject, Dataset]:
    """One of :data:`SYSTEMS` and ``n`` random rows of its kind; texts have padding."""
    architecture = Architecture.model_validate({"name": name, **SYSTEMS[name]})
    kind = kind_of(architecture)
    takes, is_language = kind.takes, kind.task == "language-modelling"
    rng = torch_rng(seed, "attribution_systems", name)
    n_classes = 2 if name == "xor" else N_CLASSES
    sizes = {"n_classes": n_classes, "vocabulary_size": len(TOKENS.vocabulary), "length": LENGTH}
    sizes |= {"n_inputs": SIDE * SIDE, "height": SIDE, "width": SIDE}
    module = build_module(architecture, rng=rng, **sizes)
    classes = TOKENS.vocabulary if is_language else tuple("abc"[:n_classes])
    inputs, features = _texts(n, rng) if takes == "tokens" else _pictures(n, rng)
    subject = TorchSubject.build(
        module,
        architecture=architecture,
        classes=classes,
        preprocessing=LanguagePreprocessing(tokenizer=TOKENS, length=LENGTH) if is_language else None,
    )
    data = Dataset(
        name=name,
        source="memory",
        split=None,
        inputs=inputs,
        y_true=np.zeros(n, dtype=np.int64),
        classes=classes,
        features=features,
        task="language-modelling" if is_language else "classification",
    )
    return subject, data


def _pictures(n: int, rng: torch.Generator) -> tuple[Tensor, FeatureSpace]:
    return torch.randn(n, SIDE * SIDE, generator=rng), FeatureSpace((), (), (SIDE, SIDE))


def _texts(n: int, rng: torch.Generator) -> tuple[Tensor, FeatureSpace]:
    size = len(TOKENS.vocabulary)
    ids = torch.randint(2, size, (n, LENGTH), generator=rng)
    ids[: n // 2, LENGTH - 2 :] = TOKENS.padding
    return ids, FeatureSpace((), tokens=TokenSpace(TOKENS.vocabulary, TOKENS.padding))


def rows_of(subject: TorchSubject, data: Dataset, *, batch_size: int = 8) -> ExplainedRows:
    """What is explained, for the class that each row gets."""
    target = subject.predict(data, batch_size=batch_size).y_pred
    found = explained_rows(subject, data, target, explained="logit", batch_size=batch_size)
    if isinstance(found, Message):
        raise TypeError(str(found))
    return found


class _Reshape(PropagationRule):
    """Relevance passes layers that only put numbers elsewhere; Captum has no rule for them."""

    def forward_hook(self, _module: nn.Module, _inputs: object, outputs: Tensor) -> Tensor:
        return outputs

    def _manipulate_weights(self, _module: nn.Module, _inputs: object, _outputs: object) -> None:
        return None


class Scores(nn.Module):
    """The logits of a subject for Captum: a module from inputs, or from vectors of tokens and their ids."""

    def __init__(self, subject: TorchSubject, data: Dataset) -> None:
        super().__init__()
        self.module, self.subject, tokens = subject.module, subject, data.features.tokens
        found = tokens and find_token_embedding(subject, data.inputs, tokens.padding)
        self.embedding = None if isinstance(found, Message) else found

    def forward(self, inputs: Tensor, ids: Tensor | None = None) -> Tensor:
        if ids is not None and self.embedding is not None:
            with vectors_in_place(self.embedding, ids, inputs):
                logits = self.subject.logits(ids)
        else:
            logits = self.subject.logits(inputs)
        return logits - logits.flip(1) if logits.shape[1] == 2 and not bool(logits[:, 0].any()) else logits


@dataclass(frozen=True)
class Asked:
    """One question to Captum."""

    scores: Scores
    rows: ExplainedRows
    target: Tensor
    extra: tuple[Tensor, ...]

    @property
    def baselines(self) -> Tensor:
        return self.rows.baseline.expand_as(self.rows.inputs)

    @property
    def gradient(self) -> Tensor:
        return self.gradient_at(self.rows.inputs)

    def gradient_at(self, inputs: Tensor) -> Tensor:
        found: Tensor = Saliency(self.scores).attribute(
            inputs.clone().requires_grad_(True),
            target=self.target,
            abs=False,
            additional_forward_args=self.extra or None,
        )
        return found


def _integrated(asked: Asked) -> Tensor:
    found: Tensor = IntegratedGradients(asked.scores).attribute(
        asked.rows.inputs,
        baselines=asked.baselines,
        target=asked.target,
        additional_forward_args=asked.extra or None,
        n_steps=STEPS,
        method="riemann_middle",
    )
    return found


def _deep_lift(asked: Asked) -> Tensor:
    found: Tensor = DeepLift(asked.scores).attribute(
        asked.rows.inputs.clone(),
        baselines=asked.baselines,
        target=asked.target,
        additional_forward_args=asked.extra or None,
    )
    return found


def _relevance(asked: Asked) -> Tensor:
    for layer in asked.scores.modules():
        if isinstance(layer, nn.Flatten | nn.Unflatten):
            layer.rule = _Reshape()
    found: Tensor = LRP(asked.scores).attribute(
        asked.rows.inputs.clone(), target=asked.target, additional_forward_args=asked.extra or None
    )
    return found


def _guided(asked: Asked) -> Tensor:
    if not any(isinstance(layer, nn.ReLU) for layer in asked.scores.modules()):
        raise TypeError("no layer nn.ReLU")
    found: Tensor = GuidedBackprop(asked.scores).attribute(
        asked.rows.inputs.clone(), target=asked.target, additional_forward_args=asked.extra or None
    )
    return found.abs()


def _grad_cam(asked: Asked) -> Tensor:
    wide = [
        layer
        for layer in asked.scores.modules()
        if isinstance(layer, nn.Conv2d) and layer.weight.shape[-1] > 1
    ]
    if not wide:
        raise TypeError("no layer nn.Conv2d")
    found = LayerGradCam(asked.scores, wide[-1]).attribute(
        asked.rows.inputs.clone(), target=asked.target, relu_attributions=True
    )
    return LayerAttribution.interpolate(found, (SIDE, SIDE), "bilinear").flatten(1)


CAPTUM: Mapping[str, Callable[[Asked], Tensor]] = {
    "integrated-gradients": _integrated,
    "saliency": lambda asked: asked.gradient.abs(),
    "input-x-gradient": lambda asked: asked.gradient * (asked.rows.inputs - asked.rows.baseline),
    "deep-lift": _deep_lift,
    "lrp": _relevance,
    "guided-backprop": _guided,
    "grad-cam": _grad_cam,
}
"""What Captum gives for the same question, element by element."""


def asked_of(subject: TorchSubject, data: Dataset, rows: ExplainedRows) -> Asked:
    """The same question for Captum."""
    if data.features.tokens is None:
        return Asked(Scores(subject, data), rows, rows.target, ())
    return Asked(Scores(subject, data), rows, rows.target[:, 0], (rows.target[:, 1:],))


def captum_says(method: str, asked: Asked) -> Tensor:
    """Attributions of units, shape ``(n, m)``.

    Raises:
        TypeError, RuntimeError, AssertionError, AttributeError: Captum refuses the model.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return asked.rows.pooled(CAPTUM[method](asked).detach().double())


def captum_gradient_shap(asked: Asked, *, seed: int) -> tuple[Tensor, Tensor]:
    """Captum's GradientShap from one baseline, and the shares of the path that it drew, ``(n, DRAWS)``."""
    n = len(asked.rows.inputs)
    with global_generators_seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found: Tensor = GradientShap(asked.scores).attribute(
            asked.rows.inputs.clone(),
            baselines=asked.rows.baseline,
            n_samples=DRAWS,
            target=asked.target,
            additional_forward_args=asked.extra or None,
        )
    with global_generators_seeded(seed):
        # its order: a baseline for every draw, then a share for every draw
        np.random.choice(1, n * DRAWS)  # noqa: NPY002 - the same draws as Captum's
        shares = np.random.uniform(0.0, 1.0, n * DRAWS)  # noqa: NPY002
    return found.detach(), torch.from_numpy(shares).view(n, DRAWS)
