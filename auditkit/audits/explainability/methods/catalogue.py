"""All methods of attribution by name."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from auditkit.audits.explainability.methods.attention_rollout import ATTENTION_ROLLOUT
from auditkit.audits.explainability.methods.averaged import GRADIENT_SHAP, SMOOTHGRAD
from auditkit.audits.explainability.methods.grad_cam import GRAD_CAM
from auditkit.audits.explainability.methods.gradient import INPUT_X_GRADIENT, SALIENCY
from auditkit.audits.explainability.methods.guided_backprop import GUIDED_BACKPROP
from auditkit.audits.explainability.methods.layer_rules import DEEP_LIFT, LRP
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.methods.path import INTEGRATED_GRADIENTS

METHODS: Final[Mapping[str, AttributionMethod]] = MappingProxyType(
    {
        method.name: method
        for method in (
            INTEGRATED_GRADIENTS,
            SALIENCY,
            INPUT_X_GRADIENT,
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
