"""Can a small model learn to answer medical questions from a judge, on two cores, in minutes?"""

from judges import JudgeConfig
from rl.config import DataConfig, PolicyConfig
from rl.config.gspo import GSPOConfig, GSPORun, RolloutConfig
from rl.launch import main

QUICKSTART = GSPORun(
    name="quickstart",
    policy=PolicyConfig(
        model="smollm2-135m",
        lora_rank=8,
        lora_alpha=16,
        lora_targets=("o_proj", "down_proj"),
    ),
    data=DataConfig(
        train="medical_en",
        heldout_rows=64,
        system_prompt="You answer medical questions with one word or a short term, nothing else.",
    ),
    rollout=RolloutConfig(max_new_tokens=24, max_prompt_tokens=128),
    judge=JudgeConfig(backend="rules", rubric="medical_en"),
    gspo=GSPOConfig(
        generations=26,
        prompts=4,
        group_size=8,
        minibatches=2,
        micro_batch_rows=8,
        learning_rate=5e-4,
        old_policy="sampler",
    ),
)

if __name__ == "__main__":
    main(QUICKSTART, prog="quickstart", description=__doc__)
