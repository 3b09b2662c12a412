"""Logits of model folders by deploy/torchrun/hedgehog_model.py beside those that hedgehog wrote into them.

    python scripts/peers/model_logits.py FOLDER…
A folder has ids.bin (int32, two sequences) and logits.bin (float32). Prints a JSON line for each: the largest difference of a
logit by the largest logit.
"""

import json
import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "deploy" / "torchrun"))
from hedgehog_model import load  # noqa: E402

for folder in map(pathlib.Path, sys.argv[1:]):
    ids = torch.from_numpy(np.fromfile(folder / "ids.bin", np.int32).reshape(2, -1).astype(np.int64))
    want = np.fromfile(folder / "logits.bin", np.float32).reshape(*ids.shape, -1)
    with torch.no_grad():
        got = load(folder).eval()(input_ids=ids, use_cache=False).logits.numpy()
    print(json.dumps({"model": folder.name, "logits": float(abs(got - want).max() / abs(want).max())}), flush=True)
