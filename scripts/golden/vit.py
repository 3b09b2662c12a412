"""A tiny random ViT as a Hugging Face folder, and everything a reimplementation of it must reproduce.

Reference: transformers 5.24.0 (ViTForImageClassification, eager attention, eval mode) on torch 2.15.0, seed 0.
Command:   python scripts/golden/vit.py
Writes:    test/fixtures/vit-tiny/{config.json, model.safetensors, golden.safetensors, golden.json}

The weights are float32. The reference runs in float64, and its tensors are rounded to float32 once, at the end. Keys
of golden.safetensors (paths as in model.safetensors, without `vit.`):

    pixels              [3, 3, 12, 12]  b, channel, row, column
    labels              [3]             int32
    logits              [3, 5]
    hidden.0 ... 2      [3, 10, 24]     the embedding, the outputs of the blocks (hidden.2 not normalised)
    grad.<path>                         of the mean cross-entropy
    positions           [1, 26, 24]     position embeddings interpolated for 20 x 20 pixels
    large, largeLogits  [1, 3, 20, 20], [1, 5]
    picture             [17, 23, 3]     uint8, what picture.png holds
    resized.<name>      [height, width, 3] uint8, by torch's interpolate with antialias, as the image processor does it
    processed           [1, 3, 12, 12]  resized bilinearly, times 1/255, minus 0.5, over 0.5
"""

import json
import struct
import zlib
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, interpolate

SEED = 0
FOLDER = Path(__file__).resolve().parents[2] / "test/fixtures/vit-tiny"
CLASSES, SIDE, PATCH = 5, 12, 4
SIZES = {"smaller": (12, 12), "larger": (40, 31), "narrow": (17, 5)}


def tiny_model(generator):
    config = transformers.ViTConfig(
        num_hidden_layers=2, num_attention_heads=3, hidden_size=24, intermediate_size=40, image_size=SIDE,
        patch_size=PATCH, num_labels=CLASSES, attn_implementation="eager",
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            norm_weight = "layernorm" in name and name.endswith("weight")
            # 0.2 instead of ViT's 0.02: attention of a tiny model would be flat, and hide mistakes.
            parameter.copy_(1 + 0.2 * noise if norm_weight else 0.2 * noise)
    return model


def stored_names(model):
    """The name in the file of each parameter: transformers renames blocks when it reads and writes them."""
    stored = load_file(FOLDER / "model.safetensors")
    names = {}
    for name, parameter in model.named_parameters():
        same = [key for key, value in stored.items() if value.shape == parameter.shape and value.equal(parameter.float())]
        assert len(same) == 1, (name, same)
        names[name] = same[0].removeprefix("vit.")
    return names


def float32(tensor):
    return tensor.detach().to(torch.float32).contiguous().clone()


def write_png(path, picture):
    """An 8-bit RGB PNG without filters."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, _ = picture.shape
    rows = b"".join(b"\0" + bytes(row.flatten().tolist()) for row in picture)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def pictures(generator):
    noise = torch.randint(0, 90, (17, 23, 3), generator=generator)
    rows, columns = torch.arange(17).view(17, 1, 1), torch.arange(23).view(1, 23, 1)
    picture = (noise + 6 * rows + 3 * columns * torch.tensor([1, 0, 1])).clamp(0, 255).to(torch.uint8)
    write_png(FOLDER / "picture.png", picture)
    planes = picture.permute(2, 0, 1).unsqueeze(0)
    tensors = {"picture": picture}
    for mode in ("bilinear", "bicubic"):
        for name, size in SIZES.items():
            out = interpolate(planes, size=size, mode=mode, antialias=True, align_corners=False)
            tensors[f"resized.{mode}.{name}"] = out[0].permute(1, 2, 0).contiguous()
    small = interpolate(planes, size=(SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False)
    tensors["processed"] = float32((small.double() / 255 - 0.5) / 0.5)
    return tensors


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(SEED)
    model = tiny_model(generator)
    model.save_pretrained(FOLDER)
    names = stored_names(model)
    pixels = torch.randn((3, 3, SIDE, SIDE), generator=generator)
    large = torch.randn((1, 3, 20, 20), generator=generator)
    labels = torch.tensor([3, 0, 4])
    model.double()
    out = model(pixels.double(), output_hidden_states=True)
    loss = cross_entropy(out.logits, labels)
    loss.backward()
    embeddings = model.vit.embeddings
    with torch.no_grad():
        positions = embeddings.interpolate_pos_encoding(torch.zeros(1, 26, 24).double(), 20, 20)
        large_logits = model(large.double(), interpolate_pos_encoding=True).logits
    tensors = {
        "pixels": pixels,
        "labels": labels.to(torch.int32),
        "logits": float32(out.logits),
        "positions": float32(positions),
        "large": large,
        "largeLogits": float32(large_logits),
    }
    tensors |= {f"hidden.{i}": float32(hidden) for i, hidden in enumerate(out.hidden_states)}
    tensors |= {f"grad.{names[name]}": float32(p.grad) for name, p in model.named_parameters()}
    tensors |= pictures(generator)
    save_file(tensors, FOLDER / "golden.safetensors")
    golden = {
        "reference": f"transformers {transformers.__version__}, torch {torch.__version__.split('+')[0]}",
        "command": "python scripts/golden/vit.py",
        "seed": SEED,
        "loss": loss.item(),
    }
    (FOLDER / "golden.json").write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    main()
