"""Times one whole training step of GPT-2 small in PyTorch on a CPU: the number that hedgehog's own step stands beside.

12 layers, width 768, 12 heads, 50257 words, tied embeddings, batch 1, float32, no dropout: forward, cross-entropy over
all words at every position, backward, and fused AdamW. Attention is causal softmax (`sdpa`, torch's own fused kernel, or
`explicit` products) or Hedgehog's map [exp(u), exp(-u)] with a learned matrix per head, in chunks of 64 with a
cumulative sum of the chunks' states. With `--form best` all forms of that attention are timed and the fastest reported.

Command: python scripts/peers/torch_step.py --attention softmax|hedgehog [--threads 2] [--warmup 2] [--steps 3]
Prints one JSON line; peakMemoryBytes is the resident peak of the process, interpreter and libraries included.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

LAYERS, WIDTH, HEADS, VOCABULARY, CHUNK = 12, 768, 12, 50257, 64
HEAD = WIDTH // HEADS
FORMS = {"softmax": ("sdpa", "explicit"), "hedgehog": ("ones-column", "two-states")}


def explicit_softmax(q, k, v):
    scores = q @ k.mT * HEAD**-0.5
    seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    return scores.masked_fill(~seen, float("-inf")).softmax(-1) @ v


def exp_map(u, shift):
    u = torch.cat([u, -u], -1)
    return (u - shift).exp()


def chunks(x):
    b, h, l, f = x.shape
    return x.view(b, h, l // CHUNK, CHUNK, f)


def states_before(phi_k, v):
    """For each chunk, the sum of phi(k) v^T over all chunks before it."""
    states = phi_k.mT @ v
    return states.cumsum(2) - states


def linear_attention(uq, uk, v, form):
    # A factor per query and one per head on the keys cancel in the quotient: they keep exp in range.
    phi_q = chunks(exp_map(uq, uq.detach().abs().amax(-1, keepdim=True)))
    phi_k = chunks(exp_map(uk, uk.detach().abs().amax((-2, -1), keepdim=True)))
    within = (phi_q @ phi_k.mT).tril()
    if form == "ones-column":
        v = chunks(torch.cat([v, torch.ones_like(v[..., :1])], -1))
        sums = within @ v + phi_q @ states_before(phi_k, v)
        y = sums[..., :-1] / sums[..., -1:]
    else:
        v, totals = chunks(v), phi_k.sum(-2)
        before = (totals.cumsum(2) - totals).unsqueeze(-1)
        y = (within @ v + phi_q @ states_before(phi_k, v)) / (within.sum(-1, keepdim=True) + phi_q @ before)
    return y.flatten(2, 3)


class Block(nn.Module):
    def __init__(self, attention, form):
        super().__init__()
        self.attention, self.form = attention, form
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.c_attn, self.attn_proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.c_fc, self.mlp_proj = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)
        if attention == "hedgehog":
            self.wq, self.wk = (nn.Parameter(torch.eye(HEAD).repeat(HEADS, 1, 1)) for _ in range(2))

    def attend(self, q, k, v):
        if self.attention == "hedgehog":
            return linear_attention(q @ self.wq, k @ self.wk, v, self.form)
        if self.form == "sdpa":
            return F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return explicit_softmax(q, k, v)

    def forward(self, x):
        b, l, _ = x.shape
        qkv = self.c_attn(self.ln_1(x)).view(b, l, 3, HEADS, HEAD).permute(2, 0, 3, 1, 4)
        x = x + self.attn_proj(self.attend(*qkv.unbind()).transpose(1, 2).reshape(b, l, WIDTH))
        return x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, attention, form, tokens):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(tokens, WIDTH)
        self.blocks = nn.Sequential(*(Block(attention, form) for _ in range(LAYERS)))
        self.ln_f = nn.LayerNorm(WIDTH)
        for p in (p for name, p in self.named_parameters() if p.dim() == 2):
            nn.init.normal_(p, std=0.02)

    def loss(self, ids, labels):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        logits = F.linear(self.ln_f(self.blocks(x)), self.wte.weight)
        return F.cross_entropy(logits.view(-1, VOCABULARY), labels.view(-1))


def time_steps(attention, form, options):
    torch.manual_seed(0)
    model = GPT2(attention, form, options.tokens)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, fused=True)
    ids, labels = torch.randint(VOCABULARY, (2, 1, options.tokens))
    seconds, losses = [], []
    for _ in range(options.warmup + options.steps):
        start = time.perf_counter()
        loss = model.loss(ids, labels)
        loss.backward()
        if options.clip:
            nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
        losses.append(loss.item())
    return {"form": form, "seconds": seconds[options.warmup :], "losses": losses}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--attention", choices=FORMS, required=True)
    parser.add_argument("--form", default="best", help=f"one of {FORMS}, or best")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=1024, help=f"a multiple of {CHUNK}")
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--clip", type=float, default=0.0, help="clip the gradient's norm; 0 leaves it out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    forms = FORMS[options.attention] if options.form == "best" else (options.form,)
    runs = [time_steps(options.attention, form, options) for form in forms]
    best = min(runs, key=lambda run: statistics.median(run["seconds"]))
    print(
        json.dumps(
            {
                "case": f"gpt2-small/{options.attention}/{best['form']}/{options.tokens}",
                "medianSeconds": statistics.median(best["seconds"]),
                "minSeconds": min(best["seconds"]),
                "torch": torch.__version__,
                "threads": options.threads,
                "peakMemoryBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "losses": best["losses"],
                "otherForms": {run["form"]: statistics.median(run["seconds"]) for run in runs if run is not best},
            }
        )
    )


if __name__ == "__main__":
    main()
