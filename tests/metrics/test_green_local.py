"""GREEN judged by a model of this machine: the real loading and generation, on tiny weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_judge import ANSWER, save_judge, tokenizer
from tokenizers import processors
from transformers import AutoTokenizer, LlamaTokenizer

from ctfw import local_models
from ctfw.answers import AnswerCache
from ctfw.errors import BadCheckpoint, UserError
from ctfw.local_models import model_folder, offline, read_model, weights_fingerprint
from ctfw_plugins.metrics.configs import GreenConfig, LocalJudge
from ctfw_plugins.metrics.green import CUT_ANSWER, Green
from ctfw_plugins.metrics.green_judges import SETTING, Local
from ctfw_plugins.metrics.green_prompt import chat_text, make_prompt

PAIRS = [
    ("Pleural effusion.", "Effusion."),
    ("Mass. A cyst of 3 cm is seen in the left lobe.", "Nodule."),
]
PROMPTS = [make_prompt(*pair) for pair in PAIRS]


@pytest.fixture(scope="module", params=["llama", "phi"])
def taught(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A judge that has learned to answer the two prompts."""
    return save_judge(tmp_path_factory.mktemp(request.param), request.param, taught=PROMPTS)


@pytest.fixture(scope="module")
def untaught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_judge(tmp_path_factory.mktemp("random"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path / "cache"))


def local(folder: Path, **others: Any) -> LocalJudge:
    return LocalJudge(use="transformers", weights=folder, device="cpu", **others)


def green(folder: Path, strict: bool = True, **others: Any) -> Green:
    return Green(GreenConfig(generator=local(folder, **others), strict=strict))


def test_a_taught_judge_gives_the_score_of_what_it_says(taught: Path) -> None:
    for result in green(taught).judge(*zip(*PAIRS, strict=True)):
        assert result.answer == ANSWER.partition("]:")[2]
        assert (result.score, result.matched, result.significant) == (0.5, 3, (1, 2, 0, 0, 0, 0))
        assert result.reason == ""


def test_answers_do_not_hang_on_the_batch_nor_on_the_order(taught: Path) -> None:
    cache = AnswerCache()
    one = Local(local(taught, batch_size=1)).answers(PROMPTS, cache)
    shutil.rmtree(cache.folder)
    both = Local(local(taught, batch_size=2)).answers(PROMPTS[::-1], cache)
    assert one == both[::-1]
    lengths = {len(tokenizer()(prompt)["input_ids"]) for prompt in PROMPTS}
    assert len(lengths) == 2  # so that one of them was padded


def test_random_weights_write_until_the_limit_and_are_not_believed(untaught: Path) -> None:
    metric = green(untaught, max_length=260)
    result = metric.judge(["Pleural effusion."], ["Effusion."])[0]
    assert result.score != result.score
    assert result.reason == CUT_ANSWER


def test_the_limit_counts_prompt_and_answer_without_the_padding(untaught: Path) -> None:
    class Always(Local):
        """Never ends by itself: the token of the end is taken out of its reach."""

        def _ends(self) -> list[int]:
            return [1]

    judge = Always(local(untaught, max_length=260, batch_size=2))
    model, words = judge._loaded
    asked = [words(chat_text(prompt, "</s>"))["input_ids"] for prompt in PROMPTS]
    written: list[list[int]] = []
    generate = model.generate

    def kept(**given: Any) -> torch.Tensor:
        assert given["attention_mask"].sum(1).tolist() == sorted(map(len, asked))
        assert given["attention_mask"][:, -1].all()
        made = generate(**given)
        written.extend(made[:, given["input_ids"].shape[1] :].tolist())
        return made

    model.generate = kept
    replies = judge.answers(PROMPTS, AnswerCache())
    for ids, reply, row in zip(asked, replies, written, strict=True):
        assert reply.finish == "length"
        assert reply.text == words.decode(row[: 260 - len(ids)], skip_special_tokens=True)


def test_a_prompt_that_fills_the_limit_has_no_answer(untaught: Path) -> None:
    (result,) = green(untaught, strict=False, max_length=64).judge(["Effusion."], ["Effusion."])
    assert (result.score, result.answer, result.reason) == (0, "", CUT_ANSWER)


