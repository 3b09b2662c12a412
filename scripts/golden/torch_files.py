"""Files of torch.save, and what their tensors hold, as safetensors.

Reference: torch 2.15.0, seed 0; Python's pickle and zipfile for what torch itself does not write.
Command:   python scripts/golden/torch_files.py
Writes:    test/fixtures/torch/

    plain.bin            a state dictionary: every dtype, parameters, views with strides, one storage used twice
    nested.bin           the same kind of dictionary under "state_dict", beside other values
    deflated.bin         plain.bin, its members compressed
    protocol4.bin        plain.bin with a pickle of protocol 4
    golden.safetensors   the floating-point tensors of plain.bin, contiguous, in float32
    calls.bin            a pickle that would run os.system
    class.bin            a pickle with an object of a class of its own
    script.bin           a TorchScript program
    old.bin              the format before PyTorch 1.6

The bytes of script.bin and old.bin differ from run to run, nothing that is tested does.
"""

import argparse
import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import save_file

FOLDER = Path(__file__).resolve().parents[2] / "test/fixtures/torch"


def state_dict():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(4, 6, generator=generator)
    tensors = OrderedDict(
        {
            "float32": torch.randn(2, 3, 5, generator=generator),
            "float16": torch.randn(3, 2, generator=generator).half(),
            "bfloat16": torch.randn(5, generator=generator).bfloat16(),
            "float64": torch.randn(2, 2, generator=generator).double(),
            "scalar": torch.tensor(1.5),
            "empty": torch.zeros(0, 3),
            "whole": values,
            "transposed": values.t(),
            "columns": values[:, 1:4],
            "every_other": values[::2, 5],
            "permuted": torch.randn(2, 3, 4, generator=generator).half().permute(2, 0, 1),
            "repeated": torch.randn(3, 1, generator=generator).expand(3, 4),
            "layer.weight": torch.nn.Parameter(torch.randn(2, 2, generator=generator)),
            "ids": torch.arange(7),
            "mask": torch.ones(3, dtype=torch.bool),
        }
    )
    tensors._metadata = OrderedDict({"": {"version": 1}})
    return tensors


class Call:
    def __reduce__(self):
        return os.system, ("touch hedgehog-was-here",)


def rewritten(file, compression):
    """The same archive with its members stored otherwise."""
    result = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(result, "w", compression) as new:
        for info in old.infolist():
            entry = zipfile.ZipInfo(info.filename)
            entry.compress_type = compression
            new.writestr(entry, old.read(info))
    return result.getvalue()


def archive(file, member):
    """An archive whose pickle is `member` and which has no tensors."""
    with zipfile.ZipFile(file, "w") as new:
        new.writestr(zipfile.ZipInfo("archive/data.pkl"), member)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    tensors = state_dict()
    torch.save(tensors, FOLDER / "plain.bin")
    torch.save({"epoch": 3, "note": "x", "none": None, "lr": 0.5, "state_dict": {"w": torch.ones(2, 3)}}, FOLDER / "nested.bin")
    torch.save(tensors, FOLDER / "protocol4.bin", pickle_protocol=4)
    (FOLDER / "deflated.bin").write_bytes(rewritten(FOLDER / "plain.bin", zipfile.ZIP_DEFLATED))
    golden = {name: t.detach().float().contiguous().clone() for name, t in tensors.items() if t.is_floating_point()}
    save_file(golden, FOLDER / "golden.safetensors")

    archive(FOLDER / "calls.bin", pickle.dumps({"w": Call()}, 2))
    torch.save({"args": argparse.Namespace(lr=1), "w": torch.ones(1)}, FOLDER / "class.bin")
    torch.jit.script(torch.nn.Linear(1, 1)).save(FOLDER / "script.bin")
    torch.save({"w": torch.ones(2)}, FOLDER / "old.bin", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
