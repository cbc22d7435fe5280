"""An exported folder answers as the checkpoint does, in transformers alone."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ctfw.errors import BadCheckpoint
from ctfw.exported import ExportingBackbone
from ctfw.settings import Generation
from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw_plugins.backbones import merge
from ctfw_plugins.backbones.configs import Lora, Qwen25VLConfig
from ctfw_plugins.backbones.lora import merge_adapters
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

Scan = Callable[..., Volume]
FACTS = {
    "preprocess": [
        {"use": "ctfw/rescale-hu@1"},
        {"use": "ctfw/hu-window@1", "low": -1000.0, "high": 1000.0, "divide_by": 1000.0},
    ],
    "generation": {"max_new_tokens": 16},
    "synthetic": False,
}
LORA = Lora(rank=4, alpha=8, dropout=0.1)


def trained(config: Qwen25VLConfig, **changes: Any) -> Qwen25VL:
    """Random weights whose adapters, if there are any, have values."""
    made = Qwen25VL(config.model_copy(update=changes))
    made.build(REPORTS, 3)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in made.model.qwen.named_parameters():
            if ".lora_B." in name:
                weight.add_(torch.randn_like(weight) * 0.1)
    made.module().eval()
    return made


def without_ctfw(code: str, *arguments: Path) -> str:
    """Run Python in a process that has the installed packages and no ctfw."""
    start = """
import importlib.util, sys
sys.path = [p for p in sys.path if "site-packages" in p or "lib/python" in p]
found = importlib.util.find_spec("ctfw")
assert found is None or found.origin is None, "only the recipes of an editable install are there"
assert importlib.util.find_spec("ctfw_plugins") is None
import torch
torch.set_num_threads(1)
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", start + code, *map(str, arguments)],
        env=environment | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("lora", [None, LORA])
def test_transformers_alone_gives_the_same_logits(
    config: Qwen25VLConfig, tmp_path: Path, lora: Lora | None
) -> None:
    made = trained(config, lora=lora)
    probe = merge._probe(made.config, made.processor)
    before = merge._logits(made.model.qwen, probe)
    told = made.export(tmp_path / "out", FACTS, merged=True)
    torch.save(probe, tmp_path / "probe.pt")
    code = """
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
folder, probe, out = sys.argv[1:]
model, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
assert not report["missing_keys"] and not report["unexpected_keys"], report
given = torch.load(probe, weights_only=True)
with torch.no_grad():
    torch.save(model.eval()(**given).logits[0], out)
tokenizer = AutoTokenizer.from_pretrained(folder)
talk = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "Write."}]}]
print(tokenizer.apply_chat_template(talk, tokenize=False, add_generation_prompt=True))
"""
    said = without_ctfw(code, tmp_path / "out", tmp_path / "probe.pt", tmp_path / "logits.pt")
    assert said.startswith("<|im_start|>user\n<|vision_start|><|video_pad|><|vision_end|>Write.")
    after = torch.load(tmp_path / "logits.pt", weights_only=True)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-4)
    assert not [key for key in load_file(tmp_path / "out" / "model.safetensors") if "lora" in key]
    if lora is not None:
        assert (
            "14 matrices got their adapter (28 adapter weights, none left over)" in told.checks[0]
        )


@pytest.mark.parametrize(("channels", "slices"), [("grey", 4), ("windows", 5)])
def test_script_in_the_folder_writes_the_same_report(
    config: Qwen25VLConfig, scan: Scan, tmp_path: Path, channels: str, slices: int
) -> None:
    made = trained(config, lora=LORA, channels=channels)
    volume = scan(slices, 3.0, 7)
    settings = Generation(max_new_tokens=FACTS["generation"]["max_new_tokens"])
    ((expected, _),) = made.generate([made.encode(volume)], settings)
    assert expected
    facts = FACTS | {"synthetic": True}
    made.export(tmp_path / "out", facts, merged=True)
    np.savez(
        tmp_path / "scan.npz",
        hu=volume.array * 1000,
        positions_mm=np.asarray(volume.slice_positions_mm),
    )
    code = "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    said = without_ctfw(code, tmp_path / "out" / "write_report.py", tmp_path / "scan.npz")
    mark, _, text = said.partition("\n")
    assert mark.startswith("[model trained on synthetic data")
    assert text.strip() == expected


def test_merging_is_what_peft_does(config: Qwen25VLConfig, tmp_path: Path) -> None:
    from peft import PeftModel

    made = trained(config, lora=LORA)
    made.save(tmp_path / "model")
    plain = trained(config)
    stock = PeftModel.from_pretrained(plain.model.qwen, tmp_path / "model").merge_and_unload()
    assert merge_adapters(made.model.qwen) == 14
    expected = stock.state_dict()
    for name, weight in made.model.qwen.state_dict().items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_change_by_merging_stays_within_what_is_stated(
    config: Qwen25VLConfig, tmp_path: Path, dtype: str
) -> None:
    made = trained(config, lora=LORA, dtype=dtype)
    told = made.export(tmp_path / "out", FACTS, merged=True)
    assert f"allowed: {merge.TOLERANCE[dtype]:g})" in told.checks[0]