def test_answers_that_are_kept_need_no_weights_in_memory(
    taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = green(taught).judge(*zip(*PAIRS, strict=True))
    monkeypatch.setattr("ctfw_plugins.metrics.green_judges.read_model", None)
    assert green(taught).judge(*zip(*PAIRS, strict=True)) == first
    with pytest.raises(TypeError):
        green(taught).judge(["another"], ["pair"])


def test_a_run_that_was_killed_goes_on_after_the_last_batch(
    taught: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate, sizes = Local._generate, []

    def killed(self: Local, batch: Any) -> Any:
        sizes.append(len(batch))
        if len(sizes) == 2:
            raise KeyboardInterrupt
        return generate(self, batch)

    monkeypatch.setattr(Local, "_generate", killed)
    prompts = [*PROMPTS, make_prompt("Mass.", "Nodule.")]
    with pytest.raises(KeyboardInterrupt):
        Local(local(taught, batch_size=2)).answers(prompts, AnswerCache())
    assert len(Local(local(taught, batch_size=2)).answers(prompts, AnswerCache())) == 3
    assert sizes == [2, 1, 1]


def test_other_weights_are_another_judge(taught: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(taught, tmp_path / "copy")
    assert weights_fingerprint(copy) == weights_fingerprint(taught)
    state = load_file(copy / "model.safetensors")
    name = next(iter(state))
    state[name].view(-1)[-1] += 1e-6
    save_file(state, copy / "model.safetensors", {"format": "pt"})
    assert weights_fingerprint(copy) != weights_fingerprint(taught)
    assert Local(local(copy)).signature != Local(local(taught)).signature


def test_the_hash_of_weights_is_remembered(taught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = weights_fingerprint(taught)
    monkeypatch.setattr(local_models.hashlib, "file_digest", None)
    assert weights_fingerprint(taught) == first


def test_signature_says_type_template_and_limit(taught: Path) -> None:
    assert Local(local(taught)).signature == (
        f"weights:{weights_fingerprint(taught)}|template:published|float32|max-length:2048"
    )


def test_the_tokenizer_of_llama_ends_the_prompt_as_in_the_published_code(
    untaught: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(untaught, tmp_path / "llama")
    plain = Local(local(folder))._ids("Effusion.")
    words = AutoTokenizer.from_pretrained(folder)
    assert words.decode(plain).endswith("<|assistant|>\n")
    end = words.eos_token_id
    llama = LlamaTokenizer(vocab=words.get_vocab(), merges=[], eos_token="</s>", bos_token="<s>")
    llama._tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", llama.bos_token_id)]
    )
    llama.save_pretrained(folder)
    ids = Local(local(folder))._ids("Effusion.")
    assert ids[0] == llama.bos_token_id
    assert ids[-1] == end
    assert ids[-2] != end


def test_another_judge_is_asked_in_the_template_of_its_tokenizer(
    untaught: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(untaught, tmp_path / "other")
    judge = Local(local(folder, template="own"))
    with pytest.raises(UserError, match="has no chat template; set template: published"):
        judge._ids("Effusion.")
    words = AutoTokenizer.from_pretrained(folder)
    words.chat_template = (
        "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}[answer]{% endif %}"
    )
    words.save_pretrained(folder)
    ids = Local(local(folder, template="own"))._ids("Effusion.")
    assert words.decode(ids) == "[user] Effusion.[answer]"


def test_a_folder_without_a_model_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"generator.weights: .*no config.json.*hf download"):
        green(tmp_path / "absent").judge(["a"], ["b"])


def test_pickled_weights_are_refused(untaught: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(untaught, tmp_path / "pickled")
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(BadCheckpoint, match=r"no weights as safetensors.*can run code"):
        model_folder(folder, SETTING)


def test_damaged_or_incomplete_weights_are_named(untaught: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(untaught, tmp_path / "damaged")
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadCheckpoint, match="damaged cannot be loaded: "):
        read_model(folder, "AutoModelForCausalLM", SETTING)
    file.write_bytes(whole)
    state = load_file(file)
    lost = next(name for name in state if "mlp" in name)
    save_file({k: v for k, v in state.items() if k != lost}, file, {"format": "pt"})
    with pytest.raises(BadCheckpoint, match=f"lacks 1 weights of a Llama.*{lost}"):
        read_model(folder, "AutoModelForCausalLM", SETTING)


def test_code_that_comes_with_weights_is_not_run(untaught: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(untaught, tmp_path / "remote")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: ...\n")
    config = (folder / "config.json").read_text()
    auto = '{"auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"},'
    (folder / "config.json").write_text(
        auto + config.replace('"model_type": "llama"', '"model_type": "evil"').lstrip("{")
    )
    with pytest.raises(BadCheckpoint, match="cannot be loaded"):
        read_model(folder, "AutoModelForCausalLM", SETTING)
    assert not (tmp_path / "ran").exists()


def test_within_offline_no_library_asks_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    before = constants.HF_HUB_OFFLINE
    with offline(), pytest.raises(OfflineModeIsEnabled):
        HfApi().model_info("someone/something")
    assert before == constants.HF_HUB_OFFLINE


def test_a_gpu_that_is_not_there_is_named(untaught: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    judge = LocalJudge(use="transformers", weights=untaught, device="cuda")
    with pytest.raises(UserError, match=r"green.generator.device is 'cuda', but torch sees no GPU"):
        Green(GreenConfig(generator=judge)).judge(["a"], ["b"])
