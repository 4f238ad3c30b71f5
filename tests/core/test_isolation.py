"""After an audit, even one that raises, subject and process are what they were before."""

import pytest
import torch

from auditkit.execution.isolation import unchanged
from tests.core.probes import (
    PROCESS_CHANGES,
    SUBJECT_CHANGES,
    draw_from_globals,
    network,
    state_of_process,
    subject,
    tamper,
)

EXPECTED = {
    "a weight": {"weights"},
    "a buffer": {"weights"},
    "the type of the weights": {"weights"},
    "a layer": {"layers"},
    "an added layer": {"layers"},
    "a removed parameter": {"weights"},
    "a training flag": {"training flags"},
    "a requires_grad flag": {"requires_grad flags"},
    "a gradient": {"gradients"},
    "a forward hook": {"hooks"},
    "a forward pre-hook": {"hooks"},
    "a backward hook": {"hooks"},
    "a hook on a tensor": {"hooks"},
}


def state_of(module) -> dict:
    """Everything that is promised, by independent means: text of the module, values, flags, hooks."""
    return {
        "text": repr(module),
        "weights": {name: tensor.numpy().tobytes() for name, tensor in module.state_dict().items()},
        "types": {name: tensor.dtype for name, tensor in module.state_dict().items()},
        "identities": [id(parameter) for parameter in module.parameters()],
        "requires_grad": [parameter.requires_grad for parameter in module.parameters()],
        "gradients": [parameter.grad is None for parameter in module.parameters()],
        "training": [part.training for part in module.modules()],
        "hooks": [
            len(table)
            for part in module.modules()
            for name, table in vars(part).items()
            if name.endswith("hooks") and table is not None
        ],
        "tensor hooks": [len(parameter._backward_hooks or {}) for parameter in module.parameters()],
    }


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("what", SUBJECT_CHANGES)
def test_a_changed_subject_is_put_back_and_named(what, raises):
    audited = subject()
    before = state_of(audited.module)
    watch = None
    try:
        with unchanged(audited, seed=0) as watch:
            tamper(audited.module, what)
            assert state_of(audited.module) != before
            if raises:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert raises
    assert state_of(audited.module) == before
    assert set(watch.violations) == EXPECTED[what]


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("what", PROCESS_CHANGES)
def test_the_state_of_the_process_is_put_back(what, raises):
    audited = subject()
    before = state_of_process()
    try:
        with unchanged(audited, seed=0) as watch:
            tamper(audited.module, what)
            if raises:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert raises
    assert state_of_process() == before
    assert watch.violations == []


def test_a_block_that_only_looks_is_not_accused():
    audited = subject()
    with unchanged(audited, seed=0) as watch:
        audited.logits(torch.ones(2, 3)).sum().item()
        handle = audited.module[0].register_forward_hook(lambda *_: None)
        handle.remove()
    assert watch.violations == []


def test_a_gradient_that_was_there_is_kept_with_its_values():
    audited = subject()
    audited.module(torch.ones(2, 3)).sum().backward()
    before = [parameter.grad.clone() for parameter in audited.module.parameters()]
    with unchanged(audited, seed=0) as watch:
        audited.module.zero_grad(set_to_none=False)
    assert watch.violations == ["gradients"]
    for parameter, gradient in zip(audited.module.parameters(), before, strict=True):
        assert torch.equal(parameter.grad, gradient)


def test_weights_that_are_nan_are_not_taken_for_changed_ones():
    module = network()
    with torch.no_grad():
        module[0].weight[0, 0] = float("nan")
    with unchanged(subject(module=module), seed=0) as watch:
        pass
    assert watch.violations == []


def test_two_subjects_are_watched_at_once():
    first, second = subject(0), subject(1, "dp-3")
    before = state_of(second.module)
    with unchanged(first, second, seed=0) as watch:
        tamper(second.module, "a weight")
        tamper(first.module, "a training flag")
    assert set(watch.violations) == {"weights", "training flags"}
    assert state_of(second.module) == before


def test_a_buffer_that_a_module_caches_for_itself_is_no_violation():
    module = network()
    with unchanged(subject(module=module), seed=0) as watch:
        module[0].register_buffer("cache", torch.zeros(1))
    assert watch.violations == []
    assert "cache" not in module[0]._buffers


def test_global_draws_inside_the_block_depend_on_its_seed_alone():
    draws = []
    for _ in range(2):
        torch.rand(1)
        with unchanged(subject(), seed=5):
            draws.append(draw_from_globals())
    assert draws[0] == draws[1]
