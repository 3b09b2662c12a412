"""A tiny random GPT-2 as a Hugging Face folder, and everything a reimplementation of it must reproduce.

Reference: transformers 5.23.0 (GPT2LMHeadModel, eager attention, eval mode) on torch 2.15.0, seed 0.
Command:   python scripts/golden/gpt2.py
Writes:    test/fixtures/gpt2-tiny/{config.json, model.safetensors, tokenizer.json, golden.safetensors, golden.json}

The weights are float32. The reference runs in float64, and its tensors are rounded to float32 once, at the end, so the
golden values are as near to the truth as float32 can be. Keys of golden.safetensors (paths without `transformer.`):

    ids, labels         [2, 17]      int32; labels[t] is the target of logits[t]: nothing is shifted
    logits              [2, 17, 61]
    hidden.0 ... 2      [2, 17, 24]  the input of block 0, the input of block 1, the output of ln_f (not of block 1)
    attention.0         [2, 3, 17, 17]
    grad.<path>                      of the mean cross-entropy; grad.wte.weight has both uses, embedding and head

golden.json: the loss, ten training losses (each before its update, so the first is `loss`) with the gradient norms
before clipping (clip_grad_norm_ multiplies by min(1, max_norm / (norm + 1e-6))), the settings of the optimizer, whose
decay is on every parameter, and one text with its token ids.
"""

import json
import re
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy

SEED = 0
FOLDER = Path(__file__).resolve().parents[2] / "test/fixtures/gpt2-tiny"
BATCH, LENGTH, STEPS, CLIP = 2, 17, 10, 1.0
ADAMW = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
TEXT = "the hedgehog has many small spines, and so has its attention. the rest of the weights are near zero.\n"


def tiny_model(generator):
    config = transformers.GPT2Config(
        n_layer=2, n_head=3, n_embd=24, vocab_size=61, n_positions=32, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, attn_implementation="eager",
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            norm_weight = ".ln_" in name and name.endswith("weight")
            # 0.2 instead of GPT-2's 0.02: attention of a tiny model would be flat, and hide mistakes.
            parameter.copy_(1 + 0.2 * noise if norm_weight else 0.2 * noise)
    return model


def tiny_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=61, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    assert tokenizer.get_vocab_size() == 61
    return tokenizer


def path_of(name):
    return name.removeprefix("transformer.")


def float32(tensor):
    return tensor.detach().to(torch.float32).contiguous().clone()


def train(model, ids, labels):
    optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = cross_entropy(model(ids).logits.flatten(0, 1), labels.flatten())
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP).item())
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    model, tokenizer = tiny_model(generator), tiny_tokenizer()
    model.save_pretrained(FOLDER)
    tokenizer.save(str(FOLDER / "tokenizer.json"))

    ids, labels = (torch.randint(61, (BATCH, LENGTH), generator=generator) for _ in range(2))
    model.double()
    out = model(ids, output_hidden_states=True, output_attentions=True)
    loss = cross_entropy(out.logits.flatten(0, 1), labels.flatten())
    loss.backward()
    tensors = {"ids": ids.to(torch.int32), "labels": labels.to(torch.int32), "logits": float32(out.logits)}
    tensors |= {f"hidden.{i}": float32(hidden) for i, hidden in enumerate(out.hidden_states)}
    tensors["attention.0"] = float32(out.attentions[0])
    tensors |= {f"grad.{path_of(name)}": float32(p.grad) for name, p in model.named_parameters()}
    save_file(tensors, FOLDER / "golden.safetensors")

    losses, norms = train(model, ids, labels)
    weights = out.attentions[0]
    golden = {
        "reference": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}",
        "command": "python scripts/golden/gpt2.py",
        "seed": SEED,
        "loss": loss.item(),
        "training": {
            "optimizer": "AdamW",
            **ADAMW,
            "clip_grad_norm": CLIP,
            "losses": losses,
            "gradientNorms": norms,
        },
        "meanAttentionEntropy": -torch.xlogy(weights, weights).sum(-1).mean().item(),
        "tokenizer": {"text": TEXT, "ids": tokenizer.encode(TEXT).ids},
    }
    lists_on_one_line = re.sub(r"\[[^]]*]", lambda m: " ".join(m[0].split()), json.dumps(golden, indent=2))
    (FOLDER / "golden.json").write_text(lists_on_one_line + "\n")


if __name__ == "__main__":
    main()
