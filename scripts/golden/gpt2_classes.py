"""What GPT2ForSequenceClassification makes of the tiny GPT-2: the class is read at the last real token.

Reference: transformers 5.24.0 (eager attention, eval mode) on torch 2.15.0, seed 0, in float64.
Command:   python scripts/golden/gpt2_classes.py
Reads:     test/fixtures/gpt2-tiny/{config.json, model.safetensors}, which gpt2.py writes
Writes:    test/fixtures/gpt2-tiny/classes.json: score [3][24], ids and lengths (padding has token 0, which is nowhere
           else), labels, logits [4][3], the mean loss, and the gradients of score.weight and of ln_f.weight
"""

import json
from pathlib import Path

import torch
import transformers
from torch.nn.functional import cross_entropy

SEED = 0
FOLDER = Path(__file__).resolve().parents[2] / "test/fixtures/gpt2-tiny"
LENGTHS, LENGTH, CLASSES = (8, 5, 1, 7), 8, 3


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    model = transformers.GPT2ForSequenceClassification.from_pretrained(
        FOLDER, num_labels=CLASSES, pad_token_id=0, attn_implementation="eager"
    ).eval()  # fmt: skip
    with torch.no_grad():
        model.score.weight.copy_(torch.randn(model.score.weight.shape, generator=generator))
    score = model.score.weight.detach().clone()
    model.double()
    ids = torch.randint(1, 61, (len(LENGTHS), LENGTH), generator=generator)
    mask = torch.tensor([[int(i < real) for i in range(LENGTH)] for real in LENGTHS])
    ids = ids * mask
    labels = torch.tensor([2, 0, 1, 1])
    logits = model(ids, attention_mask=mask).logits
    loss = cross_entropy(logits, labels)
    loss.backward()
    golden = {
        "reference": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}",
        "command": "python scripts/golden/gpt2_classes.py",
        "seed": SEED,
        "score": score.tolist(),
        "ids": ids.tolist(),
        "lengths": LENGTHS,
        "labels": labels.tolist(),
        "logits": logits.tolist(),
        "loss": loss.item(),
        "gradients": {
            "score.weight": model.score.weight.grad.tolist(),
            "ln_f.weight": model.transformer.ln_f.weight.grad.tolist(),
        },
    }
    (FOLDER / "classes.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
