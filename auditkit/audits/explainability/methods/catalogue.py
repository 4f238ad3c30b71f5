"""All methods of attribution by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from auditkit.audits.explainability.methods.feature_ablation import FEATURE_ABLATION
from auditkit.audits.explainability.methods.gradient import INPUT_X_GRADIENT, SALIENCY
from auditkit.audits.explainability.methods.kernel_shap import KERNEL_SHAP
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.methods.occlusion import OCCLUSION
from auditkit.audits.explainability.methods.path import INTEGRATED_GRADIENTS
from auditkit.audits.explainability.methods.permutation_shapley import PERMUTATION_SHAPLEY

METHODS: Final[Mapping[str, AttributionMethod]] = MappingProxyType(
    {
        method.name: method
        for method in (
            INTEGRATED_GRADIENTS,
            SALIENCY,
            INPUT_X_GRADIENT,
            KERNEL_SHAP,
            PERMUTATION_SHAPLEY,
            FEATURE_ABLATION,
            OCCLUSION,
        )
    }
)