def test_merge_that_changes_the_answers_is_refused(
    config: Qwen25VLConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lossy(qwen: Any) -> int:
        count = merge_adapters(qwen)
        qwen.model.language_model.layers[1].mlp.up_proj.weight.data.mul_(1.1)
        return count

    monkeypatch.setattr(merge, "merge_adapters", lossy)
    with pytest.raises(BadCheckpoint, match=r"answers differently: its logits are off by 0\.0\d+"):
        trained(config, lora=LORA).export(tmp_path / "out", FACTS, merged=True)


def test_adapter_that_was_not_merged_is_told(
    config: Qwen25VLConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "merge_adapters", lambda qwen: merge_adapters(qwen) - 1)
    with pytest.raises(BadCheckpoint, match="of 28 adapter weights only 26 could be merged"):
        trained(config, lora=LORA).export(tmp_path / "out", FACTS, merged=True)


def test_card_tells_prompt_frames_and_millimetres(config: Qwen25VLConfig, tmp_path: Path) -> None:
    made = trained(config, mm_per_position=1.5)
    assert isinstance(made, ExportingBackbone)
    card = made.export(tmp_path / "out", FACTS, merged=True).card
    for words in (config.prompt, config.system, "divided by 1.5", "fps = 3 / (mm between"):
        assert words in card
    assert json.loads((tmp_path / "out" / "ctfw_input.json").read_text())["window"] == [-1000, 1000]


@pytest.fixture
def on_disk(config: Qwen25VLConfig, tmp_path: Path) -> str:
    """A folder with the weights that adapters are trained on."""
    trained(config).save(tmp_path / "released")
    return str(tmp_path / "released")


def logits_by(code: str, made: Qwen25VL, folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(of the model that `code` loads without ctfw, of `made`) for one probe."""
    probe = merge._probe(made.config, made.processor)
    torch.save(probe, folder / "probe.pt")
    end = """
with torch.no_grad():
    torch.save(model.eval()(**torch.load("probe.pt", weights_only=True)).logits[0], "logits.pt")
"""
    without_ctfw(f"import os\nos.chdir({str(folder)!r})\n{code}{end}")
    before = merge._logits(made.model.qwen, probe)
    return torch.load(folder / "logits.pt", weights_only=True), before


@pytest.mark.parametrize("name", ["AutoPeftModel", "AutoPeftModelForCausalLM"])
def test_peft_finds_base_and_class_by_itself(
    config: Qwen25VLConfig, tmp_path: Path, on_disk: str, name: str
) -> None:
    made = trained(config, lora=LORA, weights=on_disk)
    card = made.export(tmp_path / "out", FACTS, merged=False).card
    assert 'peft.AutoPeftModel.from_pretrained("THIS_FOLDER", dtype="auto")' in card
    code = f"import peft\nmodel = peft.{name}.from_pretrained('out', dtype='auto')"
    alone, before = logits_by(code, made, tmp_path)
    torch.testing.assert_close(alone, before, rtol=1e-4, atol=1e-4)
    untrained = merge._logits(trained(config).model.qwen, torch.load(tmp_path / "probe.pt"))
    assert (alone - untrained).abs().max() > 0.1, "the adapters change nothing"


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("tower", [True, False])
def test_code_of_the_card_loads_the_adapters(
    config: Qwen25VLConfig, tmp_path: Path, on_disk: str, inside: bool, tower: bool
) -> None:
    made = trained(config, lora=LORA, weights=None if inside else on_disk)
    if tower:
        made.tower.requires_grad_(True)
        with torch.no_grad():
            for weight in made.tower.parameters():
                weight.mul_(1.1)
    card = made.export(tmp_path / "out", FACTS, merged=False).card
    assert ("peft does not read `trained.safetensors`" in card) is tower
    blocks = [part.partition("```")[0] for part in card.split("```python\n")[1:]]
    load, *beside = blocks
    base, _, adapters = load.partition("model =")
    code = "".join([base, *beside, "model =", adapters]).replace("THIS_FOLDER", "out")
    alone, before = logits_by(code, made, tmp_path)
    torch.testing.assert_close(alone, before, rtol=1e-4, atol=1e-4)


def test_adapters_of_a_model_trained_as_a_whole_are_none(
    config: Qwen25VLConfig, tmp_path: Path
) -> None:
    with pytest.raises(BadCheckpoint, match="holds no adapters: export it with --merged"):
        trained(config).export(tmp_path / "three", FACTS, merged=False)


def test_stock_processor_loads_where_torchvision_is_installed(
    config: Qwen25VLConfig, scan: Scan, tmp_path: Path
) -> None:
    pytest.importorskip("torchvision", reason="the stock video processor needs torchvision")
    from transformers import AutoProcessor

    made = trained(config)
    made.export(tmp_path / "out", FACTS, merged=True)
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    assert type(processor).__name__ == "Qwen2_5_VLProcessor"
    grey = np.random.default_rng(0).integers(0, 256, (4, 56, 56), dtype=np.uint8)
    frames = torch.from_numpy(np.repeat(grey[:, None], 3, axis=1))
    given = processor.video_processor(videos=[frames], do_resize=False, return_tensors="pt")
    volume = Volume(grey / 127.5 - 1.0, np.diag([-3.0, -3.0, 3.0, 1.0]), "normalised")
    rows, grid = made.processor.video_processor.patches(volume)
    assert given["video_grid_thw"].tolist() == [list(grid)]
    torch.testing.assert_close(given["pixel_values_videos"], rows, rtol=1e-4, atol=1e-4)


def test_without_torchvision_only_the_stock_processor_is_missing(
    config: Qwen25VLConfig, tmp_path: Path
) -> None:
    if importlib.util.find_spec("torchvision") is not None:
        pytest.skip("torchvision is installed")
    trained(config).export(tmp_path / "out", FACTS, merged=True)
    code = """
from transformers import AutoProcessor, AutoTokenizer, Qwen2_5_VLForConditionalGeneration
AutoTokenizer.from_pretrained(sys.argv[1])
Qwen2_5_VLForConditionalGeneration.from_pretrained(sys.argv[1])
try:
    AutoProcessor.from_pretrained(sys.argv[1])
except (ImportError, TypeError) as error:  # early versions stumble where later ones explain
    print(type(error).__name__)
"""
    assert without_ctfw(code, tmp_path / "out").strip() in ("ImportError", "TypeError")
