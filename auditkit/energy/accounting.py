"""Arithmetic of energy and carbon accounts: pure functions of declared inputs."""

from typing import Final

KG_PER_LB: Final = 0.45359237


def facility_energy_kwh(power_w: float, duration_h: float, *, pue: float = 1.0) -> float:
    """Energy of equipment drawing ``power_w`` for ``duration_h``, with the overhead of its building.

    Args:
        power_w: Mean power of the equipment, in watts.
        duration_h: Hours.
        pue: Power usage effectiveness, energy of the building per energy of its equipment, at least 1.

    Raises:
        ValueError: An input is out of range.

    Source:
        Strubell et al. (2019), arXiv:1906.02243, eq. 1.

    >>> round(facility_energy_kwh(1415.78, 12, pue=1.58), 2)
    26.84
    """
    if power_w < 0 or duration_h < 0 or pue < 1:
        raise ValueError(f"need power and duration >= 0 and pue >= 1, got {power_w}, {duration_h}, {pue}")
    return power_w / 1e3 * duration_h * pue


def embodied_gco2e(
    total_kgco2e: float, *, used_h: float, lifetime_h: float, reserved_share: float = 1.0
) -> float:
    """The part of the carbon of making a machine that falls on one use of it, in grams.

    Args:
        total_kgco2e: Carbon of making the machine, in kilograms.
        used_h: Hours for which it was reserved.
        lifetime_h: Hours it is expected to serve.
        reserved_share: Share of the machine that was reserved, in ``[0, 1]``.

    Raises:
        ValueError: An input is out of range.

    Source:
        Software Carbon Intensity specification, ISO/IEC 21031:2024, M = TE x TS x RS.
    """
    if total_kgco2e < 0 or not 0 <= used_h <= lifetime_h or lifetime_h <= 0 or not 0 <= reserved_share <= 1:
        raise ValueError(
            f"need carbon >= 0, 0 <= used_h <= lifetime_h and a share in [0, 1], got {total_kgco2e}, "
            f"{used_h}, {lifetime_h}, {reserved_share}"
        )
    return total_kgco2e * 1e3 * used_h / lifetime_h * reserved_share


def carbon_intensity_of_software(
    energy_kwh: float, *, intensity_gco2e_per_kwh: float, embodied_gco2e: float, functional_units: float
) -> float:
    """Grams of CO2 equivalent per functional unit (per inference, per token): ``(E x I + M) / R``.

    Raises:
        ValueError: There is no functional unit.

    Source:
        Software Carbon Intensity specification, ISO/IEC 21031:2024.
    """
    if functional_units <= 0:
        raise ValueError(f"need at least some functional units, got {functional_units}")
    return (energy_kwh * intensity_gco2e_per_kwh + embodied_gco2e) / functional_units
