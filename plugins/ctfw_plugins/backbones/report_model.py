"""The module that training engines wrap: visual input and text in, per-token NLL out.

Everything with parameters runs inside `forward`, so that the hooks of distributed engines fire.
Logits are computed at report positions only; a (batch, sequence, vocabulary) tensor is never made.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration


class ReportModel(nn.Module):
    """Qwen2.5-VL as a conditional language model of reports."""

    def __init__(self, qwen: Qwen2_5_VLForConditionalGeneration) -> None:
        super().__init__()
        self.qwen = qwen

    @property
    def tower(self) -> nn.Module:
        return self.qwen.model.visual

    @property
    def language(self) -> nn.Module:
        return self.qwen.model.language_model

    def see(self, patches: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        """(sum of V_i, D) visual tokens of (sum of P_i, 1176) patches; grid (B, 3) is (T, h, w)."""
        tower = self.qwen.model.visual
        out: torch.Tensor = tower(
            patches.to(tower.dtype), grid_thw=grid, return_dict=True
        ).pooler_output
        return out

    def embed(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B, L, D) text embeddings with the visual tokens in their places."""
        embeds = self.qwen.get_input_embeddings()(batch["ids"])
        tokens = batch.get("tokens")
        if tokens is None:
            tokens = self.see(batch["patches"], batch["grid"])
        return embeds.masked_scatter(batch["visual"][..., None], tokens.to(embeds.dtype))

    def forward(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """`nll` (B, T), `answer` (B, T) and the embeddings `image` and `text` (B, D).

        Sequences are padded on the right, so a causal mask is all that is needed. T is the
        longest report of the batch; token t of the report is predicted from the one before it.
        """
        embeds = self.embed(batch)
        hidden = self.language(
            inputs_embeds=embeds, position_ids=batch["positions"], use_cache=False
        ).last_hidden_state
        answer = batch["answer"]
        rows, columns = answer.nonzero(as_tuple=True)
        states = hidden[rows, columns - 1]
        targets = batch["ids"][rows, columns]
        logits = self.qwen.lm_head(states).float()
        token_nll = nn.functional.cross_entropy(logits, targets, reduction="none")
        lengths = answer.sum(1)
        place = columns - batch["prefix"][rows]
        nll = token_nll.new_zeros(answer.shape[0], int(lengths.max()))
        nll[rows, place] = token_nll
        mask = torch.arange(nll.shape[1], device=nll.device)[None] < lengths[:, None]
        return {"nll": nll, "answer": mask} | self._embeddings(embeds, hidden, batch)

    def _embeddings(
        self, embeds: torch.Tensor, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Mean visual token and mean last hidden state of the report."""
        return {
            "image": _masked_mean(embeds, batch["visual"]),
            "text": _masked_mean(hidden, batch["answer"]),
        }


def _masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, L, D) and (B, L) -> (B, D)."""
    weight = mask[..., None].to(values.dtype)
    return (values * weight).sum(1) / weight.sum(1).clamp(min=1)
