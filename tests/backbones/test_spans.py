"""Every answer token says which characters of the report it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ctfw.errors import BadData
from ctfw.scoring.likelihood import GROUPS, marks
from ctfw.testing.data import REPORTS
from ctfw.types import Volume

ODD = ["Café – 4 µm nodule.\n\nNo “effusion”.", " x", "naïve\u2028end", "🫁 lung"]


def test_there_is_a_span_for_every_token_of_the_forward_pass(
    backbone: Any, scan: Callable[..., Volume]
) -> None:
    images = [backbone.encode(scan(seed=i)) for i in range(len(REPORTS))]
    output = backbone.forward(images, list(REPORTS))
    counts = output.answer.sum(1).tolist()
    spans = backbone.spans(REPORTS)
    assert [len(each) for each in spans] == counts
    for report, each in zip(REPORTS, spans, strict=True):
        assert each.shape == (len(each), 2)
        assert tuple(each[-1]) == (len(report), len(report))  # the end of turn


@pytest.mark.parametrize("report", [*REPORTS, *ODD])
def test_spans_cover_the_report_in_order(backbone: Any, report: str) -> None:
    (spans,) = backbone.spans([report])
    starts, ends = spans[:, 0], spans[:, 1]
    assert (np.diff(starts) >= 0).all()
    covered = np.zeros(len(report), bool)
    for start, end in spans:
        covered[start:end] = True
    assert covered.all()
    assert ends.max() == len(report)


def test_empty_report_is_refused_as_in_training(backbone: Any) -> None:
    with pytest.raises(BadData, match="empty report"):
        backbone.spans(["  "])


def test_words_left_and_right_are_found_in_the_tokens(backbone: Any) -> None:
    text = "Effusion on the right. No nodule. Left and right apex."
    (spans,) = backbone.spans([text])
    found = marks(text, spans)
    told = "".join(text[a:b] for a, b in spans[found.group("side-words")])
    assert told.strip() == "right"
    sided = "".join(text[a:b] for a, b in spans[found.group("sided")])
    assert sided == "Effusion on the right."
    assert set(GROUPS) == {"all", "positive", "negative", "other", "sided", "side-words"}
