"""The plain perceptron 784-128-ReLU-10: the Keras ``Sequential`` of the documents as a torch module.

The documents end the network with a softmax layer and train it with a cross-entropy told
``from_logits=True``, so that softmax is applied twice: a loss of probabilities taken for logits cannot fall
below ``log(1 + (k - 1) / e)``, 1.46 nats for ten classes, and its gradients shrink where the model is sure.
Here the module gives logits and the loss is the one of logits; softmax is applied once, by who reads them.
"""

from torch import nn

from auditkit.models.architecture import ArchitectureKind, VectorParameters, Widths
from auditkit.models.mlp import feed_forward


class MlpPlainParameters(VectorParameters):
    """Fully connected layers with ReLU between them and no dropout."""

    hidden: Widths = (128,)


def _build(parameters: MlpPlainParameters) -> nn.Module:
    """Rows of any shape ``(n, *d)`` in, logits ``(n, n_classes)`` out."""
    return feed_forward(
        int(parameters.n_inputs or 0), parameters.hidden, int(parameters.n_classes or 0), dropout=0.0
    )


MLP_PLAIN = ArchitectureKind(MlpPlainParameters, _build)
