"""All methods of attribution by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from auditkit.audits.explainability.methods.attention_rollout import ATTENTION_ROLLOUT
from auditkit.audits.explainability.methods.averaged import GRADIENT_SHAP, SMOOTHGRAD
from auditkit.audits.explainability.methods.feature_ablation import FEATURE_ABLATION
from auditkit.audits.explainability.methods.grad_cam import GRAD_CAM
from auditkit.audits.explainability.methods.gradient import INPUT_X_GRADIENT, SALIENCY
from auditkit.audits.explainability.methods.guided_backprop import GUIDED_BACKPROP
from auditkit.audits.explainability.methods.kernel_shap import KERNEL_SHAP
from auditkit.audits.explainability.methods.layer_rules import DEEP_LIFT, LRP
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
            SMOOTHGRAD,
            GRADIENT_SHAP,
            DEEP_LIFT,
            LRP,
            GUIDED_BACKPROP,
            GRAD_CAM,
            ATTENTION_ROLLOUT,
        )
    }
)
