"""Tiny random Llama, Mistral and Qwen2 models as Hugging Face folders, with logits, loss and every gradient.

Reference: transformers 5.24.0 (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM; eager attention, eval mode) on
           torch 2.15.0, seed 0.
Command:   python scripts/golden/llama.py
Writes:    test/fixtures/{llama,mistral,qwen2}-tiny/{config.json, model.safetensors, golden.safetensors, golden.json}

The weights are float32. The reference runs in float64, rotary tables too, and its tensors are rounded to float32 once, at
the end. Each model has other sizes, so that swapped axes show: grouped keys in all of them, head dimensions other than
width / heads, tied and untied heads, biases on all projections (llama), on q, k and v (qwen2) or none (mistral), scaled
rotary frequencies (llama), windows shorter than the text in all layers (mistral) or the second (qwen2). Keys of golden.safetensors:

    ids, labels    [2, 17]        int32; labels[t] is the target of logits[t]: nothing is shifted
    logits         [2, 17, v]
    hidden.0 … 2   [2, 17, e]     the input of block 0, the input of block 1, the output of the last norm
    grad.<path>                   of the mean cross-entropy, by the name that the checkpoint has

golden.json: the loss.

    python scripts/golden/llama.py --check FOLDER FIXTURE

loads a folder that hedgehog wrote, e.g. test/fixtures/llama-tiny read and saved again, as transformers does, and prints
by how much its logits differ from those in FIXTURE.
"""

import json
import sys
from pathlib import Path
from unittest.mock import patch

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy

SEED = 0
FIXTURES = Path(__file__).resolve().parents[2] / "test/fixtures"
BATCH, LENGTH = 2, 17
SHARED = dict(num_hidden_layers=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=1, attn_implementation="eager")
LLAMA3 = dict(rope_type="llama3", rope_theta=1000.0, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=16)  # fmt: skip

CONFIGS = {
    "llama": transformers.LlamaConfig(
        **SHARED, hidden_size=20, num_attention_heads=4, num_key_value_heads=2, head_dim=6, intermediate_size=28,
        vocab_size=37, tie_word_embeddings=True, attention_bias=True, mlp_bias=True, rms_norm_eps=1e-5,
        rope_parameters=LLAMA3,
    ),
    "mistral": transformers.MistralConfig(
        **SHARED, hidden_size=18, num_attention_heads=6, num_key_value_heads=2, head_dim=4, intermediate_size=26,
        vocab_size=31, sliding_window=7, rms_norm_eps=1e-6,
    ),
    "qwen2": transformers.Qwen2Config(
        **SHARED, hidden_size=16, num_attention_heads=2, num_key_value_heads=1, intermediate_size=22, vocab_size=29,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0), use_sliding_window=True, sliding_window=9,
        max_window_layers=1,
    ),
}  # fmt: skip


def float32(tensor):
    return tensor.detach().to(torch.float32).contiguous().clone()


def tiny_model(config, generator):
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            # 0.3 instead of 0.02: attention of a tiny model would be flat, and hide mistakes.
            parameter.copy_(1 + 0.3 * noise if "norm" in name else 0.3 * noise)
    return model


def in_double(model):
    """The model with rotary frequencies and tables in float64, which the reference computes in float32 whatever it is told."""
    model.double()
    with patch.object(torch, "float", torch.float64), patch.object(torch, "float32", torch.float64):
        model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    return model


def forward(model, ids):
    to_float = patch.object(torch.Tensor, "float", torch.Tensor.double)
    with to_float, patch.object(torch, "float", torch.float64), patch.object(torch, "float32", torch.float64):
        return model(ids, output_hidden_states=True)


def write(name, config):
    folder = FIXTURES / f"{name}-tiny"
    generator = torch.Generator().manual_seed(SEED)
    model = tiny_model(config, generator)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids, labels = (torch.randint(config.vocab_size, (BATCH, LENGTH), generator=generator) for _ in range(2))
    out = forward(in_double(model), ids)
    assert out.logits.dtype == torch.float64
    loss = cross_entropy(out.logits.flatten(0, 1), labels.flatten())
    loss.backward()
    tensors = {"ids": ids.to(torch.int32), "labels": labels.to(torch.int32), "logits": float32(out.logits)}
    tensors |= {f"hidden.{i}": float32(hidden) for i, hidden in enumerate(out.hidden_states)}
    tensors |= {f"grad.{name}": float32(parameter.grad) for name, parameter in model.named_parameters()}
    save_file(tensors, folder / "golden.safetensors")
    golden = {
        "reference": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}",
        "command": "python scripts/golden/llama.py",
        "seed": SEED,
        "loss": loss.item(),
    }
    (folder / "golden.json").write_text(json.dumps(golden, indent=2) + "\n")


def check(folder, fixture):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    faults = {key: sorted(found) for key, found in info.items() if found}
    if faults:
        sys.exit(f"{folder}: {faults}")
    golden = load_file(Path(fixture) / "golden.safetensors")
    with torch.no_grad():
        logits = model.eval()(golden["ids"].long()).logits
    print(f"{type(model).__name__}: logits differ by at most {(logits - golden['logits']).abs().max().item():.1e}")


def main():
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--check"]:
        return check(*sys.argv[2:])
    for name, config in CONFIGS.items():
        write(name, config)


if __name__ == "__main__":
    main()
