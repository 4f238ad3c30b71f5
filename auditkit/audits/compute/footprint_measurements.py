"""The figures of a footprint: from counts, clocks and counters to measurements."""

from typing import Final

import numpy as np
import torch

from auditkit.data.dataset import FloatArray
from auditkit.energy.allocation import allocation
from auditkit.energy.balance import EnergyBalance, memory_in_use_b
from auditkit.energy.cpu_model import cpu_energy, memory_energy
from auditkit.energy.flops import FlopCount
from auditkit.energy.grid import J_PER_KWH, Carbon, carbon_gco2e
from auditkit.energy.memory import CudaPeak, MemoryPeak
from auditkit.energy.quantity import Quantity
from auditkit.records import Interval, Measurement, Message, Unit
from auditkit.statistics.medians import median_interval
from auditkit.subjects.subject import Subject

PARAMETERS: Final = "n_parameters"
SIZE: Final = "size_b"
FLOPS: Final = "flops"
LATENCY_ROW: Final = "latency_s"
LATENCY_BATCH: Final = "latency_batch_s"
THROUGHPUT: Final = "throughput"
THROUGHPUT_TOKENS: Final = "throughput_tokens"
MEMORY: Final = "peak_memory_b"
GPU_MEMORY: Final = "peak_gpu_memory_b"
ENERGY: Final = "energy_j_per_1000"
CARBON: Final = "carbon_gco2e_per_1000"
TRAINING: Final = "training_energy_j"

BOUNDS_CONFIDENCE: Final = 0.95
"""Nominal, for bounds that come from a range of factors and not from a sample."""

NO_WEIGHTS = Message(text="the subject does not show its weights")

_VARIES = Message(text="a clock reading of this machine under its load at the time; it varies between runs")


def static_figures(subject: Subject) -> list[Measurement]:
    """Parameters and bytes, from the card; missing where the subject does not show them."""
    return [
        _exact(PARAMETERS, subject.card.n_parameters, "count"),
        _exact(SIZE, subject.card.size_b, "B"),
    ]


def _exact(metric: str, value: int | None, unit: Unit) -> Measurement:
    return Measurement(
        metric=metric,
        value=value,
        unit=unit,
        n=0 if value is None else 1,
        better="lower",
        interval=None if value is None else Interval.exact(value),
        missing=NO_WEIGHTS if value is None else None,
    )


def flops_figure(count: FlopCount | None, shape: tuple[int, ...]) -> Measurement:
    """FLOPs of one row; a lower bound that names what could not be counted."""
    if count is None:
        return _exact(FLOPS, None, "FLOP")
    note = Message(
        text="matrix products of one row of shape {shape}; activations, norms and softmax are not counted",
        values={"shape": str(shape)},
    )
    if count.unknown:
        note = Message(
            text="matrix products of one row of shape {shape}; without {operations}, which have no formula",
            values={"shape": str(shape), "operations": ", ".join(count.unknown)},
        )
    return Measurement(
        metric=FLOPS,
        value=count.flops,
        unit="FLOP",
        n=1,
        better="lower",
        kind=count.kind,
        provenance="derived",
        interval=Interval.exact(count.flops),
        note=note,
    )


def latency_figure(metric: str, seconds: FloatArray, confidence: float) -> Measurement:
    """Median time of one call."""
    return Measurement(
        metric=metric,
        value=float(np.median(seconds)),
        unit="s",
        n=len(seconds),
        better="lower",
        interval=median_interval(seconds, confidence=confidence),
        note=_VARIES,
    )


def throughput_figure(seconds: FloatArray, n_rows: int, confidence: float) -> Measurement:
    """Predictions per second in batches of ``n_rows``."""
    return _per_second(THROUGHPUT, n_rows, seconds, n_rows, confidence)


def token_throughput_figure(
    seconds: FloatArray, n_tokens: int, n_rows: int, confidence: float
) -> Measurement:
    """Tokens read per second in batches of ``n_rows`` rows that hold ``n_tokens``, padding not counted."""
    return _per_second(THROUGHPUT_TOKENS, n_tokens, seconds, n_rows, confidence)


def _per_second(metric: str, amount: int, seconds: FloatArray, n_rows: int, confidence: float) -> Measurement:
    interval = median_interval(seconds, confidence=confidence)
    inverted = None
    if interval is not None and interval.low > 0:
        inverted = interval.model_copy(update={"low": amount / interval.high, "high": amount / interval.low})
    return Measurement(
        metric=metric,
        value=amount / float(np.median(seconds)),
        unit="1/s",
        n=len(seconds),
        better="higher",
        provenance="derived",
        interval=inverted,
        note=Message(
            text="in batches of {n_rows} rows; a clock reading of this machine, it varies between runs",
            values={"n_rows": n_rows},
        ),
    )


