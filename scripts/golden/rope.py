"""Inverse frequencies of rotary position embedding for every scaling that hedgehog reads from a config.json.

Reference: transformers 5.24.0 (ROPE_INIT_FUNCTIONS, and Llama's default) on torch 2.15.0; nothing is random.
Command:   python scripts/golden/rope.py
Writes:    test/fixtures/rope.json

The reference computes in torch.float; here that name stands for float64, so the values are exact to 1e-15. Each case
has the keys of a config.json as some checkpoint writes them, the length of the text that frequencies are asked for, and
what the reference makes of it: `frequencies` (dim/2), `attentionFactor`.
"""

import json
import re
from pathlib import Path
from unittest.mock import patch

import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

FILE = Path(__file__).resolve().parents[2] / "test/fixtures/rope.json"
SIZES = dict(hidden_size=48, num_attention_heads=3, max_position_embeddings=2048)
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=512)  # fmt: skip
YARN = dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=512)

CASES = {
    "default": dict(),
    "default, theta beside": dict(rope_theta=100000.0),
    "default, theta inside": dict(rope_parameters=dict(rope_type="default", rope_theta=500000.0)),
    "default, null scaling": dict(rope_theta=1000000.0, rope_scaling=None),
    "head dimension given": dict(head_dim=10, rope_theta=5000.0),
    "linear, type": dict(rope_scaling=dict(type="linear", factor=2.5)),
    "linear, rope_type": dict(rope_theta=50000.0, rope_scaling=dict(rope_type="linear", factor=4.0)),
    "linear, part of the head": dict(rope_parameters=dict(rope_type="linear", factor=4.0, partial_rotary_factor=0.5)),
    "linear, part of the head, beside": dict(partial_rotary_factor=0.4, rope_scaling=dict(type="linear", factor=3.0)),
    "dynamic, short text": dict(rope_scaling=dict(type="dynamic", factor=2.0), length=17),
    "dynamic, text as long as the model": dict(rope_scaling=dict(type="dynamic", factor=2.0), length=2048),
    "dynamic, longer text": dict(rope_scaling=dict(type="dynamic", factor=2.0), length=5000),
    "dynamic, longest text": dict(rope_parameters=dict(rope_type="dynamic", factor=8.0, rope_theta=20000.0), length=40000),
    "llama3": dict(rope_theta=500000.0, rope_scaling=LLAMA3),
    "llama3, new keys": dict(rope_parameters=dict(LLAMA3, rope_theta=10000.0, factor=32.0)),
    "yarn": dict(rope_scaling=YARN),
    "yarn, original length beside": dict(rope_scaling=dict(type="yarn", factor=16.0), original_max_position_embeddings=128),
    "yarn, original length not said": dict(rope_theta=1000000.0, rope_scaling=dict(type="yarn", factor=4.0)),
    "yarn, attention factor": dict(rope_scaling=dict(YARN, attention_factor=0.7)),
    "yarn, mscale": dict(rope_scaling=dict(YARN, mscale=0.8, mscale_all_dim=0.5)),
    "yarn, mscale alone": dict(rope_scaling=dict(YARN, mscale=0.8)),
    "yarn, betas": dict(rope_parameters=dict(YARN, rope_theta=150000.0, beta_fast=16, beta_slow=2)),
    "yarn, not truncated": dict(rope_parameters=dict(YARN, rope_theta=150000.0, truncate=False)),
    "yarn, no factor": dict(rope_parameters=dict(YARN, rope_theta=10000.0, factor=None)),
    "yarn, part of the head": dict(rope_parameters=dict(YARN, rope_theta=10000.0, partial_rotary_factor=0.5)),
}


def reference(keys):
    keys = dict(keys)
    length = keys.pop("length", None)
    config = transformers.LlamaConfig(**SIZES, **json.loads(json.dumps(keys)))
    kind = config.rope_parameters["rope_type"]
    with patch.object(torch, "float", torch.float64), patch.object(torch, "float32", torch.float64):
        if kind == "default":
            frequencies, factor = LlamaRotaryEmbedding.compute_default_rope_parameters(config)
        else:
            frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu", seq_len=length)
    assert frequencies.dtype == torch.float64
    return {"type": kind, "length": length or 1, "frequencies": frequencies.tolist(), "attentionFactor": factor}


def main():
    golden = {
        "reference": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}",
        "command": "python scripts/golden/rope.py",
        "cases": [
            {"name": name, "config": SIZES | {key: value for key, value in keys.items() if key != "length"}}
            | reference(keys)
            for name, keys in CASES.items()
        ],
    }
    lists_on_one_line = re.sub(r"\[[^][{}]*]", lambda m: " ".join(m[0].split()), json.dumps(golden, indent=1))
    FILE.write_text(lists_on_one_line + "\n")


if __name__ == "__main__":
    main()
