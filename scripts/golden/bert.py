"""Tiny random BERTs as Hugging Face folders, and everything a reimplementation of them must reproduce.

Reference: transformers 5.24.0 (BertForMaskedLM, BertForSequenceClassification, eager attention, eval mode) on
           torch 2.15.0, seed 0.
Command:   python scripts/golden/bert.py
Writes:    test/fixtures/bert-tiny/{config.json, model.safetensors, golden.safetensors, golden.json}: masked language
           test/fixtures/bert-tiny-classes/{...}: the same, 3 classes

The weights are float32. The reference runs in float64, and its tensors are rounded to float32 once, at the end. Keys
of golden.safetensors (paths without `bert.`):

    ids, types, keyMask [3, 13]      int32; 13, 9 and 5 real tokens, the rest is padding with random ids
    labels              [3, 13]      int32, -100 where nothing was masked; of the classes [3]
    logits              [3, 13, 61]  of the classes [3, 3]
    hidden.0 ... 2      [3, 13, 24]  the embedding, the output of block 0, the output of block 1 (classes only)
    grad.<path>                      of the mean cross-entropy over counted labels

golden.json: the loss; of the masked language model also the mean of each sequence's logits for other activations; of
the classes also the loss of a regression: the squared error of class 0's logits and the targets.
"""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, mse_loss

SEED = 0
FIXTURES = Path(__file__).resolve().parents[2] / "test/fixtures"
VOCAB, LENGTHS, LENGTH, CLASSES = 61, (13, 9, 5), 13, 3
TARGETS = (0.5, -1.25, 2.0)


def tiny_model(kind, generator, **options):
    config = transformers.BertConfig(
        num_hidden_layers=2, num_attention_heads=3, hidden_size=24, intermediate_size=40, vocab_size=VOCAB,
        max_position_embeddings=16, type_vocab_size=2, pad_token_id=0, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, attn_implementation="eager", **options,
    )  # fmt: skip
    model = kind(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            norm_weight = "LayerNorm" in name and name.endswith("weight")
            # 0.3 instead of BERT's 0.02: attention of a tiny model would be flat, and hide mistakes.
            parameter.copy_(1 + 0.2 * noise if norm_weight else 0.3 * noise)
    return model


def float32(tensor):
    return tensor.detach().to(torch.float32).contiguous().clone()


def int32(tensor):
    return tensor.to(torch.int32)


def inputs_of(generator):
    # Without 0: torch takes the row of the padding token out of the gradient.
    ids = torch.randint(1, VOCAB, (len(LENGTHS), LENGTH), generator=generator)
    types = torch.randint(2, ids.shape, generator=generator)
    mask = torch.tensor([[int(i < real) for i in range(LENGTH)] for real in LENGTHS])
    return dict(input_ids=ids, token_type_ids=types, attention_mask=mask)


def gradients(model):
    return {f"grad.{name.removeprefix('bert.')}": float32(p.grad) for name, p in model.named_parameters()}


def write(folder, inputs, tensors, golden):
    named = zip(("ids", "types", "keyMask"), inputs.values(), strict=True)
    save_file({name: int32(value) for name, value in named} | tensors, folder / "golden.safetensors")
    versions = f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}"
    head = {"reference": versions, "command": "python scripts/golden/bert.py", "seed": SEED}
    (folder / "golden.json").write_text(json.dumps(head | golden, indent=2) + "\n")


def masked_language(generator):
    folder = FIXTURES / "bert-tiny"
    model = tiny_model(transformers.BertForMaskedLM, generator)
    model.save_pretrained(folder)
    inputs = inputs_of(generator)
    labels = torch.randint(VOCAB, inputs["input_ids"].shape, generator=generator)
    counted = (torch.rand(labels.shape, generator=generator) < 0.3) & (inputs["attention_mask"] == 1)
    labels = torch.where(counted, labels, -100)
    model.double()
    logits = model(**inputs).logits
    loss = cross_entropy(logits.flatten(0, 1), labels.flatten())
    loss.backward()
    means = {}
    for activation in ("gelu_new", "relu"):
        model.config.hidden_act = activation
        other = transformers.BertForMaskedLM(model.config).eval().double()
        other.load_state_dict(model.state_dict())
        real = inputs["attention_mask"].unsqueeze(-1)
        means[activation] = [float(x) for x in (other(**inputs).logits.detach() * real).mean((1, 2))]
    tensors = {"labels": int32(labels), "logits": float32(logits)} | gradients(model)
    write(folder, inputs, tensors, {"loss": loss.item(), "logitMeans": means})


def classes(generator):
    folder = FIXTURES / "bert-tiny-classes"
    model = tiny_model(transformers.BertForSequenceClassification, generator, num_labels=CLASSES)
    model.save_pretrained(folder)
    inputs = inputs_of(generator)
    labels = torch.tensor([2, 0, 1])
    model.double()
    out = model(**inputs, output_hidden_states=True)
    loss = cross_entropy(out.logits, labels)
    loss.backward()
    tensors = {"labels": int32(labels), "logits": float32(out.logits)} | gradients(model)
    tensors |= {f"hidden.{i}": float32(hidden) for i, hidden in enumerate(out.hidden_states)}
    regression = mse_loss(out.logits[:, 0], torch.tensor(TARGETS, dtype=torch.float64))
    write(folder, inputs, tensors, {"loss": loss.item(), "targets": TARGETS, "regressionLoss": regression.item()})


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    masked_language(generator)
    classes(generator)


if __name__ == "__main__":
    main()
