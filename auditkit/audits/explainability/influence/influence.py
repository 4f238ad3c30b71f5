"""Which training rows stand behind wrong predictions, and which training rows are worth a look."""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.explainability.influence import influence_evidence as tables
from auditkit.audits.explainability.influence import influence_pictures as pictures
from auditkit.audits.explainability.influence.explained_predictions import (
    ExplainedPredictions,
    explained_predictions,
)
from auditkit.audits.explainability.influence.influence_figures import figures
from auditkit.audits.explainability.influence.influences import (
    Influences,
    Method,
    Question,
    Setting,
    influences,
)
from auditkit.audits.explainability.influence.last_layer import ROWS_AT_ONCE
from auditkit.audits.explainability.influence.row_contents import Contents, contents_of
from auditkit.audits.explainability.influence.told_rows import Findings, Told
from auditkit.data.dataset import Dataset, FloatArray
from auditkit.errors import AuditkitError, DataError
from auditkit.records import Evidence, Message
from auditkit.subjects.subject import Subject, WhiteBox, preprocessing_of

_SHOWN_FEATURES = 4
_SHOWN_PICTURES = 4


class Influence(Audit):
    """Training rows that argued for and against wrong predictions, by two methods, and rows worth a look.

    A reader may conclude on which training rows the trained model leans where it is wrong, and which rows to
    check first for wrong labels. See ``info.limits`` for what a reader may not conclude.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="influence",
        version=2,
        area="explainability",
        question="Which training rows stand behind its wrong predictions?",
        requires=frozenset({"predictions", "gradients", "layers", "members"}),
        limits=(
            "Influence is about the model as it was trained, at its final weights alone: one checkpoint is "
            "noisy, and rows that mattered early in the training may show no influence at its end.",
            "What leaving a row out would change is itself uncertain: trained anew with another seed, a "
            "network differs by more than one row makes it differ. Read the ranking, not the digits.",
            "The loss is that of the plain row: augmentation, dropout, label smoothing and the noise of a "
            "private training are not in it.",
            "A high self-influence is a reason to look, no proof of a wrong label: rare rows have it, "
            "too, and a label that the model has learned by heart may have none.",
            "It shows training rows: a report with this audit is as confidential as they are, and no "
            "certificate of differential privacy covers it. show_rows: false leaves out what is in the rows.",
            "Intervals describe the predictions drawn; rows of one person are counted as if they were "
            "independent.",
        ),
        sources=(
            "Koh and Liang (2017), Understanding Black-box Predictions, arXiv:1703.04730",
            "Pruthi et al. (2020), Estimating Training Data Influence (TracIn), arXiv:2002.08484",
            "Barshan, Brunet and Dziugaite (2020), RelatIF, arXiv:2003.11630 (concentration of influence)",
            "Grosse et al. (2023), Studying Large Language Model Generalization, arXiv:2308.03296",
        ),
    )

    max_predictions: int = Field(64, ge=1, description="Wrong predictions explained, drawn with the seed")
    max_training_rows: int = Field(10_000, ge=2, description="Training rows looked at, drawn with the seed")
    # Networks are seldom trained to a minimum: with 0.1 to 0.3 the last layer foretold best what retraining
    # on half of the rows did (benchmarks/influence.py); models at their minimum are foretold well with less.
    damping: float = Field(0.1, gt=0, description="Added to the Hessian, as a multiple of its mean diagonal")
    exact_parameters: int = Field(
        2048, ge=1, description="Last layers with more parameters get Kronecker factors of the Hessian"
    )
    projection: int = Field(4096, ge=64, description="Directions on which very long gradients are projected")
    shown_predictions: int = Field(3, ge=1, description="Predictions shown: the most confident errors")
    shown_rows: int = Field(5, ge=1, description="Training rows shown for and against each")
    listed_rows: int = Field(20, ge=1, description="Training rows listed by self-influence")
    show_rows: bool = Field(True, description="Whether to show what is in the rows, beside their number")
    confidence: float = Field(0.95, gt=0, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Concentration, agreement of the methods, and labels that the model contradicts."""
        model = _white_box(subject)
        training, held_out, n_members = self._split(data, context)
        said = subject.predict(held_out, batch_size=ROWS_AT_ONCE)
        chosen = explained_predictions(
            said,
            held_out.y_true,
            most=self.max_predictions,
            shown=self.shown_predictions,
            rng=context.numpy_rng("errors"),
        )
        explained = Told.of(held_out, said).take(chosen.rows)
        told = Told.of(training, subject.predict(training, batch_size=ROWS_AT_ONCE))
        question = Question(
            training=training,
            weights=_weights(training),
            n_trained=max(_n_trained(subject) or n_members, len(training)),
            explained=explained.data,
            predicted=explained.predicted,
            against=chosen.against,
        )
        setting = Setting(self.damping, self.exact_parameters, self.projection)
        found = influences(model, question, setting, lambda: context.torch_rng("projection"))
        n = chosen.n_measured
        measured = figures(found, told.contradicted, n_measured=n, confidence=self.confidence)
        usable = {
            method: one
            for method, one in found.items()
            if not isinstance(one, Message) and one.on_predictions[:n].any()
        }
        evidence = (
            self._evidence(model, chosen, Findings(told, explained, chosen.against, usable)) if usable else ()
        )
        return AuditOutput(measured, tuple(evidence), _notes(found, chosen, question, n_members))

    def _split(self, data: Dataset, context: AuditContext) -> tuple[Dataset, Dataset, int]:
        """Training rows, no more than are asked for; held-out rows; how many training rows there are."""
        if data.is_member is None:
            raise DataError(f"influence: {data.name} does not tell training rows apart; set data.members")
        members = np.flatnonzero(data.is_member)
        n_members, most = len(members), self.max_training_rows
        if n_members > most:
            members = np.sort(context.numpy_rng("training").choice(members, most, replace=False))
        return data.take(members), data.held_out(), n_members

    def _evidence(
        self, subject: WhiteBox, chosen: ExplainedPredictions, findings: Findings
    ) -> Iterator[Evidence]:
        preprocessing, explained = preprocessing_of(subject), findings.explained
        is_picture = self.show_rows and explained.data.features.image_shape is not None
        contents = (
            contents_of(subject, preprocessing, explained.data, explained.predicted, most=_SHOWN_FEATURES)
            if self.show_rows
            else Contents()
        )
        for example in chosen.shown:
            if is_picture:
                most = min(self.shown_rows, _SHOWN_PICTURES)
                yield pictures.example_picture(findings, example, preprocessing, most=most)
            else:
                yield tables.example_table(findings, example, contents, most=self.shown_rows)
        if is_picture:
            yield pictures.suspects_picture(findings, preprocessing, most=self.listed_rows)
        yield tables.suspects_table(findings, contents, most=self.listed_rows)
        yield tables.spread_curve(findings.by_method, chosen.n_measured)


