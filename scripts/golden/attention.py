"""Softmax and linear attention with their gradients and the distillation loss, in float64.

Reference: plain torch 2.15.0 autograd, seed 1.
Command:   python scripts/golden/attention.py
Writes:    test/fixtures/attention.safetensors, all float64 but for keyMask (uint8)

Inputs, for b 2, h 3, l 7, s 7, d 5, dv 4:
    q [b h l d], k [b h s d], v [b h s dv], dy [b h l dv] (the gradient that comes in), keyMask [b s] (0 is padding),
    wq, wk [h d d] near the identity, bq, bk [h d] (only for `t2r`); a map sees u = x W (+ b)
Outputs, as `<map>.<mask>.<name>`:
    map   softmax-attention (the teacher: scores q.k / sqrt(d)), exp, softmax, softmax-joint, elu, relu, t2r
    mask  causal (without keyMask), bidirectional (with it)
    name  y, dq, dk, dv; dwq, dwk for learned maps, dbq, dbk for t2r: the gradients of sum(y * dy);
          weights (b h l s)
    for maps that are never zero also: loss, the mean over b, h, l of -sum_s teacher * log(student), no gradient to the
    teacher; lossDwq, lossDwk (and for t2r lossDbq, lossDbk) for learned maps; kl, the mean of KL(teacher || student)
"""

from pathlib import Path

import torch
from safetensors.torch import save_file

SEED = 1
FILE = Path(__file__).resolve().parents[2] / "test/fixtures/attention.safetensors"
B, H, L, S, D, DV = 2, 3, 7, 7, 5, 4
LEARNED = ("exp", "softmax", "softmax-joint", "t2r")
POSITIVE = ("exp", "softmax", "softmax-joint", "elu", "t2r")

MAPS = {
    "exp": lambda u: torch.cat([u.exp(), (-u).exp()], -1),
    "softmax": lambda u: torch.cat([u.softmax(-1), (-u).softmax(-1)], -1).clamp(min=1e-12),
    "softmax-joint": lambda u: torch.cat([2 * u, -2 * u], -1).softmax(-1),
    "elu": lambda u: 1 + torch.nn.functional.elu(u),
    "relu": torch.relu,
    "t2r": torch.relu,
}


def inputs():
    generator = torch.Generator().manual_seed(SEED)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    key_mask = torch.ones(B, S, dtype=torch.bool)
    key_mask[1, 5:] = False
    return {
        "q": normal(B, H, L, D) + 0.5,
        "k": normal(B, H, S, D) + 0.5,
        "v": normal(B, H, S, DV),
        "dy": normal(B, H, L, DV),
        "keyMask": key_mask,
        "wq": torch.eye(D, dtype=torch.float64) + 0.1 * normal(H, D, D),
        "wk": torch.eye(D, dtype=torch.float64) + 0.1 * normal(H, D, D),
        "bq": 0.8 + 0.1 * normal(H, D),
        "bk": 0.8 + 0.1 * normal(H, D),
    }


def allowed(mask, given):
    if mask == "causal":
        return torch.ones(L, S, dtype=torch.bool).tril()
    return given["keyMask"][:, None, None, :]


def student_weights(name, x, seen):
    q, k = x["q"], x["k"]
    if name in LEARNED:
        q, k = q @ x["wq"], k @ x["wk"]
    if name == "t2r":
        q, k = q + x["bq"][:, None], k + x["bk"][:, None]
    products = (MAPS[name](q) @ MAPS[name](k).mT) * seen
    total = products.sum(-1, keepdim=True)
    assert total.min() > 1e-3, f"{name}: a query without any weight; take another seed"
    return products / total


def teacher_weights(x, seen):
    return (x["q"] @ x["k"].mT / D**0.5).masked_fill(~seen, float("-inf")).softmax(-1)


def learned(name):
    return ("wq", "wk", "bq", "bk") if name == "t2r" else ("wq", "wk") if name in LEARNED else ()


def gradients(value, leaves):
    return [g.contiguous() for g in torch.autograd.grad(value, leaves, retain_graph=True)]


def outputs(name, mask, given):
    x = {key: t.clone().requires_grad_() if t.is_floating_point() else t for key, t in given.items()}
    seen = allowed(mask, given)
    teacher = teacher_weights(x, seen)
    weights = teacher if name == "softmax-attention" else student_weights(name, x, seen)
    y = weights @ x["v"]
    names = ("q", "k", "v", *learned(name))
    out = {"y": y, "weights": weights}
    out |= dict(zip([f"d{n}" for n in names], gradients((y * x["dy"]).sum(), [x[n] for n in names])))
    if name in POSITIVE:
        teacher = teacher.detach()
        # A key that may not be seen has weight 0 in both, and 0 log 0 = 0 with gradient 0.
        log_student = weights.masked_fill(~seen, 1).log()
        loss = -(teacher * log_student).sum(-1).mean()
        out["loss"] = loss
        out["kl"] = loss + torch.xlogy(teacher, teacher).sum(-1).mean()
        if learned(name):
            leaves = [x[n] for n in learned(name)]
            out |= dict(zip([f"lossD{n}" for n in learned(name)], gradients(loss, leaves)))
    return {f"{name}.{mask}.{key}": t.detach().contiguous() for key, t in out.items()}


def main():
    torch.set_num_threads(1)
    given = inputs()
    tensors = {key: t.to(torch.uint8) if t.dtype == torch.bool else t for key, t in given.items()}
    for name in ("softmax-attention", *MAPS):
        for mask in ("causal", "bidirectional"):
            tensors |= outputs(name, mask, given)
    assert all(t.isfinite().all() for t in tensors.values() if t.is_floating_point())
    save_file(tensors, FILE)
    FILE.chmod(0o644)


if __name__ == "__main__":
    main()
