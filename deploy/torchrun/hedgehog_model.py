"""A model folder of hedgehog as a model of transformers in PyTorch, and back: parameters keep their names.

A folder without converted layers is what transformers loads by itself. In converted ones the attention of each linear layer is
exchanged for the one below: Hedgehog's feature maps, and causal linear attention in chunks, in PyTorch's own operators.
"""

import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

CHUNK = 64


def exponential(u, shared):
    # A factor that a query's features share, or all keys', cancels in the normalisation, and keeps them in range.
    low = u.abs().amax(shared, keepdim=True).detach()
    return torch.cat([u - low, -u - low], -1).exp()


def mirrored_softmax(u, _shared):
    return torch.cat([u.softmax(-1), (-u).softmax(-1)], -1).clamp(min=1e-12)


def joint_softmax(u, _shared):
    return (2 * torch.cat([u, -u], -1)).softmax(-1)


# By the name of the map, before its variants (+half, +bias, +tied), which are in the shapes of its parameters.
MAPS = {
    "hedgehog-exp": exponential,
    "hedgehog-softmax": mirrored_softmax,
    "hedgehog-softmax-joint": joint_softmax,
}


class FeatureMap(nn.Module):
    """x (b h l d) -> features (b h l f), with a projection per head, or one for all."""

    def __init__(self, activate, stored):
        super().__init__()
        self.activate = activate
        for name, values in stored.items():
            self.register_parameter(name, nn.Parameter(torch.empty_like(values)))

    def forward(self, x, shared):
        u = x @ self.weight
        if "bias" in self._parameters:
            u = u + self.bias.unsqueeze(-2)
        return self.activate(u, shared)


def linear_attention(q, k, v):
    """Features (b h l f), (b h l f) and values (b h l d) -> (b h l d); the work grows with the length, not its square."""
    length = q.shape[-2]
    v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    q, k, v = (functional.pad(x, (0, 0, 0, -length % CHUNK)).unflatten(-2, (-1, CHUNK)) for x in (q, k, v))
    sums = k.mT @ v
    before = sums.cumsum(-3) - sums
    both = ((q @ k.mT).tril() @ v + q @ before).flatten(-3, -2)[..., :length, :]
    return both[..., :-1] / both[..., -1:].clamp(min=1e-30)


def attend(module, query, key, value, *_args, **_options):
    """What transformers calls in place of its attention."""
    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, 1) for x in (key, value))
    maps = getattr(module, "feature_map_q", None)
    if maps is None:
        out = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    else:
        keys = getattr(module, "feature_map_k", maps)
        out = linear_attention(maps(query, (-1,)), keys(key, (-1, -2)), value)
    return out.transpose(1, 2), None


def read_tensors(folder):
    index = folder / "model.safetensors.index.json"
    if not index.exists():
        return load_file(folder / "model.safetensors")
    files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    return {name: values for file in files for name, values in load_file(folder / file).items()}


def add_maps(model, plans, tensors):
    """Puts the feature maps of linear layers into their attention modules, under the names that they are stored by."""
    for layer, plan in enumerate(plans):
        if plan["kind"] == "softmax":
            continue
        base = plan.get("map", "").split("+")[0]
        if plan["kind"] != "linear" or base not in MAPS:
            raise ValueError(f"layer {layer}: got attention {plan}, want softmax or linear with one of {', '.join(MAPS)}")
        for side in ("feature_map_q", "feature_map_k"):
            found = {name: values for name, values in tensors.items() if f".{layer}." in name and f".{side}." in name}
            if not found:
                continue
            path = next(iter(found)).split(f".{side}.")[0]
            stored = {name.rsplit(".", 1)[1]: values for name, values in found.items()}
            model.get_submodule(path).add_module(side, FeatureMap(MAPS[base], stored))


def load(folder):
    """The model of a folder, in float32."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    tensors = {name: values.float() for name, values in read_tensors(folder).items()}
    family = config.pop("model_type").removeprefix("hedgehog_")
    converted = config.pop("hedgehog", {})
    if "adapter" in converted:
        raise ValueError(f"{folder}: has an adapter beside its weights; merge it first (hedgehog merge)")
    config.pop("architectures", None)
    plans = converted.get("attention", [])
    ALL_ATTENTION_FUNCTIONS.register("hedgehog", attend)
    own = transformers.AutoConfig.for_model(family, **config)
    attention = "hedgehog" if plans else "sdpa"
    model = transformers.AutoModelForCausalLM.from_config(own, attn_implementation=attention, dtype=torch.float32)
    add_maps(model, plans, tensors)
    missing, unknown = model.load_state_dict(tensors, strict=False)
    tied = {"lm_head.weight"} if own.tie_word_embeddings else set()
    if set(missing) - tied or unknown:
        raise ValueError(f"{folder}: missing {missing}, not of this model {unknown}")
    model.tie_weights()
    return model


def save(model, source, out):
    """Writes the parameters that the source has, beside its config and tokenizer: a folder that hedgehog reads."""
    source, out = pathlib.Path(source), pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    state = model.state_dict()
    names = read_tensors(source).keys()
    tensors = {name: state[name].detach().cpu().contiguous().clone() for name in names}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    for pattern in ("tokenizer*", "generation_config.json", "chat_template.jinja", "config.json"):
        for file in source.glob(pattern):
            shutil.copy(file, out / file.name)
