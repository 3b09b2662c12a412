"""Some logits of SmolLM2-135M-Instruct and some states of all-MiniLM-L6-v2, on their real weights.

Reference: transformers 5.24.0 (LlamaForCausalLM, BertModel; eager attention, eval mode, float32) on torch 2.15.0
Commands:  node --import tsx scripts/fetch-models.ts
           node --import tsx scripts/golden/save_model.ts .cache/models/smollm2-135m-instruct /tmp/smollm2
           python scripts/golden/real_models.py /tmp/smollm2
Writes:    test/fixtures/real.json

SmolLM2 is read by transformers from what hedgehog wrote of its Q4_1 GGUF, so that both have the same numbers.
For each model: ids, and the first values of the result at each position.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoModelForCausalLM

torch.set_num_threads(1)
root = Path(__file__).parent.parent.parent
kept = 6


def golden(model, ids):
    with torch.no_grad():
        out = model.eval()(torch.tensor([ids]))
    rows = (out.logits if "logits" in out else out.last_hidden_state)[0]
    return {"ids": ids, "largest": rows.abs().max().item(), "rows": rows[:, :kept].tolist()}


smollm2 = AutoModelForCausalLM.from_pretrained(sys.argv[1], attn_implementation="eager", dtype=torch.float32)
minilm = AutoModel.from_pretrained(root / ".cache/models/all-minilm-l6-v2", attn_implementation="eager")
found = {
    "smollm2-135m-instruct": golden(smollm2, [504, 3575, 282, 4649, 314, 7042, 28, 284, 504, 3575, 282, 5223, 314]),
    "all-minilm-l6-v2": golden(minilm, [101, 1996, 2214, 2160, 2011, 1996, 2314, 102]),
}
(root / "test/fixtures/real.json").write_text(json.dumps(found) + "\n")
