"""Does a model learn to think in Chinese before it answers, and to answer in a few lines?

The first half of the recipe: written reasonings and answers, for the form. Go on with
`python -m experiments.medical_zh_gspo`. docs/recipe_medical_zh.md has the whole way.
"""

from rl.config import ATTENTION_AND_MLP, DataConfig, PolicyConfig
from rl.config.sft import SFTConfig, SFTRun
from rl.launch import Variant, main

# As the source has it, but for what is marked as ours because the source does not say it.
MEDICAL_ZH_SFT = SFTRun(
    name="medical-zh-sft",
    save_every=100,
    evaluate_every=100,
    policy=PolicyConfig(
        model="Qwen/Qwen3.5-4B",
        lora_rank=16,
        lora_alpha=32,
        lora_targets=ATTENTION_AND_MLP,
        gradient_checkpointing=True,  # ours: without it a row of 2,048 tokens keeps 31 GB
    ),
    data=DataConfig(
        train="FreedomIntelligence/medical-o1-reasoning-SFT",
        subset="zh",
        fields=("question=Question", "reasoning=Complex_CoT", "answer=Response"),
        heldout="sample",
        heldout_rows=128,
        system_prompt="",
    ),
    sft=SFTConfig(
        epochs=1.0,  # ours: the form is learnt long before the end of 20,000 rows
        batch_rows=16,  # ours
        micro_batch_rows=2,
        max_tokens=2048,
        learning_rate=1e-4,  # ours: the usual one for LoRA
        answers=32,
        answer_tokens=1536,
    ),
)

TINY = Variant(
    help="The same on a model and rows small enough for two cores: what it learns is nothing.",
    values={
        "run": {"name": "medical-zh-sft-tiny", "save_every": 4, "evaluate_every": 4},
        "policy": {"model": "tiny-qwen3.5"},
        "data": {
            "train": "medical_zh",
            "subset": None,
            "fields": (),
            "heldout": None,
            "heldout_rows": 8,
        },
        "sft": {
            "steps": 8,
            "batch_rows": 8,
            "micro_batch_rows": 4,
            "max_tokens": 256,
            "answers": 4,
            "answer_tokens": 48,
        },
    },
)

GPU_80GB = Variant(
    help="For one GPU of 80 GB: faster, because each forward pass is computed once.",
    values={"policy": {"gradient_checkpointing": False}, "sft": {"micro_batch_rows": 1}},
)

if __name__ == "__main__":
    main(
        MEDICAL_ZH_SFT,
        prog="medical_zh_sft",
        description=__doc__,
        variants={"tiny": TINY, "gpu-80gb": GPU_80GB},
    )
