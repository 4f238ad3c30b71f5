"""What the model takes: parameters, bytes, FLOPs, time, memory, energy and carbon."""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Final

import numpy as np
import torch
from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.compute import footprint_measurements as figures
from auditkit.audits.compute import footprint_ratios as ratios
from auditkit.audits.compute.footprint_evidence import (
    carbon_by_grid,
    energy_table,
    footprint_table,
    ratio_dots,
)
from auditkit.audits.compute.timing import (
    Call,
    alternating_durations,
    alternating_windows,
    durations,
    repeated_for,
)
from auditkit.data.dataset import Dataset, FloatArray
from auditkit.energy.balance import discover_probes, energy_balance, memory_in_use_b
from auditkit.energy.flops import FlopCount, count_flops
from auditkit.energy.memory import cuda_peak_memory, peak_memory
from auditkit.energy.probe import Discovery
from auditkit.records import Evidence, Measurement, Message
from auditkit.subjects.recoded import as_it_reads
from auditkit.subjects.subject import Subject, WhiteBox, values_of

TIMED_METRICS: Final = (
    figures.LATENCY_ROW,
    figures.LATENCY_BATCH,
    figures.THROUGHPUT,
    figures.THROUGHPUT_TOKENS,
    figures.MEMORY,
    figures.GPU_MEMORY,
    figures.ENERGY,
    figures.CARBON,
    figures.TRAINING,
    figures.LATENCY_ROW + ratios.RATIO,
    figures.LATENCY_BATCH + ratios.RATIO,
    figures.ENERGY + ratios.RATIO,
    figures.TRAINING + ratios.RATIO,
)
"""Figures that rest on clocks and counters, and so differ from run to run. All others are reproducible."""

MEMORY_REPEATS: Final = 7
"""The fewest readings whose range is an interval of the median with 98 % confidence."""

ENERGY_PAIRS: Final = 12


