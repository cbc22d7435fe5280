"""The built-in labelers; imports settings models only."""

from __future__ import annotations

from collections.abc import Iterator

from ctfw.component import Component
from ctfw_plugins.labelers import configs


def components() -> Iterator[Component]:
    """One declaration per labeler."""
    folder = "ctfw_plugins.labelers"
    yield Component(
        "ct-rate-18",
        f"{folder}.ct_rate_18:CtRate18",
        configs.CtRate18Config,
        "chest CT text to the 18 CT-RATE labels, by rules",
        revision=2,
    )
    yield Component(
        "chexpert-14",
        f"{folder}.chexpert_14:Chexpert14",
        configs.Chexpert14Config,
        "chest X-ray text to the 14 CheXpert observations, by rules",
    )
    yield Component(
        "radbert",
        f"{folder}.radbert:RadBert",
        configs.RadBertConfig,
        "chest CT text to the 18 CT-RATE labels, by CT-RATE's own classifier",
        needs=("torch", "transformers>=5.6", "safetensors"),
    )
    yield Component(
        "llm",
        f"{folder}.llm:Llm",
        configs.LlmConfig,
        "any text to labels of your choice, by a language model behind an endpoint",
    )
