"""The module that training engines wrap: visual input and text in, per-token NLL out.

Everything with parameters runs inside `forward`, so that the hooks of distributed engines fire.
Logits are computed at report positions only; a (batch, sequence, vocabulary) tensor is never made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from ctfw_plugins.backbones.answer_nll import answer_nll


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

    def embed(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """(B, L, D) text embeddings with the visual tokens in their places."""
        words = self.qwen.get_input_embeddings()(batch["ids"])
        return _placed(words, batch["visual"], self._tokens(batch, []))

    def _tokens(self, batch: Mapping[str, Any], calls: list[torch.Tensor]) -> torch.Tensor:
        """(sum of V_i, D) visual tokens of a batch; what is computed for it joins `calls`."""
        own = batch.get("tokens")
        if own is None and "patches" in batch:
            own = self.see(batch["patches"], batch["grid"])
        calls.append(torch.empty(0) if own is None else own)
        if "pick" not in batch:
            return calls[-1]
        found: torch.Tensor = torch.cat([calls[call] for call in batch["calls"]])[batch["pick"]]
        return found

    def forward(self, *batches: Mapping[str, Any]) -> list[dict[str, torch.Tensor]]:
        """For each batch `nll` (B, T), `answer` (B, T), the embeddings `image` and `text` (B, D).

        batches  as `Qwen25VL.batch` makes them, or one after the other as `pair_batches` does. No
                 batch depends on the hidden states of another, so that the graph of one can be
                 thrown away while the others are differentiated.
        Sequences are padded on the right, so a causal mask is all that is needed. T is the
        longest report of the batch; token t of the report is predicted from the one before it.
        A batch with `alone` (B, L) is of reports without images, and gives `text-alone` (B, D).
        """
        calls: list[torch.Tensor] = []
        words: list[torch.Tensor] = []
        outputs = []
        for batch in batches:
            if "alone" in batch:
                outputs.append({"text-alone": self._alone(batch)})
                continue
            tokens = self._tokens(batch, calls)
            if "like" in batch:
                start, stop = batch["like"]
                words.append(words[0][start:stop, : batch["ids"].shape[1]])
            else:
                words.append(self.qwen.get_input_embeddings()(batch["ids"]))
            outputs.append(self._read(batch, _placed(words[-1], batch["visual"], tokens)))
        return outputs

    def _read(
        self, batch: Mapping[str, torch.Tensor], embeds: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        hidden = self.language(
            inputs_embeds=embeds, position_ids=batch["positions"], use_cache=False
        ).last_hidden_state
        answer = batch["answer"]
        rows, columns = answer.nonzero(as_tuple=True)
        targets = batch["ids"][rows, columns]
        token_nll = answer_nll(self.qwen.lm_head, hidden[rows, columns - 1], targets)
        lengths = answer.sum(1)
        place = columns - batch["prefix"][rows]
        nll = token_nll.new_zeros(answer.shape[0], int(lengths.max()))
        nll[rows, place] = token_nll
        mask = torch.arange(nll.shape[1], device=nll.device)[None] < lengths[:, None]
        return {"nll": nll, "answer": mask} | self._embeddings(embeds, hidden, batch)

    def _alone(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """(B, D) mean last hidden state of reports that are read without an image."""
        words = self.qwen.get_input_embeddings()(batch["ids"])
        places = torch.arange(words.shape[1], device=words.device).expand(3, len(words), -1)
        hidden = self.language(inputs_embeds=words, position_ids=places, use_cache=False)
        return _masked_mean(hidden.last_hidden_state, batch["alone"])

    def _embeddings(
        self, embeds: torch.Tensor, hidden: torch.Tensor, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Mean visual token and mean last hidden state of the report."""
        return {
            "image": _masked_mean(embeds, batch["visual"]),
            "text": _masked_mean(hidden, batch["answer"]),
        }


def _placed(words: torch.Tensor, visual: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """(B, L, D) with the visual tokens where `visual` (B, L) is set."""
    return words.masked_scatter(visual[..., None], tokens.to(words.dtype))


def _masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B, L, D) and (B, L) -> (B, D)."""
    weight = mask[..., None].to(values.dtype)
    return (values * weight).sum(1) / weight.sum(1).clamp(min=1)
