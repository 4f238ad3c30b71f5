"""What a reader of the report should know about a mitigated subject."""

from collections.abc import Sequence

from auditkit.data.dataset import Dataset
from auditkit.records import Message
from auditkit.variants.mitigate_task import BinaryTask, Constraint


def reweighed_statement(task: BinaryTask) -> Message:
    """How the rows were weighted."""
    text = (
        "Trained again from fresh weights on weighted training rows (reweighing): in them {attribute} and "
        "the label are independent. Aim: demographic_parity."
    )
    return Message(text=text, values={"attribute": task.attribute})


def single_label_statement(task: BinaryTask, levels: Sequence[str]) -> Message:
    """Groups that no weights can help."""
    text = (
        "All training rows of these groups of {attribute} have the same label, which no weights can change: "
        "{groups}."
    )
    return Message(text=text, values={"attribute": task.attribute, "groups": "; ".join(levels)})


def adversarial_statement(task: BinaryTask, constraint: Constraint, strength: float) -> Message:
    """What the adversary did."""
    text = (
        "Trained again from fresh weights against an adversary that guesses {attribute} from the score, at "
        "strength {strength}. Aim: {constraint}. The learning rate fell as a cosine, and the weights are a "
        "running average."
    )
    values = {"attribute": task.attribute, "strength": strength, "constraint": constraint}
    return Message(text=text, values=values)


def left_out_statement(names: Sequence[str]) -> Message:
    """Settings of the recipe that the adversarial training does not have."""
    text = "These settings of the training recipe were not used in the adversarial training: {settings}."
    return Message(text=text, values={"settings": ", ".join(names)})


def decorrelated_statement(task: BinaryTask, strength: float) -> Message:
    """What was removed from the inputs."""
    text = (
        "Trained again from fresh weights on inputs from which the part that {attribute} foretells in a "
        "straight line was removed, at strength {strength}. Aim: demographic_parity."
    )
    return Message(text=text, values={"attribute": task.attribute, "strength": strength})


def threshold_statements(task: BinaryTask, constraint: Constraint, left_out: Sequence[str]) -> list[Message]:
    """How the thresholds were found and how they decide."""
    fitted = (
        "The scores are those of the baseline; a threshold per group of {attribute} was fitted on the "
        "training rows. Aim: {constraint}. The baseline has learned these rows, so that its scores are "
        "surer there than on new rows."
    )
    chance = (
        "Where a rule leaves a decision to chance, a number made from the inputs of the row and the seed "
        "decides: the same row always gets the same answer. It answers with labels alone; figures that need "
        "probabilities are missing."
    )
    found = [
        Message(text=fitted, values={"attribute": task.attribute, "constraint": constraint}),
        Message(text=chance),
    ]
    if left_out:
        text = (
            "Groups of {attribute} without training rows of both labels have no threshold of their own: "
            "{groups}."
        )
        found.append(Message(text=text, values={"attribute": task.attribute, "groups": "; ".join(left_out)}))
    return found


def mixture_statements(
    task: BinaryTask, constraint: Constraint, slack: float, n_models: int, n_unfinished: int
) -> list[Message]:
    """What the models are and what is promised of them."""
    text = (
        "{n} logistic models read the inputs and the log-odds of the baseline; the probability is their "
        "weighted mean. Aim: {constraint} of {attribute} within {slack}, which the method promises for a "
        "model picked by chance, not exactly for the mean."
    )
    values = {"n": n_models, "constraint": constraint, "attribute": task.attribute, "slack": slack}
    found = [Message(text=text, values=values)]
    if n_unfinished:
        stopped = "The fit of {n} of these models was stopped before it converged."
        found.append(Message(text=stopped, values={"n": n_unfinished}))
    return found


def used_in_training(data: Dataset, task: BinaryTask) -> Message:
    """Whether the attribute decides, for models that are not asked for it."""
    if task.attribute in data.features.names:
        text = (
            "{attribute} was used in training, and it is also one of the inputs, so that predictions may "
            "depend on it. Deciding about people by such an attribute may be unlawful, even where it makes "
            "a gap smaller; ask a lawyer before using it."
        )
    else:
        text = "{attribute} was used in training alone: no prediction asks for it."
    return Message(text=text, values={"attribute": task.attribute})


def used_in_predictions(task: BinaryTask, *, unknown: Message) -> list[Message]:
    """The caution for models that ask for the attribute, and what they do without it."""
    text = (
        "Every prediction uses {attribute}. Deciding about people by such an attribute may be unlawful, even "
        "where it makes a gap smaller; ask a lawyer before using it."
    )
    return [Message(text=text, values={"attribute": task.attribute}), unknown]


def pooled_rule(task: BinaryTask) -> Message:
    """What thresholds do with an unknown group."""
    text = (
        "Rows whose {attribute} is unknown, or has no threshold of its own, are decided by the average of "
        "the groups' rules, weighted by the groups' shares of the training rows."
    )
    return Message(text=text, values={"attribute": task.attribute})


def kept_inputs(task: BinaryTask) -> Message:
    """What the removal does with an unknown group."""
    text = "Rows whose {attribute} is unknown or was not seen in training keep their inputs as they are."
    return Message(text=text, values={"attribute": task.attribute})


def on_the_rows(data: Dataset, task: BinaryTask, *, uses_weights: bool) -> list[Message]:
    """Which training rows, and which of their weights, played no part."""
    found = []
    unknown = int((~task.known).sum())
    if unknown:
        text = "{n} training rows have no known {attribute}; the mitigation could not take them into account."
        found.append(Message(text=text, values={"n": unknown, "attribute": task.attribute}))
    if data.sample_weight is not None and not uses_weights:
        found.append(Message(text="The weights of the training rows were not used in the mitigation."))
    return found


def without_certificate() -> Message:
    """A private baseline whose training rows were used again."""
    return Message(
        text="The privacy certificate of the baseline does not hold here: the mitigation used its training "
        "rows again, without noise."
    )
