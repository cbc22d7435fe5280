"""A checkpoint as a plain Hugging Face folder, checked by reading it back.

What transformers and vLLM load without ctfw: weights with the adapters added in, tokenizer, chat
template, the configuration of the stock processor, and a script that feeds the model as ctfw does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from ctfw.errors import BadCheckpoint
from ctfw.exported import Exported
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.lora import BESIDE, adapter_of, merge_adapters
from ctfw_plugins.backbones.patches import CLIP_MEAN, CLIP_STD, WINDOWS_HU
from ctfw_plugins.backbones.positions import rope_positions
from ctfw_plugins.backbones.pretrained import DTYPES, read_pretrained
from ctfw_plugins.backbones.processor import HUProcessor, prompt_text
from ctfw_plugins.backbones.stored import INSIDE

TOLERANCE = {"float32": 1e-4, "float16": 0.005, "bfloat16": 0.025}
"""How much merging may change the logits of a probe: root mean square of the change over that of
the logits, both computed in float32. Then only the order of sums differs, and half types have
rounded each merged matrix once, to 11 or 8 bits. A tenth of one matrix too much is about 0.04."""
_BEGIN = "Findings: No pleural effusion is observed."
_GRID = (1, 4, 4)  # of the probe's image: two slices of 56 x 56 pixels
_STOCK = {
    "processor_class": "Qwen2_5_VLProcessor",
    "size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 1280},
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": list(CLIP_MEAN),
    "image_std": list(CLIP_STD),
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "do_convert_rgb": True,
}


def export_merged(
    folder: Path,
    qwen: Qwen2_5_VLForConditionalGeneration,
    processor: HUProcessor,
    config: Qwen25VLConfig,
    facts: Mapping[str, Any],
) -> Exported:
    """Write the folder and compare its logits with those of the model; `qwen` is used up.

    facts  of the checkpoint, see `ctfw.engine.bench.checkpoint_facts`

    The host needs 4 bytes per parameter, because the comparison is made in float32. Raises
    BadCheckpoint when an adapter was not merged or the logits differ by more than TOLERANCE.
    """
    probe = _probe(config, processor)
    before = _logits(qwen, probe)
    keys = len(adapter_of(qwen.state_dict()))
    merged = merge_adapters(qwen)
    if 2 * merged != keys:
        raise BadCheckpoint(f"of {keys} adapter weights only {2 * merged} could be merged")
    qwen.to(DTYPES[config.dtype]).save_pretrained(folder)
    processor.tokenizer.save_pretrained(folder)
    _write_stock(folder, processor, config, facts)
    qwen.to("meta")  # what was written is read back: no two models in memory
    again, _ = read_pretrained(str(folder), config.dtype, config.attention, local=True)
    change = float((_logits(again, probe) - before).norm() / before.norm())
    if not change <= TOLERANCE[config.dtype]:
        raise BadCheckpoint(
            f"the merged model answers differently: its logits are off by {change:.2g}, more than "
            f"the {TOLERANCE[config.dtype]:g} that {config.dtype} explains"
        )
    told = f"{merged} matrices got their adapter ({keys} adapter weights, none left over); "
    return Exported(
        checks=(
            (told if merged else "")
            + f"logits of a probe, before and as read back from the folder, differ by "
            f"{change:.1e} (root mean square, relative; allowed: {TOLERANCE[config.dtype]:g})",
        ),
        card=_card(config, int(again.config.vision_config.tokens_per_second), _window(facts)),
        base=config.weights or "",
    )


def _around(config: Qwen25VLConfig, processor: HUProcessor) -> tuple[str, str]:
    """The conversation in front of the image and behind it, up to where the report begins."""
    before, _, after = prompt_text(processor, config.system, config.prompt).partition(
        "<|video_pad|>"
    )
    return before, after


def _probe(config: Qwen25VLConfig, processor: HUProcessor) -> dict[str, torch.Tensor]:
    """The prompt around two slices of noise, and the begin of a report."""
    t, h, w = _GRID
    before, after = _around(config, processor)
    parts = processor.tokenizer([before, after + _BEGIN], add_special_tokens=False)["input_ids"]
    ids = [*parts[0], *[processor.video_token_id] * (t * h * w // 4), *parts[1]]
    noise = np.random.default_rng(0).standard_normal((t * h * w, 3 * 2 * 14 * 14))
    offsets = np.zeros(t, np.int64)
    places = rope_positions(len(parts[0]), offsets, (h // 2, w // 2), len(parts[1]))
    return {
        "input_ids": torch.tensor([ids]),
        "pixel_values_videos": torch.from_numpy(noise.astype(np.float32)),
        "video_grid_thw": torch.tensor([_GRID]),
        "position_ids": torch.from_numpy(places)[:, None],
    }


@torch.no_grad()
def _logits(
    qwen: Qwen2_5_VLForConditionalGeneration, probe: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """(L, V) in float32: every half type fits into it, so the weights stay what they are."""
    given = {key: value.to(qwen.device) for key, value in probe.items()}
    out: torch.Tensor = qwen.float().eval()(**given, use_cache=False).logits[0].cpu()
    return out


def _write_stock(
    folder: Path, processor: HUProcessor, config: Qwen25VLConfig, facts: Mapping[str, Any]
) -> None:
    """The stock processor's configuration, and the script with the numbers that it needs."""
    image = {**_STOCK, "image_processor_type": "Qwen2VLImageProcessor"}
    video = {**_STOCK, "video_processor_type": "Qwen2VLVideoProcessor", "do_sample_frames": False}
    _json(folder / "preprocessor_config.json", image)
    _json(folder / "video_preprocessor_config.json", video)
    template = folder / "chat_template.jinja"
    if not template.is_file():
        template.write_text(processor.tokenizer.chat_template, encoding="utf-8")
    window = _window(facts)
    told = {
        "around": _around(config, processor),
        "channels": config.channels,
        "windows_hu": WINDOWS_HU,
        "window": [window["low"], window["high"]] if window else None,
        "divide_by": window["divide_by"] if window else 1000.0,
        "mean": CLIP_MEAN,
        "std": CLIP_STD,
        "mm_per_position": config.mm_per_position,
        "max_new_tokens": facts["generation"].get("max_new_tokens", 512),
        "synthetic": bool(facts.get("synthetic")),
    }
    _json(folder / "ctfw_input.json", told)
    script = files("ctfw_plugins.backbones") / "stock" / "write_report.py.txt"
    (folder / "write_report.py").write_text(script.read_text(encoding="utf-8"), encoding="utf-8")


