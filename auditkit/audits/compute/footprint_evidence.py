"""Tables and charts behind a footprint."""

from collections.abc import Sequence

from auditkit.energy.balance import EnergyBalance
from auditkit.energy.grid import J_PER_KWH, SOURCE, carbon_gco2e, grid_intensities
from auditkit.records import Dots, Estimate, Mark, Measurement, Message, Table


def footprint_table(figures: Sequence[Measurement]) -> Table:
    """All figures with their bounds and how each was found."""
    return Table(
        title=Message(text="What one prediction takes on this machine"),
        columns=(Message(text="Figure"), Message(text="Value"), Message(text="Found by")),
        rows=tuple(
            (figure.metric, estimate_of(figure), Message(text=figure.provenance)) for figure in figures
        ),
    )


def energy_table(balance: EnergyBalance, n_predictions: int) -> Table:
    """The parts of the energy of 1,000 predictions and the method of each."""
    scale = 1_000 / n_predictions
    return Table(
        title=Message(text="Energy of 1,000 predictions, part by part"),
        columns=(Message(text="Part"), Message(text="Energy"), Message(text="Method")),
        rows=tuple(
            (
                Message(text=part.component),
                Estimate(
                    value=part.energy.value * scale,
                    low=part.energy.low * scale,
                    high=part.energy.high * scale,
                    n=n_predictions,
                    unit="J",
                ),
                part.method,
            )
            for part in balance.parts
        ),
    )


def carbon_by_grid(balance: EnergyBalance, n_predictions: int) -> Dots | None:
    """The same energy on every bundled grid; ``None`` where the energy is unknown."""
    total = balance.total
    if total is None:
        return None
    energy_kwh = total.scaled(1_000 / n_predictions / J_PER_KWH)
    entries = sorted(grid_intensities().values(), key=lambda entry: entry.gco2e_per_kwh)
    marks = []
    for entry in entries:
        carbon = carbon_gco2e(energy_kwh, entry.country)
        estimate = Estimate(value=carbon.value, low=carbon.low, high=carbon.high, unit="gCO2e")
        marks.append(Mark(label=entry.country, estimate=estimate))
    return Dots(
        title=Message(
            text="The same predictions emit {times} times as much in {dirtiest} as in {cleanest}",
            values={
                "times": round(entries[-1].gco2e_per_kwh / entries[0].gco2e_per_kwh),
                "dirtiest": entries[-1].country,
                "cleanest": entries[0].country,
            },
        ),
        caption=Message(
            text="Yearly average of {year}, {source}", values={"year": entries[0].year, "source": SOURCE}
        ),
        axis=Message(text="gCO2e per 1,000 predictions"),
        marks=tuple(marks),
        low=0.0,
    )


def ratio_dots(ratios: Sequence[Measurement]) -> Dots:
    """Every quotient against 1; absent ones with their reason."""
    cheaper = sum(1 for figure in ratios if figure.interval is not None and figure.interval.high < 1)
    dearer = sum(1 for figure in ratios if figure.interval is not None and figure.interval.low > 1)
    return Dots(
        title=Message(
            text="The variant takes less in {cheaper} of {n} figures and more in {dearer}",
            values={"cheaper": cheaper, "dearer": dearer, "n": len(ratios)},
        ),
        axis=Message(text="variant divided by baseline"),
        marks=tuple(Mark(label=figure.metric, estimate=estimate_of(figure)) for figure in ratios),
        reference=1.0,
        reference_label=Message(text="same as baseline"),
    )


def estimate_of(figure: Measurement) -> Estimate:
    """A figure as a cell or mark."""
    interval = figure.interval
    return Estimate(
        value=figure.value,
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        n=figure.n,
        unit=figure.unit,
        missing=figure.missing,
    )
