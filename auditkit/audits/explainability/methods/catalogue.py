"""All methods of attribution by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from auditkit.audits.explainability.methods.gradient import INPUT_X_GRADIENT, SALIENCY
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.methods.path import INTEGRATED_GRADIENTS

METHODS: Final[Mapping[str, AttributionMethod]] = MappingProxyType(
    {method.name: method for method in (INTEGRATED_GRADIENTS, SALIENCY, INPUT_X_GRADIENT)}
)
