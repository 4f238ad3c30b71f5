"""The promises of the audit contract, one check each."""

from collections.abc import Callable, Iterator
from functools import partial

from auditkit.audits.audit import Audit, PairedAudit, ShardedAudit
from auditkit.data.dataset import Dataset
from auditkit.subjects.subject import Subject
from auditkit.testing import behaviour, figures, hard_data
from auditkit.testing.language import tiny_language_dataset, tiny_language_subject
from auditkit.testing.planted import tiny_dataset, tiny_subject
from auditkit.testing.scene import CheckError, Scene
from auditkit.testing.texts import tiny_text_dataset, tiny_text_subject
from auditkit.testing.values import tiny_value_dataset, tiny_value_subject

__all__ = ["CheckError", "audit_checks"]

Check = Callable[[], None]

_CHECKS: dict[str, Callable[[Scene], None]] = {
    "describes itself": figures.describes_itself,
    "keeps its parameters from config to record and back": figures.keeps_its_parameters,
    "measures the planted subject": figures.measures,
    "gives every figure its facts": figures.gives_every_figure_its_facts,
    "encodes to JSON and back": figures.encodes_and_decodes,
    "gives the same figures for the same seed": figures.repeats_itself,
    "gives the same figures for every batch size": figures.ignores_the_batch_size,
    "leaves the subject unchanged": behaviour.leaves_the_subject_unchanged,
    "leaves the subject unchanged when it raises": behaviour.leaves_the_subject_unchanged_when_it_raises,
    "takes no randomness from the global generators": behaviour.leaves_the_global_generators_alone,
    "is refused before work when a requirement is unmet": behaviour.is_refused_before_work,
    "needs no more than it names": behaviour.needs_no_more_than_it_names,
    "runs offline": behaviour.runs_offline,
}
_PAIRED = {"finds no difference between a subject and itself": figures.finds_no_difference_to_itself}
_SHARDED = {"merges shards in any order": figures.merges_in_any_order}


def audit_checks(
    audit: Audit, *, subject: Subject | None = None, other: Subject | None = None, data: Dataset | None = None
) -> list[tuple[str, Check]]:
    """All checks for one audit, as ``(name, callable)``; a callable that returns is a check that passed.

    Args:
        audit: An instance; choose parameters that make it quick.
        subject: What to examine; default :func:`~auditkit.testing.tiny_subject`, or
            :func:`~auditkit.testing.tiny_language_subject` when the audit requires ``generative``, or
            :func:`~auditkit.testing.tiny_value_subject` when it requires ``values``, or
            :func:`~auditkit.testing.tiny_text_subject` when it requires ``texts``. Give one (with ``data``)
            when the audit is about pictures or a capability that the default lacks.
        other: For paired audits, what to compare with it; default another tiny subject.
        data: The rows; default :func:`~auditkit.testing.tiny_dataset` (or ``tiny_language_dataset``) with a
            sensitive feature, members and a favourable label.

    Returns:
        Each check raises :class:`CheckError` when the audit breaks a promise.
    """
    usual = _usual_scene(audit)
    scene = Scene(audit, subject or usual.subject, other or usual.other, usual.data if data is None else data)
    return [(name, partial(check, scene)) for name, check in _applicable(scene)]


def _usual_scene(audit: Audit) -> Scene:
    if "generative" in audit.info.requires:
        return _language_scene(audit)
    if "values" in audit.info.requires:
        other = tiny_value_subject(seed=1, name="other")
        return Scene(audit, tiny_value_subject(), other, tiny_value_dataset())
    if "texts" in audit.info.requires:
        other = tiny_text_subject(seed=1, name="other")
        return Scene(audit, tiny_text_subject(), other, tiny_text_dataset())
    return _table_scene(audit)


def _table_scene(audit: Audit) -> Scene:
    return Scene(audit, tiny_subject(), tiny_subject(seed=1, name="other"), tiny_dataset())


def _language_scene(audit: Audit) -> Scene:
    other = tiny_language_subject(seed=1, name="other")
    return Scene(audit, tiny_language_subject(), other, tiny_language_dataset())


def _applicable(scene: Scene) -> Iterator[tuple[str, Callable[[Scene], None]]]:
    yield from _CHECKS.items()
    if isinstance(scene.audit, PairedAudit):
        yield from _PAIRED.items()
    if isinstance(scene.audit, ShardedAudit):
        yield from _SHARDED.items()
    for name, rows in hard_data.HARD_DATA.items():
        yield f"handles {name}", partial(hard_data.handles, name=name, rows=rows)
    yield "handles constant predictions", hard_data.handles_constant_predictions
    yield "handles three classes", hard_data.handles_three_classes
    yield "survives hostile names", hard_data.survives_hostile_names
