"""Runs an export of a GPT-2 in Python's onnxruntime and compares its logits with those of torch.

The reference is GPT-2 of `transformers` with the checkpoint's own weights; for a converted model its attention is exchanged
for Hedgehog's, written out here: all weights of a text at once, in float64. The export reads each text in pieces, one
sequence and several, from its zero state on.

Commands:
  npx hedgehog export CHECKPOINT --to onnx --out EXPORT [--dtype int8] [--attention decomposed]
  python scripts/peers/onnx_export.py CHECKPOINT EXPORT
Prints one JSON line: the largest difference of a logit by the largest logit, KL in nats, whether the likeliest tokens agree.
"""

import argparse
import json
import pathlib

import numpy as np
import onnxruntime
import torch
import transformers
from safetensors.torch import load_file
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

TEXTS = ((1, (1, 1, 1)), (1, (40, 1, 1, 7)), (3, (9, 1, 5)))


def features(name, u):
    if name == "hedgehog-exp":
        return torch.cat([u, -u], -1).exp()
    return torch.cat([u.softmax(-1), (-u).softmax(-1)], -1).clamp(min=1e-12)


def hedgehog(module, query, key, value, *_args, **_kwargs):
    name, q_map, k_map = module.hedgehog
    scores = features(name, query @ q_map) @ features(name, key @ k_map).mT
    scores = scores.tril()
    out = scores / scores.sum(-1, keepdim=True) @ value
    return out.transpose(1, 2), None


def reference(folder):
    config = json.loads((folder / "config.json").read_text())
    plans = config.get("hedgehog", {}).get("attention", [])
    stored = load_file(folder / "model.safetensors")
    weights = {"transformer." + key.removeprefix("transformer."): value for key, value in stored.items()}
    known = {key: value for key, value in config.items() if key not in ("hedgehog", "model_type", "architectures")}
    own = transformers.GPT2Config(**known, attn_implementation="hedgehog" if plans else "eager")
    ALL_ATTENTION_FUNCTIONS.register("hedgehog", hedgehog)
    model = transformers.GPT2LMHeadModel(own).eval().double()
    rest = {key: value.double() for key, value in weights.items() if "feature_map" not in key}
    missing, unknown = model.load_state_dict(rest, strict=False)
    assert missing == ["lm_head.weight"] and not unknown, (missing, unknown)
    model.tie_weights()
    for layer, plan in enumerate(plans):
        maps = [weights[f"transformer.h.{layer}.attn.feature_map_{side}.weight"].double() for side in "qk"]
        model.transformer.h[layer].attn.hedgehog = (plan["map"], *maps)
    return model


def zeros(session, batch):
    def array(info):
        shape = [batch if size == "batch_size" else 0 if isinstance(size, str) else size for size in info.shape]
        return np.zeros(shape, np.int32 if "int32" in info.type else np.float32)

    return {info.name: array(info) for info in session.get_inputs() if info.name.startswith("past.")}


def exported(session, ids, pieces):
    names = [info.name for info in session.get_outputs()]
    state, found, read = zeros(session, len(ids)), [], 0
    for size in pieces:
        feeds = {"ids": ids[:, read : read + size].astype(np.int32), "num_logits_to_keep": np.array(0, np.int64), **state}
        results = dict(zip(names, session.run(None, feeds)))
        found.append(results.pop("logits"))
        state = {name.replace("next.", "past."): value for name, value in results.items()}
        read += size
    return np.concatenate(found, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("export", type=pathlib.Path)
    args = parser.parse_args()
    session = onnxruntime.InferenceSession(args.export / "model.onnx", providers=["CPUExecutionProvider"])
    model = reference(args.checkpoint)
    rng = np.random.default_rng(0)
    largest = difference = kl = rows = agreed = 0.0
    for batch, pieces in TEXTS:
        ids = rng.integers(0, model.config.vocab_size, (batch, sum(pieces)))
        with torch.no_grad():
            want = model(torch.tensor(ids)).logits.numpy()
        got = exported(session, ids, pieces)
        largest, difference = max(largest, np.abs(want).max()), max(difference, np.abs(want - got).max())
        a, b = (torch.tensor(x, dtype=torch.float64).log_softmax(-1) for x in (want, got))
        kl += (a.exp() * (a - b)).sum().item()
        agreed += (want.argmax(-1) == got.argmax(-1)).sum()
        rows += want[..., 0].size
    versions = {"onnxruntime": onnxruntime.__version__, "transformers": transformers.__version__}
    print(json.dumps({"logits": difference / largest, "kl": kl / rows, "agree": agreed / rows, "versions": versions}))


main()
