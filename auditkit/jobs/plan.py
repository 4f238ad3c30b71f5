"""What a run would do, told before it does it."""

from collections.abc import Iterator

from auditkit.jobs.audit import Prepared
from auditkit.jobs.prepare import audits_of
from auditkit.jobs.variants import check_variants
from auditkit.records import SubjectCard
from auditkit.registry import VARIANTS
from auditkit.runner import unmet_requirements


def plan_lines(prepared: Prepared) -> list[str]:
    """Subject, data, variants and audits, one line each, with what would be skipped and why.

    Raises:
        UsageError: A variant cannot be derived from the subject.
    """
    check_variants(prepared.project, prepared.subject)
    config, data = prepared.project.config, prepared.data
    held_out = data.held_out()
    lines = [
        f"run       {prepared.run_id}",
        f"subject   {prepared.project.title}: {_described(prepared.subject.card)}",
        f"data      {data.name}: {len(held_out):,} rows held out, {len(data) - len(held_out):,} members",
        f"subjects  {', '.join(['baseline', *config.variants])}",
    ]
    if not prepared.project.checkpoint.exists() and config.subject.training is not None:
        lines.append(
            f"training  {config.subject.training.epochs} epochs first, as there is no checkpoint yet"
        )
    lines += [
        f"variant   {name}: {VARIANTS.load(entry.kind).info.summary}"
        for name, entry in config.variants.items()
    ]
    return lines + list(_audit_lines(prepared)) + [f"policy    {len(config.policy)} rules"]


def _described(card: SubjectCard) -> str:
    """What kind of model it is; of one that only answers, what it answers with."""
    if card.n_parameters is not None:
        return f"{card.architecture}, {card.n_parameters:,} parameters"
    if "values" in card.capabilities:
        return f"{card.architecture}, answers with numbers"
    known = "probabilities" in card.capabilities or "generative" in card.capabilities
    return f"{card.architecture}, answers with {'probabilities' if known else 'labels alone'}"


def _audit_lines(prepared: Prepared) -> Iterator[str]:
    for name, audit in audits_of(prepared.project).items():
        unmet = unmet_requirements(audit, prepared.subject, prepared.data)
        yield f"audit     {name}: " + (f"skipped, needs {', '.join(unmet)}" if unmet else audit.info.question)
