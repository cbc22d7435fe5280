"""How far "how ill" alone tells a negative from its anchor, for samplers that draw partners.

`python benchmarks/burden.py` prints the table of docs/explanation/negative_losses.md: 20,000 cases
whose labels come as often and together as CT-RATE's, one epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from _summary import markdown

from ctfw.plugins import load_plugins
from samplers import like_ct_rate, table_of

CASES = 20_000
RULES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "`heter`": ("heter", {}),
    "`heter`, `min_label_distance: 5`": ("heter", {"min_label_distance": 5}),
    "`heter`, `match_burden: 2`": ("heter", {"match_burden": 2}),
    "`heter`, `match_burden: 1`": ("heter", {"match_burden": 1}),
    "`hard`, `alike: labels`": ("hard", {"alike": "labels"}),
    "the same, `min_conflicts: 3`": ("hard", {"alike": "labels", "min_conflicts": 3}),
}


def row(name: str, use: str, settings: Mapping[str, Any], cases: Any) -> list[str]:
    """Means over all anchors; a burden is a number of findings."""
    component = load_plugins(only="none").catalog.get("negative_sampler", use)
    sampler = component.load()(component.config(**settings), None)
    sampler.fit(cases)
    sampler.refresh(0, 0)
    rng = np.random.default_rng(0)
    partners = [sampler.draw(case, rng).case for case in cases]
    own = cases.labels.sum(1)
    theirs = np.array([int(np.sum(partner.labels)) for partner in partners])
    told = sampler.summary()
    apart = sum(int(key) * count for key, count in told["distance"].items()) / len(cases)
    ill = theirs[own <= 2].mean()
    return [
        name,
        f"{apart:.1f}",
        f"{(theirs - own).mean():+.1f}",
        f"{np.abs(theirs - own).mean():.1f}",
        f"{ill:.1f}",
        f"{100 * told['share_of_top_tenth']:.0f} %",
        f"{100 * told['relaxed'] / told['draws']:.0f} %",
    ]


def main() -> None:
    cases = table_of(like_ct_rate(CASES, np.random.default_rng(0)))
    head = ["sampler", "labels that differ", "burden gap", "its size"]
    head += ["partner of an anchor with ≤ 2 findings", "draws of the busiest tenth", "rule relaxed"]
    print(markdown(head, [row(name, *rule, cases) for name, rule in RULES.items()]))


if __name__ == "__main__":
    main()
