"""The multilayer perceptron 784-128-ReLU-dropout-10, and others of its form."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from auditkit.models.architecture import ArchitectureKind, Dropout, ValueParameters, Widths


class MlpParameters(ValueParameters):
    """Fully connected layers with ReLU and dropout between them."""

    hidden: Widths = (128,)
    dropout: Dropout = 0.2


def feed_forward(n_inputs: int, hidden: Sequence[int], n_classes: int, dropout: float) -> nn.Sequential:
    """Rows of any shape are flattened, pass the hidden layers and come out as ``n_classes`` logits.

    Every activation is a module of its own, so that attribution methods can hook each.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    width = n_inputs
    for index, units in enumerate(hidden, start=1):
        layers[f"hidden{index}"] = nn.Linear(width, units)
        layers[f"relu{index}"] = nn.ReLU()
        if dropout > 0:
            layers[f"dropout{index}"] = nn.Dropout(dropout)
        width = units
    layers["output"] = nn.Linear(width, n_classes)
    return nn.Sequential(layers)


def _build(parameters: MlpParameters) -> nn.Module:
    return feed_forward(
        int(parameters.n_inputs or 0), parameters.hidden, int(parameters.n_classes or 0), parameters.dropout
    )


MLP = ArchitectureKind(MlpParameters, _build, foretells_values=True)
