"""The real Qwen2.5-VL classes in a size that a laptop trains."""

from __future__ import annotations

from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig

from ctfw_plugins.backbones.configs import RandomShape


def random_config(shape: RandomShape, tokenizer: PreTrainedTokenizerFast) -> Qwen2_5_VLConfig:
    """A `Qwen2_5_VLConfig` of this shape whose special tokens are the tokenizer's.

    The rotary sections split half a head as 2 : 3 : 3 over (time, row, column), as in the
    released models (16, 24, 24). Every vision block has full attention: at these image sizes a
    window would hold the whole slice anyway.
    """
    half = shape.hidden_size // shape.heads // 2
    row = half * 3 // 8
    token = tokenizer.convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": shape.hidden_size,
            "intermediate_size": shape.intermediate_size,
            "num_hidden_layers": shape.layers,
            "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.heads,
            "max_position_embeddings": 4096,
            "initializer_range": shape.initializer_range,
            "bos_token_id": None,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [half - 2 * row, row, row],
            },
            "tie_word_embeddings": True,
        },
        vision_config={
            "depth": shape.vision_layers,
            "hidden_size": shape.vision_hidden_size,
            "intermediate_size": shape.vision_intermediate_size,
            "num_heads": shape.vision_heads,
            "out_hidden_size": shape.hidden_size,
            "fullatt_block_indexes": list(range(shape.vision_layers)),
            "initializer_range": shape.initializer_range,
            "tokens_per_second": 2,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )
