"""Memory ends within a step: it is taken on fewer rows at once, with the same rows, noise and charge."""

from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import nn

from auditkit.errors import AuditkitError, PrivacyRefusedError
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.dp_fit import dp_fit
from auditkit.privacy.draws import EntropyDraws
from auditkit.privacy.memory import within_memory
from auditkit.privacy.noisy_step import noisy_sum
from tests.privacy.ledgers import MECHANISM, QUICK, Killed, network, recording, rows

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
PROCESSOR = RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate")
CERTIFIED = replace(QUICK, certified=True)


class Hungry(nn.Module):
    """A layer whose memory suffices for so many rows; ``None`` for any number."""

    def __init__(self, most_rows: int | None, error: RuntimeError) -> None:
        super().__init__()
        self.most_rows, self.error = most_rows, error

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        if self.most_rows is not None and len(rows) > self.most_rows:
            raise self.error
        return rows


def hungry(most_rows: int | None = None, error: RuntimeError = CUDA) -> nn.Sequential:
    first, *rest = network()
    return nn.Sequential(first, Hungry(most_rows, error), *rest)


def limited_at(module: nn.Sequential, step: int, most_rows: int, *, dies: int = 1000):
    """A progress report that takes memory away when so many steps were taken, and later ends the training."""

    def report(done: int, _total: int, _text: str) -> None:
        if done >= dies:
            raise Killed
        if done == step:
            module[1].most_rows = most_rows

    return report


def spent(folder) -> int:
    return sum(one.steps for one in recording(folder).account.state().spent())


def weights(fitted) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in fitted.module.parameters()])


def test_a_training_whose_memory_ends_gives_the_figures_of_small_batches_and_is_charged_once(tmp_path):
    module = hungry(20)
    del module[3]  # dropout: each row gets another mask where batches are others
    found = dp_fit(module, rows(), QUICK, seed=0, recording=recording(tmp_path))
    module = hungry()
    del module[3]
    small = dp_fit(module, rows(), replace(QUICK, physical_batch_size=12), seed=0)
    torch.testing.assert_close(weights(found), weights(small), rtol=0, atol=1e-6)
    assert spent(tmp_path) == found.certificate.steps == 120
    assert found.certificate.epsilon == small.certificate.epsilon


@pytest.mark.parametrize("error", [CUDA, PROCESSOR], ids=["accelerator", "processor"])
def test_certified_noise_is_that_of_the_first_attempt(error):
    data, sums = rows(40), []
    position = EntropyDraws().position()
    for most_rows in (None, 7):
        draws = EntropyDraws()
        draws.move_to(position)
        with ClippedGradients(hungry(most_rows, error).eval(), 1.0) as clipped:
            batch = (data.inputs, torch.from_numpy(data.y_true), None)
            sums.append(
                within_memory(
                    clipped,
                    lambda clipped=clipped, batch=batch, draws=draws: noisy_sum(
                        clipped, batch, MECHANISM, draws
                    ),
                    lambda draws=draws: draws.move_to(position),
                )
            )
        assert draws.position()["noise"]["calls"] == 1
    for whole, parts in zip(*sums, strict=True):
        torch.testing.assert_close(whole, parts, rtol=0, atol=1e-6)


@cache
def limited_from_step_70() -> torch.Tensor:
    """Of the training that nothing interrupts."""
    module = hungry()
    return weights(dp_fit(module, rows(), QUICK, seed=0, report_progress=limited_at(module, 70, 20)))


@cache
def never_limited() -> torch.Tensor:
    return weights(dp_fit(hungry(), rows(), QUICK, seed=0))


@pytest.mark.parametrize("dies", [80, 110])
def test_a_replay_works_on_fewer_rows_from_the_same_step_on_and_gives_the_same_bits(
    tmp_path, monkeypatch, dies
):
    monkeypatch.setattr("auditkit.privacy.recorded.SAVING_SHARE", 1e9)
    module = hungry()
    with pytest.raises(Killed):
        dp_fit(
            module,
            rows(),
            QUICK,
            seed=0,
            recording=recording(tmp_path),
            report_progress=limited_at(module, 70, 20, dies=dies),
        )
    found = dp_fit(hungry(), rows(), QUICK, seed=0, recording=recording(tmp_path))
    assert torch.equal(weights(found), limited_from_step_70())
    assert not torch.equal(weights(found), never_limited())
    assert spent(tmp_path) == 120


def test_a_certified_replay_does_not_repeat_a_step_on_fewer_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("auditkit.privacy.recorded.SAVING_SHARE", 1e9)
    module = hungry()
    with pytest.raises(Killed):
        dp_fit(
            module,
            rows(),
            CERTIFIED,
            seed=0,
            recording=recording(tmp_path, replay=True),
            report_progress=limited_at(module, -1, 0, dies=110),
        )
    module = hungry()
    with pytest.raises(PrivacyRefusedError, match="step 110, which may have been taken before"):
        dp_fit(
            module,
            rows(),
            CERTIFIED,
            seed=0,
            recording=recording(tmp_path, replay=True),
            report_progress=limited_at(module, 110, 20),
        )


def test_where_one_row_is_too_many_the_training_ends_in_plain_words(tmp_path):
    module = hungry()
    with pytest.raises(AuditkitError, match="memory ends with 1 rows at a time"):
        dp_fit(
            module,
            rows(),
            QUICK,
            seed=0,
            recording=recording(tmp_path),
            report_progress=limited_at(module, 10, 0),
        )
    assert spent(tmp_path) == 50


def test_another_error_of_the_model_is_not_taken_for_one_of_memory():
    module = hungry(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    tried = []
    with ClippedGradients(network(), 1.0) as clipped:
        with pytest.raises(RuntimeError, match="mat1 and mat2"):
            within_memory(clipped, lambda: tried.append(1) or module(torch.zeros(2, 6)), tried.clear)
        assert (len(tried), clipped.rows_at_once) == (1, 512)


def test_rows_of_one_unit_are_never_divided():
    with ClippedGradients(network(), 1.0, physical_batch_size=20, rows_per_unit=4) as clipped:
        sizes = [clipped.rows_at_once]
        while clipped.halve():
            sizes.append(clipped.rows_at_once)
        assert sizes == [20, 8, 4]
        assert clipped.rows_at_once == 4
