"""The certificate of a private training: its epsilon follows from its public inputs, or it is noticed."""

import tempfile
from pathlib import Path

import numpy as np

from auditkit.config import Architecture
from auditkit.privacy.certificate import recomputed_epsilon
from auditkit.randomness import numpy_rng
from auditkit.records import Certificate, Interval, Measurement, Message
from auditkit.registry import VARIANTS
from auditkit.selftest.plant import SEED, Proof
from auditkit.selftest.subjects import logistic, rows_of
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.variants.variant import VariantContext

BUDGET = 3.0


def prove_certificate() -> Proof:
    """Train privately on a few rows and recompute epsilon; then do the same for half the noise."""
    certificate = _train().card.certificate
    fault = Message(text="half of the noise that was promised")
    if certificate is None:
        return Proof(
            name="dp-retrain", figure="dp-retrain/epsilon", fault=fault, reason="there is no certificate"
        )
    weakened = certificate.model_copy(update={"noise_multiplier": certificate.noise_multiplier / 2})
    return Proof(
        name="dp-retrain",
        figure="dp-retrain/epsilon",
        fault=fault,
        above=min(BUDGET, certificate.epsilon * (1 + 1e-9)),
        with_fault=_epsilon(weakened),
        without_fault=_epsilon(certificate),
    )


def _epsilon(certificate: Certificate) -> Measurement:
    value = recomputed_epsilon(certificate)
    return Measurement(
        metric="epsilon",
        value=value,
        n=certificate.steps,
        better="lower",
        kind="upper_bound",
        provenance="derived",
        interval=Interval.exact(value),
    )


def _train() -> TorchSubject:
    inputs = numpy_rng(0, "selftest", "private rows").normal(size=(400, 3))
    data = rows_of(inputs, inputs[:, 0] > 0, is_member=np.ones(400, dtype=bool))
    linear = logistic([1.0, 0.0, 0.0])
    baseline = TorchSubject.build(
        linear.copy_module(),
        architecture=Architecture.model_validate({"name": "tabular-mlp", "hidden": [4]}),
        classes=data.classes,
    )
    variant = VARIANTS.make("dp-retrain", {"epsilon": BUDGET, "steps": 10, "expected_batch_size": 64})
    with tempfile.TemporaryDirectory() as folder:
        context = VariantContext(name="dp-3", seed=SEED, folder=Path(folder), training_data=lambda: data)
        subject = variant.derive(baseline, context)
    if not isinstance(subject, TorchSubject):
        raise TypeError(f"dp-retrain gave {type(subject).__name__}, expected TorchSubject")
    return subject
