"""What a user may choose of a private training, but for how much privacy it may spend."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from auditkit.config.model import AugmentationConfig
from auditkit.models.pretrained_part import Trained
from auditkit.privacy.clipping import Clipping
from auditkit.privacy.standardising import StandardisedBefore
from auditkit.privacy.units import ROWS_PER_PERSON, Unit
from auditkit.variants.dp_recipe import RecipeName


class DpChoices(BaseModel):
    """Beside the epsilon of a ``dp-retrain`` variant, or under ``retrain:`` where the command gives it.

    None may be made by looking at the private rows: that spends privacy which no certificate contains.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    max_grad_norm: float = Field(
        1.0,
        gt=0,
        description="Norm every gradient is clipped to; a larger one is noisier and less overconfident",
    )
    expected_batch_size: int | None = Field(
        None, ge=1, description="Rows (or persons) per step on average; default a power of two near n/12"
    )
    recipe: RecipeName = Field(
        "as-audited",
        description="as-audited trains the audited architecture; auto what does best under privacy: for "
        "pictures a linear classifier on scattering features",
    )
    steps: int | None = Field(
        None, ge=1, description="Default 500 (scattering features: 1000), unless epochs are given"
    )
    epochs: float | None = Field(None, gt=0, description="Instead of steps")
    optimizer: Literal["adam", "sgd"] | None = Field(None, description="Default that of the recipe: adam")
    learning_rate: float | None = Field(
        None, gt=0, description="Default 0.01; of sgd on scattering features what the noise allows"
    )
    momentum: float | None = Field(None, ge=0, lt=1, description="of sgd; default 0.9")
    clipping: Clipping | None = Field(
        None, description="flat keeps short gradients as they are; automatic brings all to one length"
    )
    averaging: float = Field(0.99, ge=0, lt=1, description="Decay of the running average of the weights")
    certified: bool = Field(
        False,
        description="Noise from the operating system instead of the seed: needed before weights are released",
    )
    accept_weak: bool = Field(
        False, description="Train even where epsilon is above 20, or noise drowns the few rows there are"
    )
    accept_lost_ledger: bool = Field(
        False,
        description="Train though the ledger lacks lines that earlier checkpoints name, and certify that",
    )
    fix: bool = Field(
        False, description="Exchange layers that mix rows: BatchNorm for GroupNorm, no running statistics"
    )
    weight_standardisation: StandardisedBefore = Field(
        "exchanged",
        description="Standardise the weights of convolutions before group norms: those that fix exchanged, "
        "all that there are, or none",
    )
    unit: Unit | None = Field(
        None, description="What is protected as one: person (default where data.person is given) or row"
    )
    rows_per_person: int = Field(
        ROWS_PER_PERSON,
        ge=1,
        description="Rows of a person in one step at most; more than that take turns",
    )
    public_count: int | None = Field(
        None,
        ge=1,
        description="Training rows (or persons) that there are, if that is public; default their number "
        "rounded down to two digits. Sampling rate, batches and delta follow from it",
    )
    augmentation: AugmentationConfig | None = Field(
        None, description="How rows are changed in each step; see subject.training.augmentation"
    )
    augmentation_multiplicity: int = Field(
        1,
        ge=1,
        description="Changed copies of each row in a step, whose gradients are averaged before clipping",
    )
    train: Trained | None = Field(
        None,
        description="Of pretrained weights: head, biases, low-rank or all; default as audited, and of "
        "subject.hf a new head, or low-rank where it foretells tokens",
    )
    rank: int | None = Field(None, ge=1, description="Of train: low-rank; default as audited, else 8")
    public_body: bool = Field(
        False,
        description="Pretrained weights were not trained on these rows; must be said of subject.hf and of "
        "classifiers",
    )
    public_preprocessing: bool = Field(
        False,
        description="What the preprocessing learned is public, and kept: must be said of the words of texts",
    )
    public_levels: bool = Field(
        False,
        description="The levels of text columns are public, as those of a form are; else the first steps "
        "count which are frequent, and only these keep their names",
    )

    @model_validator(mode="after")
    def _one_length(self) -> "DpChoices":
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give steps or epochs, not both")
        return self
