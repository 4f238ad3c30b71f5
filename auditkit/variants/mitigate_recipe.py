"""How the baseline was made, for variants that make it again."""

from pydantic import ValidationError

from auditkit.config.model import Architecture, TrainingConfig
from auditkit.errors import UsageError
from auditkit.models.zoo import check_architecture
from auditkit.subjects.subject import Subject
from auditkit.subjects.torch_subject import TorchSubject


def trained_again(baseline: Subject, method: str) -> tuple[Architecture, TrainingConfig]:
    """Architecture and recipe of a torch model whose training is on record.

    Raises:
        UsageError: It is another kind of model, its training is not on record or was private, or its
            architecture cannot be started from fresh weights.
    """
    if not isinstance(baseline, TorchSubject) or check_architecture(baseline.architecture):
        raise UsageError(
            f"mitigate: {baseline.card.title!r} cannot be trained again, which {method} needs; expected a "
            "torch model with subject.architecture and subject.training. threshold-optimiser and "
            "exponentiated-gradient do without"
        )
    record = baseline.card.training
    if record is None:
        raise UsageError(
            f"mitigate: how {baseline.card.title!r} was trained is not on record, which {method} needs; give "
            "subject.training, or a checkpoint folder with its card"
        )
    if record.recipe.get("method") == "dp-sgd":
        raise UsageError(
            f"mitigate: {baseline.card.title!r} was trained with differential privacy; {method} would "
            "train it on the same rows without. Mitigate the model that was trained without, or remove "
            "the variant"
        )
    known = {key: value for key, value in record.recipe.items() if key in TrainingConfig.model_fields}
    try:
        return baseline.architecture, TrainingConfig.model_validate(known)
    except ValidationError as error:
        raise UsageError(
            f"mitigate: the recipe on record of {baseline.card.title!r} cannot be read "
            f"({error.errors(include_url=False)[0]['msg']}); train it again"
        ) from None
