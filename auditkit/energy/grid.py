"""Carbon of electricity from a bundled table: no network, and no guess where the country is unknown."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from auditkit.energy.quantity import Quantity
from auditkit.records import Message, Provenance

SOURCE: Final = "Ember, Yearly Electricity Data, CC BY 4.0"

J_PER_KWH: Final = 3.6e6


@dataclass(frozen=True, slots=True)
class GridIntensity:
    """Average life-cycle carbon of one kWh generated in a country during a year."""

    country: str
    gco2e_per_kwh: float
    year: int


@dataclass(frozen=True, slots=True)
class Carbon:
    """Grams of CO2 equivalent of an amount of energy.

    Attributes:
        low: Smallest amount that the energy and the grid allow.
        value: Best single figure, or ``None`` when the country is unknown; ``missing`` then says so.
        high: Largest amount.
        provenance: ``derived``, or ``estimated`` when the energy is.
        basis: Which grid figures were used.
    """

    low: float
    value: float | None
    high: float
    provenance: Provenance
    basis: Message
    missing: Message | None = None


@cache
def grid_intensities() -> Mapping[str, GridIntensity]:
    """The bundled table by ISO 3166-1 alpha-3 code.

    >>> grid_intensities()["FRA"].gco2e_per_kwh
    56.039
    """
    text = files("auditkit.energy").joinpath("grid_intensity.csv").read_text(encoding="utf-8")
    entries = [
        GridIntensity(row["iso3"], float(row["carbon_intensity_gco2e_per_kwh"]), int(row["year"]))
        for row in csv.DictReader(text.splitlines())
    ]
    return MappingProxyType({entry.country: entry for entry in entries})


def carbon_gco2e(energy_kwh: Quantity, country: str | None) -> Carbon:
    """Grams of CO2 equivalent of ``energy_kwh`` drawn from the grid of ``country``.

    Args:
        energy_kwh: In kWh.
        country: ISO 3166-1 alpha-3, or ``None``. Without an entry in the table there is no single figure,
            only the range over all bundled grids; grids outside it exist.

    Returns:
        Grams, location-based, average (not marginal) intensity.
    """
    table = grid_intensities()
    if country is not None and country in table:
        entry = table[country]
        grams = energy_kwh.times(Quantity.exact(entry.gco2e_per_kwh, "declared"))
        basis = Message(
            text="{country} {year}: {intensity} gCO2e per kWh, yearly average ({source})",
            values={
                "country": country,
                "year": entry.year,
                "intensity": entry.gco2e_per_kwh,
                "source": SOURCE,
            },
        )
        return Carbon(grams.low, grams.value, grams.high, grams.provenance, basis)
    return _without_country(energy_kwh, country)


def _without_country(energy_kwh: Quantity, country: str | None) -> Carbon:
    entries = sorted(grid_intensities().values(), key=lambda entry: entry.gco2e_per_kwh)
    cleanest, dirtiest = entries[0], entries[-1]
    basis = Message(
        text="between {low} gCO2e per kWh ({low_country}) and {high} ({high_country}), the extremes of {n} "
        "bundled grids ({source})",
        values={
            "low": cleanest.gco2e_per_kwh,
            "low_country": cleanest.country,
            "high": dirtiest.gco2e_per_kwh,
            "high_country": dirtiest.country,
            "n": len(entries),
            "source": SOURCE,
        },
    )
    missing = (
        Message(text="no country was given, so the carbon of its electricity is unknown")
        if country is None
        else Message(text="no carbon intensity is bundled for {country}", values={"country": country})
    )
    return Carbon(
        low=energy_kwh.low * cleanest.gco2e_per_kwh,
        value=None,
        high=energy_kwh.high * dirtiest.gco2e_per_kwh,
        provenance="estimated",
        basis=basis,
        missing=missing,
    )
