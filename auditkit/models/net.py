"""The documents' ``Net`` 784-128-10, whose outputs are log-probabilities.

The documents train it with ``CrossEntropyLoss``, which takes a log-softmax of what it is given, so that there
are two of them. That does no harm, for log-softmax leaves log-probabilities as they are: their exponentials
sum to one, so the normaliser it subtracts is ``log 1 = 0``, in the value and in the gradient at the logits.
It is wrong in meaning: the loss of log-probabilities is the negative log-likelihood, to which the
cross-entropy is equal here and nowhere else. :func:`auditkit.models.losses.per_row_loss` gives that value.
"""

from collections import OrderedDict

from torch import nn

from auditkit.models.architecture import ArchitectureKind, Units, VectorParameters


class NetParameters(VectorParameters):
    """One hidden layer with ReLU."""

    hidden: Units = 128


def _build(parameters: NetParameters) -> nn.Module:
    """Rows of any shape ``(n, *d)`` in, log-probabilities ``(n, n_classes)`` out."""
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            hidden=nn.Linear(int(parameters.n_inputs or 0), parameters.hidden),
            relu=nn.ReLU(),
            output=nn.Linear(parameters.hidden, int(parameters.n_classes or 0)),
            log_softmax=nn.LogSoftmax(dim=1),
        )
    )


NET = ArchitectureKind(NetParameters, _build)
