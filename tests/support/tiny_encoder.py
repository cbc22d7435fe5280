"""Encoders of a few thousand random weights, with a tokenizer of words or of bytes."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel, RobertaTokenizer
from transformers import PreTrainedTokenizerFast as Fast

_FINDINGS = ["lung", "nodule", "effusion", "heart", "observed", "large", "mild"]
WORDS = [*_FINDINGS, "no", "right", "left", "was", "not", "the", "is", ".", ","]
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.4,
}


def save_bert(folder: Path, positions: int = 40, seed: int = 0) -> Path:
    """A BERT whose tokens are words; [CLS] 2, [SEP] 3, [UNK] 1, [PAD] 0."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    vocabulary = {token: i for i, token in enumerate([*special, *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(seed)
    BertModel(
        BertConfig(vocab_size=len(vocabulary), max_position_embeddings=positions, **SHAPE)
    ).save_pretrained(folder)
    Fast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=positions,
    ).save_pretrained(folder)
    return folder


def save_roberta(folder: Path, positions: int = 42, seed: int = 0) -> Path:
    """A RoBERTa on bytes; two of its positions are those of the padding, as in the real one."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {token: i for i, token in enumerate([*special, *alphabet])}
    words = RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=512)
    words._tokenizer.decoder = decoders.ByteLevel()
    torch.manual_seed(seed)
    config = RobertaConfig(
        vocab_size=len(vocabulary), max_position_embeddings=positions, pad_token_id=1, **SHAPE
    )
    RobertaModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
