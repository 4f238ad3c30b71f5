"""What can be refused of a private training before there is a baseline: settings, and the rows as read."""

from collections.abc import Sequence

from auditkit.data.rows import Rows
from auditkit.privacy.accounting import default_delta
from auditkit.privacy.dp_settings import DpSettings, check_settings, plan
from auditkit.privacy.public_count import public_count
from auditkit.privacy.units import Unit, refuse_equal_copies, unit_of


def refuse_out_of_range(candidates: Sequence[DpSettings], rows: Rows) -> None:
    """Refuse settings that no training on so many rows or persons can have; the first of several that does.

    Raises:
        UsageError: They are out of range, or no noise keeps within epsilon.
        PrivacyRefusedError: Epsilon protects next to nothing.
        DataError: There are fewer than two rows or persons.
    """
    for settings in candidates:
        unit = unit_of(rows, settings.unit)
        n_units = count_units(rows, unit)
        n_public = public_count(n_units, settings.public_count)
        delta = default_delta(n_public) if settings.delta is None else settings.delta
        check_settings(settings, delta, n_units, unit)
        refuse_equal_copies(settings.augmentation_multiplicity, is_changed=settings.augmentation is not None)
        if len(candidates) == 1:  # the noise of several follows from all of them together
            plan(settings, delta, n_public, unit)


def count_units(rows: Rows, unit: Unit) -> int:
    """How many rows or persons there are; a row that names nobody is a person of its own."""
    if unit == "row" or rows.person is None:
        return len(rows)
    named = [str(one) for one in rows.person.tolist() if one is not None]
    return len(set(named)) + len(rows) - len(named)
