"""A LoRA adapter of PEFT on the tiny GPT-2, and what it adds to the weights.

Reference: peft 0.21.2, transformers 5.24.0, torch 2.15.0, seed 0.
Command:   python scripts/golden/peft_files.py      (after gpt2.py)
Writes:    test/fixtures/adapter/{adapter_config.json, adapter_model.safetensors, golden.safetensors}

golden.safetensors: the weights with the adapter merged, minus those without, by the path of the parameter, without
`transformer.`; as GPT-2 stores them: [inputs, outputs].
"""

from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import save_file

FIXTURES = Path(__file__).resolve().parents[2] / "test/fixtures"


def main():
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel.from_pretrained(FIXTURES / "gpt2-tiny").double()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = peft.LoraConfig(
        r=3, lora_alpha=5, target_modules=["c_attn", "mlp.c_proj"], fan_in_fan_out=True, task_type="CAUSAL_LM",
        base_model_name_or_path="gpt2-tiny",
    )  # fmt: skip
    adapted = peft.get_peft_model(model, settings)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.copy_((torch.randn(parameter.shape) * 0.1).float())
    adapted.peft_config["default"].base_model_name_or_path = "gpt2-tiny"
    adapted.float().save_pretrained(FIXTURES / "adapter")
    (FIXTURES / "adapter/README.md").unlink()
    merged = adapted.double().merge_and_unload().state_dict()
    changes = {name.removeprefix("transformer."): (merged[name] - tensor).float() for name, tensor in before.items()}
    save_file({name: t.contiguous() for name, t in changes.items() if t.any()}, FIXTURES / "adapter/golden.safetensors")


if __name__ == "__main__":
    main()
