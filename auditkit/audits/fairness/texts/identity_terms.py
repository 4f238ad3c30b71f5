"""Does a text classifier judge sentences differently by whom they name?"""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.fairness.texts import term_evidence as evidence
from auditkit.audits.fairness.texts import term_figures as figures
from auditkit.audits.fairness.texts.classified import Classifier
from auditkit.audits.fairness.texts.own_texts import exchanged, own_flips, own_measurements
from auditkit.audits.fairness.texts.term_grid import ReadGrid, ask, read_grid
from auditkit.data.csv_texts import sha256_of_texts
from auditkit.data.dataset import Dataset
from auditkit.data.identity_templates import TemplateGrid, published_templates, read_templates
from auditkit.data.preprocessing import TextPreprocessing
from auditkit.errors import AuditkitError, ConfigError, closest
from auditkit.records import Measurement, Message
from auditkit.subjects.subject import Subject, preprocessing_of


class IdentityTerms(PairedAudit):
    """The same sentence about different people: is it put into the same class, with the same score?

    Every template is read with every identity term, so that nothing but the term differs; then words for
    people in the audited rows are exchanged for others. A reader may conclude which terms alone move the
    subject's decision. They may not conclude how people are treated who are not named by these words.

    Attributes:
        languages: Of the published templates.
        templates: A CSV file of one's own instead, with the columns template, toxicity, phrase and, where
            known, term, axis and language.
        templates_sha256: Of that file; filled in, so that a result belongs to its content.
        unfavourable: The class that stands for toxic; without it, of two classes the one not favourable.
        most_templates: Templates of each label and language that are read; more are chosen from at random.
        most_unknown: Largest share of tokens outside the model's vocabulary at which figures are given.
        own_texts: Whether words in the audited rows are exchanged too.
        fewest_rows: Rows with such words below which no figure is given.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="identity-terms",
        version=1,
        area="fairness",
        question="Does the text classifier judge sentences differently by whom they name?",
        requires=frozenset({"probabilities", "texts"}),
        limits=(
            "The templates are labelled toxic or not. For a classifier of something else, such as sentiment, "
            "false positives and areas take the unfavourable class for toxic; flips need no label.",
            "Templates are short and artificial; in real texts a term comes with a context.",
            "Intervals take templates as independent; those that share a word are more alike than that, "
            "which makes the intervals too short.",
            "A term may matter for a good reason: some sentences mean different things of different people.",
            "Terms that the model's vocabulary lacks are not examined.",
            "Exchanged words are chosen from a short list; other words for the same people are not.",
        ),
        sources=(
            "Dixon, Li, Sorensen, Thain and Vasserman (2018), Measuring and mitigating unintended bias in "
            "text classification, AIES",
            "Borkan, Dixon, Sorensen, Thain and Vasserman (2019), Nuanced metrics for measuring unintended "
            "bias, WWW Companion (templates: Apache 2.0)",
            "Garg et al. (2019), Counterfactual fairness in text classification through robustness, AIES",
            "DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845",
            "Holm (1979), Scandinavian Journal of Statistics 6:65-70",
        ),
    )

    languages: tuple[Literal["en", "zh"], ...] = Field(("en", "zh"), min_length=1)
    templates: str | None = None
    templates_sha256: str | None = None
    unfavourable: str | None = None
    most_templates: int = Field(100, ge=2)
    most_unknown: float = Field(0.2, ge=0, le=1)
    own_texts: bool = True
    fewest_rows: int = Field(20, ge=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _with_digest(cls, value: Any) -> Any:
        named = isinstance(value, dict) and isinstance(value.get("templates"), str)
        if named and "templates_sha256" not in value:
            return {**value, "templates_sha256": sha256_of_texts(value["templates"])}
        return value

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of one subject."""
        classifier = self._classifier(subject, data, context)
        parts = [self._of_grid(grid, classifier, context) for grid in self._grids()]
        if self.own_texts:
            parts.append(self._of_own_texts(data, classifier))
        return AuditOutput(
            [one for part in parts for one in part.measurements],
            [one for part in parts for one in part.evidence],
            [one for part in parts for one in part.notes],
        )

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Change of the flip rate and of the score change, over the same templates."""
        measurements: list[Measurement] = []
        for grid in self._grids():
            both = [self._classifier(subject, data, context) for subject in (baseline, variant)]
            reads = [self._read(grid, one, context) for one in both]
            refusal = next((one.refusal for one in reads if one.refusal is not None), None)
            if refusal is None and len({(one.grid.terms, one.grid.texts) for one in reads}) > 1:
                refusal = Message(text="The two subjects do not read the same templates and terms.")
            if refusal is not None:
                measurements.append(_absent("flip_rate.change", grid.language, refusal))
                continue
            before, after = (ask(read, one) for read, one in zip(reads, both, strict=True))
            measurements += figures.paired_changes(before, after, self.confidence)
        return AuditOutput(measurements)

    def _of_grid(self, grid: TemplateGrid, classifier: Classifier, context: AuditContext) -> AuditOutput:
        read = self._read(grid, classifier, context)
        group = {"language": grid.language}
        facts = [read.unknown.measurement(group)]
        if read.refusal is not None:
            absent = [
                _absent(metric, grid.language, read.refusal)
                for metric in ("flip_rate", "score_change", "false_positive_equality_difference")
            ]
            return AuditOutput([*absent, *facts])
        found, notes = ask(read, classifier), evidence.grid_notes(read)
        measurements = [*figures.change_measurements(found, self.confidence), *facts]
        terms = found.terms
        if found.scores is None:
            return AuditOutput(measurements, [evidence.term_table(found, terms, (None, None), None)], notes)
        positive, negative = (
            figures.gaps(found, terms, toxic=toxic, confidence=self.confidence) for toxic in (False, True)
        )
        areas = figures.areas(found, terms)
        measurements += [
            *(
                figures.equality_difference(found, toxic=toxic, confidence=self.confidence)
                for toxic in (False, True)
            ),
            *figures.gap_measurements(figures.FALSE_POSITIVE, terms, positive),
            *figures.gap_measurements(figures.FALSE_NEGATIVE, terms, negative),
            *figures.area_measurements(terms, areas, grid.language, self.confidence),
        ]
        chart = [] if positive is None else [evidence.gap_chart(found, terms, positive)]
        table = evidence.term_table(found, terms, (positive, negative), areas)
        return AuditOutput(measurements, [*chart, table], notes)

    def _of_own_texts(self, data: Dataset, classifier: Classifier) -> AuditOutput:
        texts = exchanged(data, classifier.steps.tokenizer, classifier.steps.length)
        found = own_flips(texts, data, classifier)
        measurements = own_measurements(
            found, n_rows=len(data), fewest=self.fewest_rows, confidence=self.confidence
        )
        enough = bool(found) and len(found[0].rows) >= self.fewest_rows
        table = (
            evidence.own_table(found, n_rows=len(data), fewest=self.fewest_rows, confidence=self.confidence)
            if enough
            else None
        )
        notes = evidence.own_notes(texts, len(data))
        return AuditOutput(measurements, [] if table is None else [table], notes)

    def _read(self, grid: TemplateGrid, classifier: Classifier, context: AuditContext) -> ReadGrid:
        return read_grid(
            grid,
            classifier.steps.tokenizer,
            length=classifier.steps.length,
            most_templates=self.most_templates,
            most_unknown=self.most_unknown,
            rng=context.numpy_rng("templates", grid.language),
        )

    def _grids(self) -> list[TemplateGrid]:
        if self.templates is None:
            return [published_templates(language) for language in dict.fromkeys(self.languages)]
        if self.templates_sha256 not in (None, sha256_of_texts(self.templates)):
            raise AuditkitError(
                f"identity-terms: {self.templates} is not the file with the sha256 {self.templates_sha256}; "
                "put that file back, or leave templates_sha256 out"
            )
        return read_templates(Path(self.templates))

    def _classifier(self, subject: Subject, data: Dataset, context: AuditContext) -> Classifier:
        steps = preprocessing_of(subject)
        if not isinstance(steps, TextPreprocessing):
            raise AuditkitError(
                f"identity-terms: {subject.card.name} does not say how it reads text; audit a classifier of "
                "texts with its tokenizer, or leave this audit out"
            )
        return Classifier(subject, steps, data, self._unfavourable(data), context.batch_size)

    def _unfavourable(self, data: Dataset) -> int | None:
        """The class that is named, else of two classes the one that is not favourable."""
        if self.unfavourable is not None:
            if self.unfavourable not in data.classes:
                raise ConfigError(
                    f"identity-terms: unfavourable: no class {self.unfavourable!r}. "
                    f"{closest(self.unfavourable, data.classes)}"
                )
            return data.classes.index(self.unfavourable)
        if len(data.classes) != 2 or data.positive_index is None:
            return None
        return 1 - data.positive_index


def _absent(metric: str, language: str, reason: Message) -> Measurement:
    return Measurement(
        metric=metric, value=None, n=0, better="lower", group={"language": language}, missing=reason
    )
