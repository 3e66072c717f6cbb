"""Does a base model know neuroscience better for 0.6 billion tokens of it and of health records?

Continued pretraining: all weights, plain text in blocks, by warmup, plateau and decay. On eight
GPUs: `torchrun --nproc-per-node 8 -m experiments.neuro_cpt`.
"""

from rl.config import DataConfig, PolicyConfig
from rl.config.sft import SFTConfig, SFTRun
from rl.launch import Variant, main

# As the source has it, but for what is marked as ours because the source does not say it.
NEURO_CPT = SFTRun(
    name="neuro-cpt",
    save_every=50,  # ours
    evaluate_every=25,  # ours
    policy=PolicyConfig(
        model="Qwen/Qwen3.5-2B-Base",
        learns="weights",
        dtype="bfloat16",  # ours: what is computed in; weights that learn are float32
        gradient_checkpointing=True,  # ours
    ),
    data=DataConfig(
        train="neuro.toml",
        heldout="sample",  # ours
        heldout_rows=512,  # ours
        system_prompt="",
    ),
    sft=SFTConfig(
        epochs=1.0,
        blocks=True,
        batch_rows=256,
        micro_batch_rows=4,  # ours
        max_tokens=4096,
        learning_rate=2e-6,
        schedule="warmup_stable_decay",
        warmup_share=0.01,
        decay_share=0.14,
        weight_decay=0.1,
        optimizer="adamw_torch",
    ),
    trl=("adam_beta1=0.9", "adam_beta2=0.95"),
)

TINY = Variant(
    help="The same on a model and texts small enough for two cores: what it learns is nothing.",
    values={
        "run": {"name": "neuro-cpt-tiny", "save_every": 2, "evaluate_every": 2},
        "policy": {"model": "tiny-qwen3.5-closed", "dtype": "auto"},
        "data": {"train": "neuro_tiny.toml", "heldout_rows": 24},
        "sft": {
            "steps": 6,
            "batch_rows": 4,
            "micro_batch_rows": 2,
            "max_tokens": 128,
            "learning_rate": 1e-3,
        },
    },
)

if __name__ == "__main__":
    main(NEURO_CPT, prog="neuro_cpt", description=__doc__, variants={"tiny": TINY})