class Footprint(PairedAudit):
    """What predictions of the subject cost on this machine.

    A reader may conclude what this model costs here and now, and from the comparison which of two models
    costs less on this machine. See ``info.limits`` for what a reader may not conclude.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="footprint",
        version=1,
        area="compute",
        question="What do predictions take in time, memory, energy and carbon?",
        requires=frozenset(),
        limits=(
            "FLOPs do not predict time or energy; compare those themselves.",
            "An int8 variant simulated in floating point runs as long as its float twin; its time and "
            "energy are not those of an int8 kernel.",
            "Energy without a counter is estimated from CPU time and memory; its bounds are several-fold, "
            "and hold only as far as the factors do.",
            "Counters cover the whole machine, idle included; estimates cover this process alone.",
            "Carbon uses a yearly average of the country's generation, not the hour, the contract or the "
            "imports; the making of the hardware and the overhead of a data centre are not in it.",
            "Times are of one machine under its load at the time; intervals describe repeats of one run, "
            "and other runs may lie outside.",
        ),
        sources=(
            "Software Carbon Intensity specification, ISO/IEC 21031:2024",
            "Ember, Yearly Electricity Data 2023, CC BY 4.0",
            "Henderson et al. (2020), Towards the Systematic Reporting of the Energy and Carbon Footprints "
            "of Machine Learning, arXiv:2002.05651",
        ),
        timed_metrics=frozenset(TIMED_METRICS),
    )

    country: str | None = Field(
        None, pattern="^[A-Z]{3}$", description="Where the electricity comes from, ISO 3166-1 alpha-3"
    )
    repeats: int = Field(30, ge=6, description="Timed calls, or pairs of calls")
    batch_rows: int = Field(256, ge=1, description="Rows of the batch that is timed")
    energy_window_s: float = Field(1.0, gt=0, description="How long predictions run for the energy figure")
    confidence: float = Field(0.95, gt=0, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of ``subject`` on rows of ``data``."""
        rows, device = self._batch(data, context), _device_of(subject)
        predict = _predicting(subject, rows)
        of_row = durations([_predicting(subject, row) for row in self._single_rows(rows)])
        of_batch = durations([predict] * self.repeats)
        found = discover_probes(device)
        measured, times = repeated_for(predict, self.energy_window_s, found.probes)
        balance, n = energy_balance(measured, device, memory_in_use_b()), times * len(rows)
        measurements = [
            *figures.static_figures(subject),
            figures.flops_figure(_flops(subject, rows), tuple(rows.inputs.shape[1:])),
            figures.latency_figure(figures.LATENCY_ROW, of_row, self.confidence),
            figures.latency_figure(figures.LATENCY_BATCH, of_batch, self.confidence),
            figures.throughput_figure(of_batch, len(rows), self.confidence),
            *self._token_throughput(of_batch, rows),
            *self._memory(predict, device),
            figures.energy_figure(balance, n),
            figures.carbon_figure(figures.carbon_per_1000(balance, n, self.country), n),
            figures.training_figure(subject, device),
        ]
        by_grid = carbon_by_grid(balance, n)
        evidence: list[Evidence] = [footprint_table(measurements), energy_table(balance, n)]
        evidence += [] if by_grid is None else [by_grid]
        return AuditOutput(measurements, evidence, _notes(found, rows))

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Quotients, variant divided by baseline; both run in turns in this process."""
        rows = self._batch(data, context)
        variant, own_rows = as_it_reads(variant, rows)
        first, second = _predicting(baseline, rows), _predicting(variant, own_rows)
        single = [
            _predicting(subject, self._single_rows(read)[0])
            for subject, read in ((baseline, rows), (variant, own_rows))
        ]
        of_row = alternating_durations(single[0], single[1], self.repeats)
        of_batch = alternating_durations(first, second, self.repeats)
        static = zip(figures.static_figures(baseline), figures.static_figures(variant), strict=True)
        measurements = [
            *(ratios.count_ratio(before.metric, before.value, after.value) for before, after in static),
            ratios.flops_ratio(figures.FLOPS, _flops(baseline, rows), _flops(variant, own_rows)),
            ratios.duration_ratio(figures.LATENCY_ROW, of_row, self.confidence),
            ratios.duration_ratio(figures.LATENCY_BATCH, of_batch, self.confidence),
            self._energy_ratio(baseline, variant, first, second),
            ratios.training_ratio(figures.TRAINING, baseline, variant),
        ]
        return AuditOutput(measurements, (ratio_dots(measurements),))

    def _token_throughput(self, of_batch: FloatArray, rows: Dataset) -> list[Measurement]:
        tokens = rows.features.tokens
        if tokens is None:
            return []
        n_tokens = int((rows.inputs != tokens.padding).sum())
        return [figures.token_throughput_figure(of_batch, n_tokens, len(rows), self.confidence)]

    def _batch(self, data: Dataset, context: AuditContext) -> Dataset:
        """The rows of the timed batch, drawn with the seed."""
        if len(data) <= self.batch_rows:
            return data
        drawn = context.numpy_rng("rows").choice(len(data), self.batch_rows, replace=False)
        return data.take(np.sort(drawn).astype(np.int64))

    def _single_rows(self, rows: Dataset) -> list[Dataset]:
        """One row for each timed call; rows are used again when there are fewer."""
        return [rows.take(np.array([index % len(rows)])) for index in range(self.repeats)]

    def _memory(self, predict: Call, device: torch.device) -> list[Measurement]:
        peaks = []
        for _ in range(MEMORY_REPEATS):
            with peak_memory() as meter:
                predict()
            peaks.append(meter.peak)
        measurements = [figures.memory_figure(peaks, self.confidence)]
        if device.type == "cuda":
            with cuda_peak_memory(device) as gpu:
                predict()
            measurements.append(figures.gpu_memory_figure(gpu.peak))
        return measurements

    def _energy_ratio(self, baseline: Subject, variant: Subject, first: Call, second: Call) -> Measurement:
        devices = _device_of(baseline), _device_of(variant)
        found = discover_probes(max(devices, key=lambda device: device.type))
        windows = alternating_windows(
            first, second, duration_s=self.energy_window_s, repeats=ENERGY_PAIRS, probes=found.probes
        )
        memory_b = memory_in_use_b()
        pairs = [
            (energy_balance(before, devices[0], memory_b), energy_balance(after, devices[1], memory_b))
            for before, after in windows
        ]
        return ratios.energy_ratio(figures.ENERGY, pairs, self.confidence)


def _predicting(subject: Subject, rows: Dataset) -> Call:
    """One call that predicts all ``rows`` at once; of a model of language one token per row."""
    if "generative" in subject.capabilities and isinstance(subject, WhiteBox):
        return partial(_next_tokens, subject, rows)
    if "values" in subject.capabilities:
        return lambda: values_of(subject, rows, batch_size=len(rows))
    return lambda: subject.predict(rows, batch_size=len(rows))


def _next_tokens(subject: WhiteBox, rows: Dataset) -> torch.Tensor:
    with torch.inference_mode():
        return subject.logits(rows.inputs.to(subject.device)).cpu()


def _device_of(subject: Subject) -> torch.device:
    return subject.device if isinstance(subject, WhiteBox) else torch.device("cpu")


def _flops(subject: Subject, rows: Dataset) -> FlopCount | None:
    """Of one row; ``None`` for a subject that does not show its layers."""
    if "layers" not in subject.capabilities or not isinstance(subject, WhiteBox):
        return None
    inputs = rows.inputs[:1].to(subject.device)
    with torch.inference_mode():
        return count_flops(lambda: subject.logits(inputs))


def _notes(found: Discovery, rows: Dataset) -> Sequence[Message]:
    of_language = Message(
        text="A prediction is one token after a row of up to {length} tokens.",
        values={"length": rows.inputs.shape[1] if rows.inputs.ndim > 1 else 1},
    )
    return (
        *found.missing,
        *((of_language,) if rows.task == "language-modelling" else ()),
        Message(
            text="Times are of the whole predict call with {threads} threads and batches of {n} rows.",
            values={"threads": torch.get_num_threads(), "n": len(rows)},
        ),
    )
