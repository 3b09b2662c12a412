"""Runs lm-evaluation-harness against `hedgehog serve`: ln p of whole documents through its local-completions model.

    python scripts/peers/lm_eval.py --url http://127.0.0.1:8080 --model NAME --tokenizer FOLDER --documents FILE.jsonl

Needs lm-eval (run with 0.4.9). FILE has {"text": …} on each line. Prints the harness's metrics as one line of JSON.
"""

import argparse
import json
import os
import sys
import tempfile
import types

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
# This file must not be found in place of the package that it is named after.
sys.path = [path for path in sys.path if os.path.abspath(path or ".") != os.path.dirname(os.path.abspath(__file__))]

# A model class of lm-eval 0.4.9 asks for a name that transformers 5 no longer has; nothing here uses that class.
sys.modules["lm_eval.models.hf_vlms"] = types.ModuleType("lm_eval.models.hf_vlms")

import lm_eval  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

parser = argparse.ArgumentParser()
for name in ("url", "model", "tokenizer", "documents"):
    parser.add_argument(f"--{name}", required=True)
parser.add_argument("--length", type=int, default=256)
options = parser.parse_args()

task = {
    "task": "documents",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": options.documents}},
    "test_split": "test",
    "output_type": "loglikelihood_rolling",
    "doc_to_text": "",
    "doc_to_target": "{{text}}",
    "metric_list": [{"metric": name} for name in ("word_perplexity", "byte_perplexity", "bits_per_byte")],
    "metadata": {"version": 1},
}
arguments = {
    "model": options.model,
    "base_url": f"{options.url}/v1/completions",
    "tokenizer": options.tokenizer,
    "tokenizer_backend": "huggingface",
    "max_length": options.length,
    "num_concurrent": 4,
    "max_retries": 1,
}
with tempfile.TemporaryDirectory() as folder:
    # JSON is YAML too.
    with open(os.path.join(folder, "documents.yaml"), "w") as file:
        json.dump(task, file)
    manager = TaskManager(include_path=folder, include_defaults=False)
    found = lm_eval.simple_evaluate(
        model="local-completions", model_args=arguments, tasks=["documents"], task_manager=manager, bootstrap_iters=0
    )
print(json.dumps({name.split(",")[0]: value for name, value in found["results"]["documents"].items()}, default=str))
