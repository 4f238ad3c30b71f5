"""Time and peak memory of a DP-SGD step, noise included, against the plain SGD step and Opacus' two engines.

All take turns in one process on the same batch, in each turn some steps in a row; ratios are of medians over
all of them. Bars are ratios to plain SGD, and for the process in the middle of several: where its memory lies
decides as well, between 1.1 and 1.4 for the wide network. The peers run in the first process alone.
"""

import gc
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import EntropyDraws, SeededDraws
from auditkit.privacy.noisy_step import noisy_sum
from auditkit.privacy.step_place import StepPlace
from benchmarks.record import write_result

THREADS = 2
PROCESSES = 5
REPEATED = 3
MEMORY_BAR = 1.4
NOISE_BAR_MS = 20.0
"""For a million certified normal values."""
SECURE_BAR = 1.3
"""Times as long a step with certified noise may take where a head alone is trained."""
HEAD_ONLY = "bert, its head, batch 32"
LEARNING_RATE, CLIP, NOISE = 0.01, 1.0, 1.0

Step = Callable[[], object]


class SmallCnn(nn.Module):
    """The network of Opacus' MNIST example."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 8, 2, padding=3)
        self.conv2 = nn.Conv2d(16, 32, 4, 2)
        self.fc1 = nn.Linear(32 * 4 * 4, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        hidden = functional.max_pool2d(functional.relu(self.conv1(rows)), 2, 1)
        hidden = functional.max_pool2d(functional.relu(self.conv2(hidden)), 2, 1)
        return self.fc2(functional.relu(self.fc1(hidden.flatten(1))))


class Encoder(nn.Module):
    """Two encoder layers of torch, mean over positions, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(128, 4, dim_feedforward=512, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.output = nn.Linear(128, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.encoder(rows).mean(dim=1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.output = nn.Linear(128, 10)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.lstm(rows)[0][:, -1])


class Bert(nn.Module):
    """A small encoder of transformers for classification, and what of it is trained."""

    def __init__(self, trained: str) -> None:
        from transformers import BertConfig, BertForSequenceClassification

        super().__init__()
        self.encoder = BertForSequenceClassification(
            BertConfig(
                vocab_size=1000,
                hidden_size=128,
                num_hidden_layers=4,
                num_attention_heads=4,
                intermediate_size=512,
                max_position_embeddings=64,
                num_labels=2,
            )
        )
        for name, parameter in self.encoder.named_parameters():
            head = name.startswith("classifier")
            parameter.requires_grad_(head or (trained == "biases" and name.endswith("bias")))
        if trained == "lora":
            for layer in self.encoder.bert.encoder.layer:
                attention = layer.attention.self
                attention.query, attention.value = LowRank(attention.query), LowRank(attention.value)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.encoder(ids).logits


class LowRank(nn.Module):
    """A frozen linear layer and two thin ones beside it (LoRA, rank 8)."""

    def __init__(self, frozen: nn.Linear) -> None:
        super().__init__()
        self.frozen = frozen
        self.down = nn.Linear(frozen.in_features, 8, bias=False)
        self.up = nn.Linear(8, frozen.out_features, bias=False)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.frozen(rows) + self.up(self.down(rows))


def mlp(*widths: int) -> nn.Module:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    bar: float
    aim: float
    repeats: int = 40
    n_tokens: int | None = None


CASES = {
    "mlp 784-128-10, batch 256": Case(lambda: mlp(784, 128, 10), (256, 784), 1.5, 1.3, 200),
    "mlp 784-128-10, batch 1024": Case(lambda: mlp(784, 128, 10), (1024, 784), 1.4, 1.2, 80),
    "mlp 784-1024-1024-10, batch 256": Case(lambda: mlp(784, 1024, 1024, 10), (256, 784), 1.4, 1.2),
    "small cnn, batch 256": Case(SmallCnn, (256, 1, 28, 28), 1.4, 1.25),
    "transformer encoder, batch 32": Case(Encoder, (32, 64, 128), 1.6, 1.3, 25),
    "lstm, batch 32": Case(Recurrent, (32, 64, 128), 2.0, 1.6),
    HEAD_ONLY: Case(lambda: Bert("head"), (32, 64), 1.5, 1.5, 25, 1000),
    "bert, its biases, batch 32": Case(lambda: Bert("biases"), (32, 64), 1.5, 1.5, 25, 1000),
    "bert, low rank, batch 32": Case(lambda: Bert("lora"), (32, 64), 1.5, 1.5, 25, 1000),
}


def plain(case: Case, inputs: torch.Tensor, targets: torch.Tensor) -> Step:
    module = case.make().train()
    optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        functional.cross_entropy(module(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def ours(case: Case, inputs: torch.Tensor, targets: torch.Tensor, *, certified: bool = False) -> Step:
    module = case.make().train()
    clipped = ClippedGradients(module, CLIP, physical_batch_size=len(inputs))
    draws = EntropyDraws() if certified else SeededDraws.from_seed(0)
    mechanism = Mechanism(
        noise_multiplier=NOISE, sample_rate=0.1, steps=1, max_grad_norm=CLIP, normaliser=float(len(inputs))
    )
    optimizer = torch.optim.SGD(clipped.parameters, lr=LEARNING_RATE)
    place = StepPlace.of(module, clipped.parameters, inputs[:1], len(inputs))

    def step() -> None:
        gradients = noisy_sum(clipped, (inputs, targets, None), mechanism, draws, place)
        for parameter, gradient in zip(clipped.parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        optimizer.zero_grad()

    return step


def opacus(case: Case, inputs: torch.Tensor, targets: torch.Tensor, *, mode: str) -> Step | None:
    """Wrapped by Opacus itself; attention and LSTM by its replacements, if it has any that work."""
    from opacus import PrivacyEngine
    from opacus.validators import ModuleValidator

    module = ModuleValidator.fix(case.make()).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=LEARNING_RATE)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, targets), len(inputs))
    try:
        made = PrivacyEngine().make_private(
            module=module,
            optimizer=optimizer,
            data_loader=loader,
            noise_multiplier=NOISE,
            max_grad_norm=CLIP,
            poisson_sampling=False,
            criterion=nn.CrossEntropyLoss(),
            grad_sample_mode=mode,
        )
        module, optimizer = made[0], made[1]
        criterion = made[2] if mode == "ghost" else nn.CrossEntropyLoss()

        def step() -> None:
            criterion(module(inputs), targets).backward()
            optimizer.step()
            optimizer.zero_grad()

        step()
    except Exception as error:  # whatever a peer fails with is its result
        print(f"  opacus {mode}: {type(error).__name__}: {error}")
        return None
    return step


def seconds(step: Step) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def peak_bytes(step: Step) -> int:
    """Most bytes of tensors alive at once above those alive before the step."""
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    alive = peak = 0
    for event in events:
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def gradient_bytes(case: Case) -> int:
    return sum(4 * parameter.numel() for parameter in case.make().parameters() if parameter.requires_grad)


def rows_of(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    if case.n_tokens:
        inputs = torch.randint(3, case.n_tokens, case.shape, generator=rng)
        return inputs, torch.randint(0, 2, case.shape[:1], generator=rng)
    return torch.randn(case.shape, generator=rng), torch.randint(0, 10, case.shape[:1], generator=rng)


def measure(name: str, *, peers: bool = True) -> dict[str, Any]:
    """The case called ``name`` in this process."""
    torch.set_num_threads(THREADS)
    warnings.simplefilter("ignore")  # Opacus warns of its own hooks
    case = CASES[name]
    inputs, targets = rows_of(case)
    steps: dict[str, Step | None] = {
        "sgd": plain(case, inputs, targets),
        "ours": ours(case, inputs, targets),
        "ours, certified": ours(case, inputs, targets, certified=True),
    }
    if peers:
        for mode in ("ghost", "hooks"):
            steps[f"opacus {mode}"] = opacus(case, inputs, targets, mode=mode)
    running = {key: step for key, step in steps.items() if step is not None}
    for step in running.values():
        step(), step()
    times: dict[str, list[float]] = {key: [] for key in running}
    deadline = time.perf_counter() + (30 if peers else 10)
    for turn in range(case.repeats):
        for key in running if turn % 2 else reversed(running):
            # The peers are slow; a fifth of the turns tells their ratio well enough.
            if key.startswith("opacus") and turn % 5:
                continue
            # A training takes the same step again and again: caches hold its own numbers, not a peer's.
            running[key]()
            times[key] += [seconds(running[key]) for _ in range(REPEATED)]
        if time.perf_counter() > deadline and turn >= 5:
            break
    medians = {key: statistics.median(found) for key, found in times.items()}
    memory = {key: peak_bytes(step) for key, step in running.items()}
    for key in memory:
        if key.startswith("ours"):
            memory[key] += gradient_bytes(case)  # which ours keeps from step to step
    model_bytes = gradient_bytes(case)
    return {
        "turns": len(times["sgd"]),
        "sgd_ms": round(1e3 * medians["sgd"], 3),
        "time_ratio": {k: round(v / medians["sgd"], 2) for k, v in medians.items() if k != "sgd"},
        "time_ratio_of_minima": {
            k: round(min(v) / min(times["sgd"]), 2) for k, v in times.items() if k != "sgd"
        },
        "memory_ratio": {
            k: round((v + model_bytes) / (memory["sgd"] + model_bytes), 2)
            for k, v in memory.items()
            if k != "sgd"
        },
        "bar": {"time": case.bar, "aim": case.aim, "memory": MEMORY_BAR},
    }


def run(names: tuple[str, ...] = tuple(CASES)) -> dict[str, object]:
    figures: dict[str, Any] = {}
    for name in names:
        figures[name] = _in_processes(name)
        print(name, figures[name], flush=True)
    missed = sorted(name for name, found in figures.items() if not _holds(found))
    noise = noise_per_million()
    heads = [found["time_ratio"] for name, found in figures.items() if name == HEAD_ONLY]
    secure = all(of["ours, certified"] <= SECURE_BAR * of["ours"] for of in heads)
    return {
        "cases": figures,
        "missed": missed,
        "holds": not missed and secure and noise["certified_ms"] <= NOISE_BAR_MS,
        "noise": noise,
        "threads": THREADS,
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "load_average": list(os.getloadavg()),
        "cpus": os.cpu_count(),
    }


def _in_processes(name: str) -> dict[str, Any]:
    """Of the process whose ratio is in the middle, with the range of all and the peers of the first."""
    found = [_in_fresh_process(name, peers=index == 0) for index in range(PROCESSES)]
    middle = sorted(found, key=lambda one: one["time_ratio"]["ours"])[PROCESSES // 2]
    ratios = [one["time_ratio"]["ours"] for one in found]
    parts = {key: {**found[0][key], **middle[key]} for key in ("time_ratio", "memory_ratio")}
    return {**middle, **parts, "time_ratio_range": [min(ratios), max(ratios)], "processes": PROCESSES}


def _in_fresh_process(name: str, *, peers: bool) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, name, peers=peers).result()


def _holds(found: dict[str, Any]) -> bool:
    """Whether our medians of time and memory are within the bars."""
    bar = found["bar"]
    return bool(found["time_ratio"]["ours"] <= bar["time"] and found["memory_ratio"]["ours"] <= bar["memory"])


def noise_per_million(repeats: int = 25) -> dict[str, float]:
    """Milliseconds for a million normal values, medians and best."""
    values = torch.zeros(1_000_000).numpy()
    certified, seeded = EntropyDraws(), SeededDraws.from_seed(0)
    torch.set_num_threads(THREADS)
    works = {
        "certified": lambda: certified.add_noise(values, 1.0, 1.0),
        "seeded": lambda: seeded.fill_with_noise(values, 1.0),
    }
    times = {name: [1e3 * seconds(work) for _ in range(repeats)] for name, work in works.items()}
    medians = {f"{name}_ms": round(statistics.median(found), 1) for name, found in times.items()}
    return {**medians, **{f"{name}_best_ms": round(min(found), 1) for name, found in times.items()}}


if __name__ == "__main__":
    import sys

    chosen = tuple(name for name in CASES if any(part in name for part in sys.argv[1:])) or tuple(CASES)
    figures = run(chosen)
    print(write_result("dp_step", figures) if chosen == tuple(CASES) else figures)
