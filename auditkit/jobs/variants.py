"""The variants of a run: derived from the baseline once, kept in the run folder where making them is dear."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from auditkit import __version__
from auditkit.data.dataset import Dataset
from auditkit.data.loading import training_rows
from auditkit.errors import AuditkitError, UsageError
from auditkit.jobs.ledger import recording_of
from auditkit.jobs.prepare import Progress, Project, training_data, unscaled_rows
from auditkit.privacy.partial import Partial
from auditkit.randomness import derive_seed
from auditkit.registry import VARIANTS
from auditkit.store import RunFolder, write_atomically
from auditkit.subjects.checkpoint import load_checkpoint, save_checkpoint
from auditkit.subjects.subject import Subject
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.variants.variant import Variant, VariantContext

Observer = Callable[[str, Mapping[str, Any]], None]


def derive_variants(
    project: Project,
    baseline: Subject,
    folder: RunFolder,
    *,
    fresh: bool,
    report_progress: Progress,
    observe: Observer,
) -> dict[str, Subject]:
    """The baseline and every variant of the config by name, the baseline first.

    Raises:
        UsageError: A variant needs more of the baseline than it shows.
        AuditkitError: A variant cannot be derived; the message names it.
    """
    check_variants(project, baseline)
    subjects: dict[str, Subject] = {"baseline": baseline}
    for name, entry in project.config.variants.items():
        variant = VARIANTS.make(entry.kind, entry.parameters)
        key = _key(project, baseline, name, variant)
        kept = None if fresh else _kept(project, folder, name, key)
        observe("variant_reused" if kept else "variant_started", {"variant": name, "kind": entry.kind})
        subjects[name] = kept or _derive(
            project, baseline, folder, name=name, variant=variant, key=key, report_progress=report_progress
        )
    return subjects


def refuse_early(project: Project) -> None:
    """Refuse variants that config and training rows rule out, where a baseline is still to be trained.

    Raises:
        UsageError: A parameter of a variant is out of range for these rows; the message names it.
        PrivacyRefusedError: It would protect next to nothing.
    """
    entries = project.config.variants
    if not entries or not project.is_to_be_trained:
        return
    rows = training_rows(project.config.data, seed=project.config.seed, folder=project.folder)
    for name, entry in entries.items():
        try:
            VARIANTS.make(entry.kind, entry.parameters).refuse_early(rows)
        except AuditkitError as error:
            error.args = (f"variant {name!r}: {error}",)
            raise


def check_variants(project: Project, baseline: Subject) -> None:
    """Refuse variants that cannot be made of such a model, before anything is.

    Raises:
        UsageError: With every such variant and what it needs.
    """
    problems = []
    for name, entry in project.config.variants.items():
        if "values" in baseline.capabilities and entry.kind not in _OF_NUMBERS:
            problems.append(f"variant {name!r}: {entry.kind} is for labels, and data.task is regression")
            continue
        unmet = VARIANTS.load(entry.kind).info.requires - baseline.capabilities
        if unmet:
            needs = " and ".join(_NEEDS.get(need, need) for need in sorted(unmet))
            problems.append(f"variant {name!r}: {entry.kind} needs {needs}")
    if problems and "values" in baseline.capabilities:
        raise UsageError(
            f"{'; '.join(problems)}. Remove the variant; of a model that foretells numbers there can be: "
            f"{', '.join(_OF_NUMBERS)}"
        )
    if problems:
        raise UsageError(
            f"{'; '.join(problems)}; {baseline.card.title} ({baseline.card.architecture}) does not show "
            "that. Remove the variant, or audit a torch checkpoint"
        )


_OF_NUMBERS = ("quantise",)
"""Kinds of variants that do not ask what a model answers."""

_NEEDS: Mapping[str, str] = {
    "layers": "a torch module whose layers can be changed",
    "gradients": "gradients (a torch module)",
    "recipe": "a checkpoint with its training record",
    "probabilities": "probabilities",
    "losses": "probabilities",
    "generative": "a model of language",
}


def _derive(
    project: Project,
    baseline: Subject,
    folder: RunFolder,
    *,
    name: str,
    variant: Variant,
    key: str,
    report_progress: Progress,
) -> Subject:
    place = folder.path / "variants" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    partial = Partial(place.with_name(f".{name}.unfinished"), keeps_noise=True)

    def rows() -> Dataset:
        return training_data(project, baseline)

    context = VariantContext(
        name=name,
        seed=derive_seed(project.config.seed, "variant", name),
        folder=place.parent,
        training_data=rows,
        unscaled_rows=lambda steps: unscaled_rows(project, steps),
        device=project.device,
        report_progress=report_progress,
        recording=lambda accept_lost_ledger: recording_of(
            project,
            purpose=f"variant {name} of {project.stem}",
            partial=partial.folder,
            runs=folder.path.parent,
            accept_lost_ledger=accept_lost_ledger,
        ),
    )
    try:
        subject = variant.derive(baseline, context)
    except AuditkitError as error:
        error.args = (f"variant {name!r}: {error}",)
        raise
    if variant.info.trains and isinstance(subject, TorchSubject):
        # One of an earlier start is not taken any more, and makes place only now that it can be replaced.
        (place / "key").unlink(missing_ok=True)
        save_checkpoint(place, subject)
        write_atomically(place / "key", key)
        partial.remove()
    return subject


def _kept(project: Project, folder: RunFolder, name: str, key: str) -> TorchSubject | None:
    """The checkpoint an earlier start left, when it was made from the same content."""
    place = folder.path / "variants" / name
    own = project.config.subject.architecture
    try:
        if (place / "key").read_text() != key:
            return None
        subject = load_checkpoint(
            place, name=name, device=project.device, own_class=own.name if own else None
        )
    except (OSError, AuditkitError):
        return None
    return replace(subject, card=subject.card.model_copy(update={"source": f"variants/{name}"}))


def _key(project: Project, baseline: Subject, name: str, variant: Variant) -> str:
    content = [
        __version__,
        name,
        variant.info.kind,
        variant.info.version,
        variant.model_dump(mode="json"),
        baseline.card.digest,
        project.config.data.model_dump(mode="json"),
        project.config.seed,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
