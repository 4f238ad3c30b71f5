"""Whether a run still fits into the privacy budget of its rows, and adds up with what was spent on them."""

from collections.abc import Collection, Iterable

from auditkit.errors import PrivacyRefusedError
from auditkit.privacy.composition import composed, quick_rdp
from auditkit.privacy.ledger import LedgerState
from auditkit.privacy.units import Unit

ROUNDING = 1e-9


def refuse_above_budget(state: LedgerState, run: str, others: Iterable[str], *, rows: str) -> None:
    """Refuse ``run`` when it and everything else together would exceed the budget; without one nothing is.

    All steps and tunings are composed jointly, and the smaller of the two bounds decides.

    Args:
        state: With the line that is to be written next.
        run: Counts with all the steps that it means to take.
        others: Runs that still go on; they count with all the steps that they mean to take, too.
        rows: Names the rows in the message.

    Raises:
        PrivacyRefusedError: The budget does not suffice.
    """
    if state.budget is None:
        return
    budget, delta = state.budget.epsilon, state.budget.delta
    others = set(others)
    committed, tunings = state.committed({run, *others}), state.tunings()
    if quick_rdp(committed, delta, tunings) <= budget:
        return
    needed = composed(committed, delta, tunings).epsilon
    if needed <= budget * (1 + ROUNDING):
        return
    spent = composed(state.committed(others), delta, state.tunings(but=run)).epsilon
    raise PrivacyRefusedError(
        f"{rows}: with this run epsilon would reach {needed:.4g} at delta {delta:g}. The privacy budget of "
        f"these rows is {budget:g}, of which {spent:.4g} is spent or promised to runs that go on. No step "
        "was taken. Ask for a smaller epsilon; `auditkit ledger` shows the runs, and how a budget is raised"
    )


def refuse_other_unit(units: Collection[str], unit: Unit, *, rows: str) -> None:
    """Refuse to add up what protects rows with what protects persons.

    Args:
        units: That earlier trainings protect.
        unit: That this one would.
        rows: Names the rows in the message.

    Raises:
        PrivacyRefusedError: They are not the same.
    """
    other = sorted(set(units) - {unit})
    if other:
        raise PrivacyRefusedError(
            f"{rows}: earlier trainings protect each {other[0]} and this one would protect each {unit}; "
            "their epsilons cannot be added up, so that the ledger could not say what is spent. Train with "
            f"unit: {other[0]} (--unit {other[0]})"
        )
