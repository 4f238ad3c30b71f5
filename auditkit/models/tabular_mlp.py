"""The multilayer perceptron for tables: one-hot and standardised columns in, two hidden layers."""

from torch import nn

from auditkit.models.architecture import ArchitectureKind, Dropout, ValueParameters, Widths
from auditkit.models.mlp import feed_forward


class TabularMlpParameters(ValueParameters):
    """As :class:`MlpParameters`, with widths that suit a hundred columns."""

    hidden: Widths = (128, 64)
    dropout: Dropout = 0.0


def _build(parameters: TabularMlpParameters) -> nn.Module:
    return feed_forward(
        int(parameters.n_inputs or 0), parameters.hidden, int(parameters.n_classes or 0), parameters.dropout
    )


TABULAR_MLP = ArchitectureKind(TabularMlpParameters, _build, foretells_values=True)
