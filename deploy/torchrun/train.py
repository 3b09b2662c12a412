"""Trains a model folder of hedgehog with synchronous gradients over any number of processes and machines, and writes one.

    torchrun --nproc_per_node 2 deploy/torchrun/train.py MODEL --data corpus.txt --out DIR
    torchrun --nnodes 4 --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint HOST:29500 deploy/torchrun/train.py …

Every process has the whole model (DDP: nccl on GPUs, gloo on CPUs). A step's batch is the same whatever the number of
processes: each takes its part of it. PyTorch, transformers and safetensors are needed.
"""

import argparse
import math
import os
import pathlib

import torch
import torch.distributed as dist
from hedgehog_model import load, save
from tokenizers import Tokenizer
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

# Sequences that are held out, at most.
HELD = 32


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model folder, converted or not")
    parser.add_argument("--data", nargs="+", required=True, help="text files; the end of the last is held out")
    parser.add_argument("--out", required=True)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=8, help="sequences of a step, of all processes together")
    parser.add_argument("--length", type=int, default=256)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--clip", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=10, help="steps between lines")
    return parser.parse_args()


def sequences(model, files, length):
    """Training and held-out sequences of length + 1 tokens."""
    tokenizer = Tokenizer.from_file(str(pathlib.Path(model) / "tokenizer.json"))
    ids = torch.tensor(tokenizer.encode("\n".join(pathlib.Path(file).read_text() for file in files)).ids)
    rows = ids[: len(ids) // (length + 1) * (length + 1)].view(-1, length + 1)
    held = min(len(rows) // 20, HELD)
    if held < 1:
        raise SystemExit(f"--data: got {len(ids)} tokens, want {20 * (length + 1)} or more, or a smaller --length")
    return rows[:-held], rows[-held:]


def loss_of(model, rows):
    logits = model(input_ids=rows[:, :-1], use_cache=False).logits
    return functional.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


def mean(value):
    """The mean over all processes."""
    total = value.detach().clone()
    dist.all_reduce(total)
    return (total / dist.get_world_size()).item()


@torch.no_grad()
def evaluate(model, rows):
    """The mean loss of sequences."""
    model.eval()
    losses = [loss_of(model, row[None]) for row in rows]
    model.train()
    return mean(torch.stack(losses).mean())


def main():
    args = options()
    cuda = torch.cuda.is_available()
    dist.init_process_group("nccl" if cuda else "gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if args.batch % world:
        raise SystemExit(f"--batch: got {args.batch}, want a multiple of the {world} processes")
    model = load(args.model).to(device)
    parallel = DistributedDataParallel(model, device_ids=[device] if cuda else None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=0.0)
    train, held = sequences(args.model, args.data, args.length)

    def share(rows):
        size = len(rows) // world
        return rows[rank * size : (rank + 1) * size]

    def tell(line):
        if rank == 0:
            print(line, flush=True)

    held = held[rank::world].to(device) if len(held) >= world else held.to(device)
    tell(f"{world} processes on {device.type}: held-out loss {evaluate(model, held):.4f}")
    for step in range(1, args.steps + 1):
        chosen = torch.randint(len(train), (args.batch,), generator=torch.Generator().manual_seed(args.seed + step))
        rate = 0.5 * (1 + math.cos(math.pi * (step - 1) / args.steps))
        for group in optimizer.param_groups:
            group["lr"] = args.lr * rate
        optimizer.zero_grad()
        loss = loss_of(parallel, share(train[chosen]).to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), args.clip)
        optimizer.step()
        if step % args.every == 0 or step in (1, args.steps):
            tell(f"step {step}: loss {mean(loss):.6f}")
    tell(f"held-out loss {evaluate(model, held):.4f}")
    if rank == 0:
        save(model, args.model, args.out)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
