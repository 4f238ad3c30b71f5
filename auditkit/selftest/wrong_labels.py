"""Training rows with wrong labels, and a subject that did not learn them."""

from functools import partial
from typing import Final

import numpy as np

from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import logistic, rows_of

ROWS: Final = 1000


def flipped_training_labels() -> Plant:
    """One label in ten is flipped; all of these rows are among the tenth with the highest self-influence.

    Rows near the border, where a flip is hardly wrong, are left out, so that nothing else comes close.
    """

    def scene(share: float) -> Scene:
        rng = numpy_rng(0, "selftest", "wrong labels")
        score = rng.choice((-1.0, 1.0), ROWS) * rng.uniform(1.0, 2.0, ROWS)
        inputs = np.column_stack([score, rng.normal(size=ROWS)])
        is_member = np.arange(ROWS) < ROWS // 2
        flipped = np.arange(ROWS) < share * ROWS // 2
        return Scene(logistic([4.0, 0.0]), rows_of(inputs, (score > 0) ^ flipped, is_member=is_member))

    return Plant(
        audit="influence",
        fault=Message(text="1 training label in 10 is flipped"),
        figure="influence/training_disagreement.top_tenth[method=last-layer]",
        above=0.6,
        faulty=partial(scene, 0.1),
        sound=partial(scene, 0.0),
        expected=1.0,
    )
