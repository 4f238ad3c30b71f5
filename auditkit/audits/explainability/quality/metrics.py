"""Names and facts of the figures."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from auditkit.records import Better
from auditkit.records.measurement import Unit

COMPLETE: Final = "convergence_delta.share_within"
GAIN: Final = "removal_gain"
GAIN_OVER: Final = "removal_gain.over_random"
DELETION: Final = "deletion_auc"
INSERTION: Final = "insertion_auc"
SENSITIVITY_N: Final = "sensitivity_n"
SENSITIVITY_N_OVER: Final = "sensitivity_n.over_random"
INFIDELITY: Final = "infidelity"
INFIDELITY_OVER: Final = "infidelity.over_random"
MAX_SENSITIVITY: Final = "max_sensitivity"
MAX_SENSITIVITY_OVER: Final = "max_sensitivity.over_random"
OUTPUT_SENSITIVITY: Final = "output_sensitivity"
RANDOMISED: Final = "randomised_similarity"
DROP: Final = "randomised_drop"
ENTROPY_RISE: Final = "entropy_rise"
SEED_RANKS: Final = "seed_agreement"
SEED_OVERLAP: Final = "seed_overlap"
GINI: Final = "attribution_gini"
ENTROPY: Final = "attribution_entropy"
NEEDED: Final = "units_for_80_percent"
PAIR_OVERLAP: Final = "method_overlap"
PAIR_OVERLAP_OVER: Final = "method_overlap.over_random"
PAIR_SIGNS: Final = "method_sign_agreement"
PAIR_RANKS: Final = "method_rank_agreement"
AGAIN_OVERLAP: Final = "model_overlap"
AGAIN_OVERLAP_OVER: Final = "model_overlap.over_random"
AGAIN_SIGNS: Final = "model_sign_agreement"
AGAIN_RANKS: Final = "model_rank_agreement"
CONTROL: Final = "control_similarity"


@dataclass(frozen=True, slots=True)
class Facts:
    """Which direction is good, and in what it is measured."""

    better: Better
    unit: Unit = "1"


FACTS: Final[Mapping[str, Facts]] = MappingProxyType(
    {
        COMPLETE: Facts("higher"),
        GAIN: Facts("higher"),
        GAIN_OVER: Facts("higher"),
        DELETION: Facts("lower"),
        INSERTION: Facts("higher"),
        SENSITIVITY_N: Facts("higher"),
        SENSITIVITY_N_OVER: Facts("higher"),
        INFIDELITY: Facts("lower"),
        INFIDELITY_OVER: Facts("lower"),
        MAX_SENSITIVITY: Facts("lower"),
        MAX_SENSITIVITY_OVER: Facts("lower"),
        OUTPUT_SENSITIVITY: Facts("lower"),
        RANDOMISED: Facts("lower"),
        DROP: Facts("higher"),
        ENTROPY_RISE: Facts("neither"),
        SEED_RANKS: Facts("higher"),
        SEED_OVERLAP: Facts("higher"),
        GINI: Facts("neither"),
        ENTROPY: Facts("neither"),
        NEEDED: Facts("neither", "count"),
        PAIR_OVERLAP: Facts("higher"),
        PAIR_OVERLAP_OVER: Facts("higher"),
        PAIR_SIGNS: Facts("higher"),
        PAIR_RANKS: Facts("higher"),
        AGAIN_OVERLAP: Facts("higher"),
        AGAIN_OVERLAP_OVER: Facts("higher"),
        AGAIN_SIGNS: Facts("higher"),
        AGAIN_RANKS: Facts("higher"),
        CONTROL: Facts("neither"),
    }
)