def _window(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """`low`, `high` and `divide_by` of the step that scaled the HU; empty where none did."""
    return next((step for step in facts["preprocess"] if "/hu-window@" in step["use"]), {})


def _json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _card(config: Qwen25VLConfig, per_second: int, window: Mapping[str, Any]) -> str:
    frame = (
        "The three channels are three windows of HU: lung (-1350 to 150), mediastinum (-160 to "
        "240) and bone (-100 to 1100), each scaled to 0..1."
        if config.channels == "windows"
        else "The three channels are the same grey value, HU / 1000 from -1..1 scaled to 0..1."
    )
    return f"""## What the model reads

A CT is shown as a video: each axial slice is a frame, in the order of the scan. {frame}
Mean and standard deviation of CLIP are applied to them, as for any Qwen2.5-VL. Two neighbouring
slices make one temporal patch; an odd number of slices repeats the last one.

- system message: `{config.system}`
- user turn: the video, then `{config.prompt}`

## Positions are millimetres

The temporal position of a patch is the distance of its slices from the first ones along the scan
axis, in mm, divided by {config.mm_per_position:g} and rounded. The text behind the video goes on at
the largest position used, plus one. Tools that compute positions themselves (the stock processor
with `generate`, vLLM) tie them to seconds instead, so their texts may differ from those that were
scored. With a tool that ties time to seconds, the nearest thing for evenly spaced slices is
`fps = {per_second * config.mm_per_position:g} / (mm between neighbouring slices)`: the model counts
{per_second} positions per second. transformers before 5.18 cuts the seconds of a patch, 2 / fps, to
whole ones.

## Write a report without ctfw

`write_report.py` in this folder needs numpy, torch and transformers (5.6 or newer), and feeds the
model as it was trained:

```sh
python write_report.py SLICES.npz
python write_report.py HU.npy --spacing-mm 3   # evenly spaced slices, 3 mm apart
```

`SLICES.npz` holds the slices after the steps listed below, in HU:

- `hu`, (slices, rows, columns): {_scaling(window)}
- `positions_mm`, (slices,): where each slice lies along the scan axis, in mm from any origin

```python
numpy.savez("SLICES.npz", hu=slices, positions_mm=positions)
```

Where ctfw is installed, it makes that file from a scan by the same steps, without the weights:

```sh
ctfw inspect SCAN --checkpoint THIS_FOLDER --slices
```

The stock processor (`AutoProcessor`) needs torchvision; `write_report.py` does not use it.
"""


def _scaling(window: Mapping[str, Any]) -> str:
    if not window:
        return "Hounsfield units. The script scales them for the model"
    low, high, by = (f"{window[key]:g}" for key in ("low", "high", "divide_by"))
    return (
        f"Hounsfield units. Clamp them to {low} .. {high} where `hu-window` stands in the list, "
        f"but do not divide them by {by}: the script does that"
    )


def adapter_note(folder: Path, base: str) -> Exported:
    """The card of a folder that holds adapters only, as `stored.write` left it."""
    inside = base == INSIDE
    where = f"THIS_FOLDER/{INSIDE}" if inside else base
    card = f"""## How to load it

`adapter_model.safetensors` and `adapter_config.json` are in the format of peft:

```python
from peft import PeftModel
from transformers import Qwen2_5_VLForConditionalGeneration

base = Qwen2_5_VLForConditionalGeneration.from_pretrained("{where}", dtype="auto")
model = PeftModel.from_pretrained(base, "THIS_FOLDER")
```
"""
    if (folder / BESIDE).is_file():
        card += f"""
peft does not read `{BESIDE}`: the vision tower was trained as well, and lies there. Without it the
model is another one, so put it into `base` before the adapters:

```python
from safetensors.torch import load_file

base.load_state_dict(load_file("THIS_FOLDER/{BESIDE}"), strict=False)
```
"""
    elif not inside:
        card += """
`peft.AutoPeftModel.from_pretrained("THIS_FOLDER", dtype="auto")` does the same in one line.
"""
    card += """
These are weights alone. `ctfw export CHECKPOINT --merged FOLDER` puts them into one model, with a
script that writes reports and the steps from a scan to what the model reads.
"""
    return Exported(card=card, base="" if inside else base)