def memory_figure(peaks: list[MemoryPeak], confidence: float) -> Measurement:
    """Median of the peak resident size of the process while it predicts a batch."""
    sizes = [peak.peak_b for peak in peaks if peak.peak_b is not None]
    if not sizes:
        return Measurement(
            metric=MEMORY,
            value=None,
            unit="B",
            n=0,
            better="lower",
            missing=Message(text="this system does not tell the memory of a process"),
        )
    bound = any(peak.is_upper_bound for peak in peaks)
    grown = [peak.growth_b for peak in peaks if peak.growth_b is not None]
    text = (
        "highest size of the process since it began, because this system does not let the peak be reset"
        if bound
        else "size of the process with its libraries and data; predicting a batch added {growth_b} B"
    )
    return Measurement(
        metric=MEMORY,
        value=float(np.median(sizes)),
        unit="B",
        n=len(sizes),
        better="lower",
        kind="upper_bound" if bound else "estimate",
        interval=median_interval(sizes, confidence=confidence),
        note=Message(text=text, values={} if bound else {"growth_b": int(np.median(grown))}),
    )


def gpu_memory_figure(peak: CudaPeak) -> Measurement:
    """Peak of the tensors on the GPU while it predicts a batch."""
    return Measurement(
        metric=GPU_MEMORY,
        value=peak.allocated_b,
        unit="B",
        n=1,
        better="lower",
        interval=Interval.exact(peak.allocated_b),
        note=Message(
            text="held by tensors; the allocator reserved {reserved_b} B",
            values={"reserved_b": peak.reserved_b},
        ),
    )


def energy_figure(balance: EnergyBalance, n_predictions: int) -> Measurement:
    """Joules per 1,000 predictions, between the bounds of counters or factors."""
    total = balance.total
    if total is None:
        return Measurement(
            metric=ENERGY,
            value=None,
            unit="J",
            n=n_predictions,
            better="lower",
            provenance="estimated",
            missing=balance.missing or Message(text="no part of the energy is known"),
        )
    estimated = total.provenance == "estimated"
    per_1000 = total.scaled(1_000 / n_predictions)
    return Measurement(
        metric=ENERGY,
        value=per_1000.value,
        unit="J",
        n=n_predictions,
        better="lower",
        provenance=total.provenance,
        interval=bounds(per_1000, "factor-bounds" if estimated else "counter-bounds"),
        note=Message(
            text="estimated from CPU time and memory, with factors that are uncertain several-fold"
            if estimated
            else "counters of the whole machine, with all else that ran on it"
        ),
    )


def carbon_figure(carbon: Carbon | None, n_predictions: int) -> Measurement:
    """Grams of CO2 equivalent per 1,000 predictions; without a country the range but no figure."""
    if carbon is None:
        return Measurement(
            metric=CARBON,
            value=None,
            unit="gCO2e",
            n=n_predictions,
            better="lower",
            provenance="estimated",
            missing=Message(text="the energy is unknown"),
        )
    return Measurement(
        metric=CARBON,
        value=carbon.value,
        unit="gCO2e",
        n=n_predictions,
        better="lower",
        provenance=carbon.provenance,
        interval=Interval(
            low=carbon.low,
            high=carbon.high,
            confidence=BOUNDS_CONFIDENCE,
            method="bundled-grids" if carbon.value is None else "factor-bounds",
        ),
        missing=carbon.missing,
        note=carbon.basis,
    )


def carbon_per_1000(balance: EnergyBalance, n_predictions: int, country: str | None) -> Carbon | None:
    """Carbon of 1,000 predictions, or ``None`` where their energy is unknown."""
    if balance.total is None:
        return None
    return carbon_gco2e(balance.total.scaled(1_000 / n_predictions / J_PER_KWH), country)


def training_figure(subject: Subject, device: torch.device) -> Measurement:
    """Joules of the training, estimated from its duration for a machine like this one."""
    training, memory_b = subject.card.training, memory_in_use_b()
    reason = None
    if training is None:
        reason = Message(text="the duration of the training is not on record")
    elif device.type == "cuda":
        reason = Message(text="the energy of a GPU cannot be estimated from the duration alone")
    elif memory_b is None:
        reason = Message(text="the memory in use cannot be read on this system")
    if training is None or memory_b is None or reason is not None:
        return Measurement(
            metric=TRAINING,
            value=None,
            unit="J",
            n=0,
            better="lower",
            provenance="estimated",
            missing=reason,
        )
    n_cpus = allocation().n_cpus
    busy = Quantity(min(1.0, n_cpus), min(float(torch.get_num_threads()), n_cpus), n_cpus, "estimated")
    energy = cpu_energy(busy.scaled(training.duration_s)) + memory_energy(memory_b, training.duration_s)
    return Measurement(
        metric=TRAINING,
        value=energy.value,
        unit="J",
        n=1,
        better="lower",
        provenance="estimated",
        interval=bounds(energy, "factor-bounds"),
        note=Message(
            text="{duration_s} s on a machine like this one, {fewest} to {most} virtual CPUs busy",
            values={
                "duration_s": round(training.duration_s, 1),
                "fewest": min(1.0, n_cpus),
                "most": n_cpus,
            },
        ),
    )


def bounds(quantity: Quantity, method: str) -> Interval:
    """The bounds of a quantity as an interval with nominal confidence."""
    return Interval(low=quantity.low, high=quantity.high, confidence=BOUNDS_CONFIDENCE, method=method)