def _white_box(subject: Subject) -> WhiteBox:
    if not isinstance(subject, WhiteBox):
        raise AuditkitError(
            f"influence: {subject.card.name} has no gradients; audit a torch module or leave this audit out"
        )
    return subject


def _n_trained(subject: Subject) -> int | None:
    """Rows of the recorded training."""
    return None if subject.card.training is None else subject.card.training.n_rows


def _weights(training: Dataset) -> FloatArray:
    """With which the losses of the rows counted in training, mean 1; all 1 where they have none."""
    weight = training.sample_weight
    if weight is None or not weight.any():
        return np.ones(len(training))
    return np.asarray(weight / weight.mean())


def _notes(
    found: Mapping[Method, Influences | Message],
    chosen: ExplainedPredictions,
    question: Question,
    n_members: int,
) -> list[Message]:
    notes = [one.note for one in found.values() if not isinstance(one, Message)]
    if chosen.n_errors > chosen.n_measured:
        notes.append(
            Message(
                text="{n} of {total} wrong predictions were drawn at random and explained.",
                values={"n": chosen.n_measured, "total": chosen.n_errors},
            )
        )
    if not chosen.n_errors:
        notes.append(
            Message(
                text="No held-out prediction is wrong; the {n} least certain ones are explained instead.",
                values={"n": chosen.n_measured},
            )
        )
    total = max(n_members, question.n_trained)
    if len(question.training) < total:
        notes.append(
            Message(
                text="{n} of {total} training rows were looked at; influence is that among them.",
                values={"n": len(question.training), "total": total},
            )
        )
    if question.training.sample_weight is not None:
        notes.append(Message(text="Sample weights multiply the influence of training rows, as in training."))
    return notes
