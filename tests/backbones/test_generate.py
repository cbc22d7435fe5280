"""Generation takes the steps that training scored, alone or in a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ctfw.settings import Generation
from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw_plugins.backbones import qwen25_vl
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.decode import _choose
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

Scan = Callable[..., Volume]


def logits_of(backbone: Qwen25VL, monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What the head returns from now on."""
    calls: list[torch.Tensor] = []
    head = backbone.model.qwen.lm_head
    original = head.forward

    def spy(states: torch.Tensor) -> Any:
        calls.append(original(states))
        return calls[-1]

    monkeypatch.setattr(head, "forward", spy)
    return calls


def tokens_of(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """(B, T) token ids of every generation from now on."""
    found: list[torch.Tensor] = []
    original = qwen25_vl.write_reports

    def spy(*args: Any) -> Any:
        written, ended = original(*args)
        found.append(written)
        return written, ended

    monkeypatch.setattr(qwen25_vl, "write_reports", spy)
    return found


def test_forward_agrees_with_every_step_of_generation(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [backbone.encode(scan(4, 3.0, 1)), backbone.encode(scan(10, 1.5, 2))]
    monkeypatch.setattr(backbone, "_stop", -1)
    logits, written = logits_of(backbone, monkeypatch), tokens_of(monkeypatch)
    backbone.generate(images, Generation(max_new_tokens=16))
    while_writing = torch.stack(logits, dim=1).log_softmax(-1)  # (B, T, V)
    rows = written[0].tolist()
    assert rows[0] != rows[1], "the scans must lead to different texts for this test to mean much"
    monkeypatch.setattr(backbone, "report_ids", lambda report: rows[int(report)])
    with torch.no_grad():
        output = backbone.forward(images, ["0", "1"])
    assert while_writing.argmax(-1).tolist() == rows
    expected = while_writing.gather(-1, written[0][..., None])[..., 0]
    torch.testing.assert_close(-output.nll, expected, rtol=1e-4, atol=1e-4)


def test_batch_size_changes_no_text(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [backbone.encode(scan(n, 3.0, n)) for n in (4, 10, 6, 8)]
    written = tokens_of(monkeypatch)
    settings = Generation(max_new_tokens=20)
    monkeypatch.setattr(backbone, "_stop", -1)
    backbone.generate(images, settings)
    rows = written[0].tolist()
    # End of turn becomes a token that ends some texts, at different steps, and not all of them.
    stop = next(t for t in range(320) if 2 <= sum(t in row for row in rows) <= 3)
    ends = [row.index(stop) if stop in row else None for row in rows]
    assert len(set(ends)) > 2, "choose other seeds: the texts end together"
    monkeypatch.setattr(backbone, "_stop", stop)
    together = backbone.generate(images, settings)
    alone = [backbone.generate([image], settings)[0] for image in images]
    assert together == alone
    assert len(set(together)) > 1
    assert [finish for _, finish in together] == ["length" if e is None else "stop" for e in ends]


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
@pytest.mark.parametrize("wide", [0.1, 0.3])
def test_eight_at_once_and_one_by_one_give_the_same_texts(
    config: Qwen25VLConfig, scan: Scan, seed: int, wide: float
) -> None:
    shape = config.shape.model_copy(update={"initializer_range": wide})
    made = Qwen25VL(config.model_copy(update={"shape": shape}))
    made.build(REPORTS, seed)
    images = [made.encode(scan(4 + 2 * (n % 3), 1.5 + n, n, 56 + 28 * (n % 2))) for n in range(8)]
    settings = Generation(max_new_tokens=32)
    together = made.generate(images, settings)
    assert [made.generate([image], settings)[0] for image in images] == together
    assert [each for n in (0, 3, 6) for each in made.generate(images[n : n + 3], settings)] == (
        together
    )
    assert len(set(together)) > 1, "choose other seeds: every scan leads to one text"


def test_greedy_text_is_the_same_every_time(backbone: Qwen25VL, scan: Scan) -> None:
    image = backbone.encode(scan(4, seed=5))
    settings = Generation(max_new_tokens=12)
    first = backbone.generate([image], settings, seed=1)
    assert backbone.generate([image], settings, seed=2) == first
    assert backbone.generate(backbone.see([image]), settings) == first


def test_sampling_follows_its_seed(backbone: Qwen25VL, scan: Scan) -> None:
    image = backbone.encode(scan(4, seed=5))
    settings = Generation(max_new_tokens=12, temperature=3.0)
    torch.manual_seed(0)
    first = backbone.generate([image], settings, seed=1)
    torch.manual_seed(99)  # the global stream plays no part
    assert backbone.generate([image], settings, seed=1) == first
    assert any(backbone.generate([image], settings, seed=s) != first for s in (2, 3))


def test_nucleus_holds_the_likeliest_tokens_only() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]).repeat(500, 1))
    draws = torch.Generator().manual_seed(0)

    def drawn(top_p: float) -> set[int]:
        return set(_choose(logits, Generation(temperature=1, top_p=top_p), draws).tolist())

    assert drawn(0.4) == {0}
    assert drawn(0.7) == {0, 1}
    assert drawn(0.9) == {0, 1, 2}
    assert drawn(1.0) == {0, 1, 2, 3}


def test_low_temperature_sharpens() -> None:
    logits = torch.log(torch.tensor([[0.6, 0.4]]).repeat(2000, 1))
    draws = torch.Generator().manual_seed(0)
    warm = _choose(logits, Generation(temperature=1), draws).float().mean()
    cold = _choose(logits, Generation(temperature=0.25), draws).float().mean()
    assert abs(float(warm) - 0.4) < 0.04
    assert abs(float(cold) - 0.4**4 / (0.4**4 + 0.6**4)) < 0.04  # p ** (1 / 0.25), normalised


def test_cut_text_is_marked_and_mode_is_restored(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone, "_stop", -1)
    backbone.module().train()
    ((_, finish),) = backbone.generate([backbone.encode(scan())], Generation(max_new_tokens=2))
    assert finish == "length"
    assert backbone.module().training
    backbone.module().eval()


def test_text_has_no_special_tokens(backbone: Qwen25VL, scan: Scan) -> None:
    settings = Generation(max_new_tokens=24, temperature=5.0)
    ((text, _),) = backbone.generate([backbone.encode(scan())], settings, seed=4)
    assert "<|" not in text
