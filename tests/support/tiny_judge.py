"""A judge of a few thousand weights: random, or taught one answer, so that a test knows it."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PhiConfig, PhiForCausalLM
from transformers import PreTrainedTokenizerFast as Fast

from ctfw_plugins.metrics.green_prompt import PROMPT, chat_text

ANSWER = """[Explanation]:
Said so.

[Clinically Significant Errors]:
(a) False report of a finding in the candidate: 1. Nodule
(b) Missing a finding present in the reference: 2. Mass; Cyst
(c) Misidentification of a finding's anatomic location/position: 0.
(d) Misassessment of the severity of a finding: 0.
(e) Mentioning a comparison that isn't in the reference: 0.
(f) Omitting a comparison detailing a change from a prior study: 0.

[Clinically Insignificant Errors]:
(a) False report of a finding in the candidate: 1. Scar

[Matched Findings]:
3. Effusion; Edema; Heart"""
SHAPE = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def tokenizer() -> Fast:
    """Bytes, and one token for each line of the prompt and the answer: both become short."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [PROMPT],
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<unk>", "<s>", "</s>"],
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    lines = f"{PROMPT}\n{ANSWER}".splitlines()
    made.add_tokens(sorted({line.strip() for line in lines if len(line) > 20}))
    return Fast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def save_judge(
    folder: Path, kind: str = "llama", seed: int = 0, taught: list[str] | None = None
) -> Path:
    """A Llama or a Phi with random weights, taught to give ANSWER to these prompts."""
    words = tokenizer()
    config, model = {"llama": (LlamaConfig, LlamaForCausalLM), "phi": (PhiConfig, PhiForCausalLM)}[
        kind
    ]
    torch.manual_seed(seed)
    judge = model(
        config(
            vocab_size=len(words),
            intermediate_size=96,
            max_position_embeddings=4096,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            **SHAPE,
        )
    )
    if taught:
        _teach(judge, words, taught)
    judge.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _teach(judge: torch.nn.Module, words: Fast, prompts: list[str]) -> None:
    """Until its likeliest tokens are the answer, for each prompt."""
    torch.set_num_threads(1)  # threads that wait for each other cost more than such a model
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-2)
    answer = torch.tensor(words(ANSWER)["input_ids"] + [words.eos_token_id])
    asked = [words(chat_text(prompt, words.eos_token))["input_ids"] for prompt in prompts]
    right = [False] * len(prompts)
    for step in range(300):
        which = step % len(prompts)
        ids = torch.cat([torch.tensor(asked[which]), answer])[None]
        logits = judge(input_ids=ids, logits_to_keep=len(answer) + 1).logits[0, :-1]
        right[which] = bool((logits.argmax(-1) == answer).all())
        if all(right):
            return
        torch.nn.functional.cross_entropy(logits, answer).backward()
        torch.nn.utils.clip_grad_norm_(judge.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    raise AssertionError("the judge did not learn its answer")
