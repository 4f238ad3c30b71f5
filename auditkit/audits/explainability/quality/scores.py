"""What is measured of methods, row by row."""

from dataclasses import dataclass

from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.quality.agreement import Agreement
from auditkit.audits.explainability.quality.complexity import Complexity
from auditkit.audits.explainability.quality.max_sensitivity import MaxSensitivity
from auditkit.audits.explainability.quality.randomisation import Randomisation
from auditkit.audits.explainability.quality.removal import Removal
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

GRADIENT, GUIDED = "gradient", "guided-backprop"
"""Controls: the first is known to depend on the weights, the second hardly to."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How many draws each score rests on.

    Attributes:
        subsets: Of each size, for sensitivity-n.
        noise: For infidelity.
        neighbours: For max-sensitivity.
        models: Drawn anew.
        random: Random orders beside each attribution.
        seeds: Of each method that draws.
    """

    subsets: int
    noise: int
    neighbours: int
    models: int
    random: int
    seeds: int


@dataclass(frozen=True, slots=True)
class Drawn:
    """Explanations of models drawn anew.

    Attributes:
        whole: All weights drawn, several times.
        by_layer: Similarity as ever more layers are drawn, from the output back, shape ``(n_again, steps)``.
    """

    whole: Randomisation
    by_layer: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRows:
    """Scores of one method; ``(n,)`` over all rows, ``(n_again,)`` over those explained again.

    Attributes:
        method: Whose.
        attributions: Shape ``(n, m)``.
        complete: Rows that add up; ``None`` where the method does not promise it.
        removal: By imputer.
        sensitivity: Correlation, first that of the attributions, then of random orders, ``(n, 1 + r)``.
        infidelity: The same.
        stability: Over seeds; ``(n_again,)`` inside.
        is_random: Whether the draws decide anything.
        moved: Max-sensitivity.
        randomised: What models drawn anew make of it; ``None`` where the model has no weights.
        complexity: Of the attributions.
    """

    method: AttributionMethod
    attributions: FloatArray
    complete: BoolArray | None
    removal: dict[str, Removal]
    sensitivity: FloatArray
    infidelity: FloatArray
    stability: Agreement
    is_random: bool
    moved: MaxSensitivity
    randomised: Drawn | None
    complexity: Complexity


@dataclass(frozen=True, slots=True)
class Control:
    """A method whose fate is known."""

    name: str
    randomised: Drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Everything measured.

    Attributes:
        again: Which rows were explained again, shape ``(n_again,)``.
        methods: In the order asked.
        by_chance: Removal in random order, by imputer.
        controls: Empty where the model has no weights to draw.
    """

    again: IntArray
    methods: tuple[MethodRows, ...]
    by_chance: dict[str, Removal]
    controls: tuple[Control, ...]
