"""Writing a report token by token, with our own positions and computed image features.

`transformers`' `generate` recomputes three-axis positions by rules that have changed between
versions; here prompt and continuation take them from `positions.rope_positions`, the function
that training uses.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from transformers import DynamicCache

from ctfw.settings import Generation
from ctfw_plugins.backbones.report_model import ReportModel


@torch.no_grad()
def write_reports(
    model: ReportModel,
    batch: Mapping[str, torch.Tensor],
    settings: Generation,
    stop: int,
    pad: int,
    seed: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T) and (B,) bool, whether each report ended by itself.

    batch: `ids`, `visual`, `attention` (B, L) padded on the left, `positions` (3, B, L), and
    `tokens` or `patches`. temperature 0 takes the likeliest token each time. A report that has
    ended leaves the batch, so a long one does not make the others wait.
    """
    attention, positions = batch["attention"], batch["positions"]
    count = attention.shape[0]
    draws = torch.Generator(device="cpu").manual_seed(seed)
    written = torch.full((count, settings.max_new_tokens), pad, dtype=torch.long)
    ended = torch.zeros(count, dtype=torch.bool)
    alive = torch.arange(count)
    cache = DynamicCache(config=model.language.config)
    inputs = model.embed(batch)
    position = positions
    last = positions[:, :, -1:].amax(0)
    for step in range(settings.max_new_tokens):
        hidden = model.language(
            inputs_embeds=inputs,
            attention_mask=attention,
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state[:, -1]
        token = _choose(model.qwen.lm_head(hidden).float(), settings, draws)
        written[alive, step] = token.cpu()
        stopped = token == stop
        ended[alive[stopped.cpu()]] = True
        if stopped.all():
            break
        keep = (~stopped).nonzero().flatten()
        if len(keep) < len(alive):
            alive, token = alive[keep.cpu()], token[keep]
            attention, last = attention[keep], last[keep]
            cache.batch_select_indices(keep)
        last = last + 1
        position = last[None].expand(3, -1, -1)
        attention = torch.cat([attention, attention.new_ones(len(token), 1)], dim=1)
        inputs = model.qwen.get_input_embeddings()(token[:, None])
    return written, ended


def _choose(logits: torch.Tensor, settings: Generation, draws: torch.Generator) -> torch.Tensor:
    """(B,) next token of (B, V) logits."""
    if settings.temperature == 0:
        return logits.argmax(-1)
    probability = (logits / settings.temperature).softmax(-1).cpu()
    ranked, order = probability.sort(dim=-1, descending=True)
    outside = ranked.cumsum(-1) - ranked >= settings.top_p
    picked = torch.multinomial(ranked.masked_fill(outside, 0.0), 1, generator=draws)
    return order.gather(-1, picked).squeeze(-1).to(logits.device)
