"""Likelihoods and gradients of a plain cross-entropy, without its tensors."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ctfw_plugins.backbones import answer_nll as module
from ctfw_plugins.backbones.answer_nll import answer_nll, logit_memory

N, D, V = 37, 16, 300


def plain_nll(head: nn.Module, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return nn.functional.cross_entropy(head(states).float(), targets, reduction="none")


def case(dtype: torch.dtype, frozen: bool) -> tuple[nn.Linear, torch.Tensor, torch.Tensor, Any]:
    torch.manual_seed(0)
    head = nn.Linear(D, V, bias=False).to(dtype)
    head.weight.requires_grad_(not frozen)
    states = torch.randn(N, D).to(dtype).requires_grad_()
    return head, states, torch.randint(0, V, (N,)), torch.randn(N)


def results(
    nll_of: Any, head: nn.Linear, states: torch.Tensor, targets: torch.Tensor, slope: torch.Tensor
) -> list[torch.Tensor]:
    """NLL, and the gradients of states and weight under `slope`."""
    head.zero_grad()
    states.grad = None
    nll = nll_of(head, states, targets)
    (nll * slope).sum().backward()
    found = [nll.detach(), states.grad, head.weight.grad]
    return [each.float().clone() for each in found if each is not None]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("chunk_rows", [1, 5, N, 10 * N])
@pytest.mark.parametrize("keep_rows", [0, 3, 20, 10 * N])
def test_nll_and_gradients_are_those_of_full_logits(
    frozen: bool, chunk_rows: int, keep_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", {"cpu": chunk_rows * V * 4})
    monkeypatch.setattr(module, "KEEP_BYTES", keep_rows * V * 4)
    given = case(torch.float32, frozen)
    expected, found = results(plain_nll, *given), results(answer_nll, *given)
    assert len(found) == 2 if frozen else 3
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("frozen", [False, True])
def test_half_precision_is_as_far_from_float32_as_the_plain_way(frozen: bool) -> None:
    exact = results(plain_nll, *case(torch.float32, frozen))
    plain = results(plain_nll, *case(torch.bfloat16, frozen))
    ours = results(answer_nll, *case(torch.bfloat16, frozen))
    for mine, theirs, true in zip(ours, plain, exact, strict=True):
        assert (mine - true).norm() < 1.5 * (theirs - true).norm() + 1e-6


def test_mixed_precision_multiplies_in_its_type_and_gives_gradients_of_the_weights_type() -> None:
    head, states, targets, slope = case(torch.float32, False)
    with torch.autocast("cpu", torch.bfloat16):
        nll = answer_nll(head, states, targets)
        expected = plain_nll(head, states, targets)
    torch.testing.assert_close(nll, expected, rtol=1e-5, atol=1e-5)
    (nll * slope).sum().backward()
    assert states.grad is not None
    assert head.weight.grad is not None
    assert states.grad.dtype == head.weight.grad.dtype == torch.float32
    mine = head.weight.grad.clone()
    head.zero_grad()
    (expected * slope).sum().backward()
    torch.testing.assert_close(mine, head.weight.grad, rtol=0.05, atol=0.05)


def test_without_gradient_the_numbers_are_the_same() -> None:
    head, states, targets, _ = case(torch.float32, False)
    with torch.no_grad():
        nll = answer_nll(head, states, targets)
        torch.testing.assert_close(nll, plain_nll(head, states, targets))
    assert not nll.requires_grad
    assert answer_nll(head, states[:0], targets[:0]).shape == (0,)


def test_impossible_token_has_a_finite_nll() -> None:
    head, states, targets, slope = case(torch.float32, False)
    with torch.no_grad():
        head.weight *= 1e4
    expected, found = (results(f, head, states, targets, slope) for f in (plain_nll, answer_nll))
    assert expected[0].max() > 1e4
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-3)


def test_head_that_is_more_than_a_matrix_is_called() -> None:
    _, states, targets, slope = case(torch.float32, False)
    torch.manual_seed(1)
    head = nn.Linear(D, V)
    expected, found = (results(f, head, states, targets, slope) for f in (plain_nll, answer_nll))
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine, theirs)
    assert head.bias.grad is not None


def test_second_backward_pass_is_refused_in_words() -> None:
    head, states, targets, _ = case(torch.float32, False)
    total = answer_nll(head, states, targets).sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="the logits of this pass are gone"):
        total.backward()


class Rows(TorchDispatchMode):
    """Rows of the largest tensor that is as wide as the vocabulary, and how many there are."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, torch.Tensor) and V in each.shape[-1:] and each.shape[:-1] != (D,):
                self.most = max(self.most, each.numel() // V)
        return out


@pytest.mark.parametrize(("frozen", "keep_rows", "most"), [(True, 0, 5), (False, 0, 5)])
def test_no_more_logits_are_made_than_fit_a_chunk(
    frozen: bool, keep_rows: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", {"cpu": 5 * V * 4})
    monkeypatch.setattr(module, "KEEP_BYTES", keep_rows * V * 4)
    given = case(torch.float32, frozen)
    with Rows() as rows:
        results(answer_nll, *given)
    assert rows.most == most
    with Rows() as rows:
        results(plain_nll, *given)
    assert rows.most == N


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside had at once, in all."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {t.untyped_storage() for t in tree_leaves(args) if isinstance(t, torch.Tensor)}
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, torch.Tensor):
                storage = each.untyped_storage()
                if storage not in self._known and storage not in given:
                    self._known.add(storage)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, storage.nbytes())
        self.most = max(self.most, self.now)
        return out

    def _gone(self, size: int) -> None:
        self.now -= size


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("keep_rows", [60, 1000])
@pytest.mark.parametrize("rows", [100, 400])
def test_memory_of_the_logits_is_what_the_plan_is_told(
    frozen: bool, keep_rows: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    width, words, chunk_rows, passes = 32, 5000, 50, 2
    monkeypatch.setattr(
        module, "CHUNK_BYTES", dict.fromkeys(("cpu", "cuda"), chunk_rows * words * 4)
    )
    monkeypatch.setattr(module, "KEEP_BYTES", keep_rows * words * 4)
    head = nn.Linear(width, words, bias=False).requires_grad_(not frozen)
    states = [torch.randn(rows, width).requires_grad_() for _ in range(passes)]
    targets = torch.randint(0, words, (rows,))
    with Peak() as peak:
        torch.stack([answer_nll(head, each, targets).sum() for each in states]).sum().backward()
    kept, at_work = logit_memory(words, width, rows, 4, not frozen)
    assert 0.8 < (passes * kept + at_work) / peak.most < 1.25
    assert peak.most < 0.8 * passes * rows * words * 16
