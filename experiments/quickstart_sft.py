"""Can a small model learn how to answer from written answers, on two cores, in minutes?"""

from rl.config import DataConfig, PolicyConfig
from rl.config.sft import SFTConfig, SFTRun
from rl.launch import main

QUICKSTART_SFT = SFTRun(
    name="quickstart-sft",
    evaluate_every=5,
    save_every=5,
    policy=PolicyConfig(
        model="smollm2-135m",
        lora_rank=16,
        lora_alpha=32,
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    ),
    data=DataConfig(
        train="medical_en",
        heldout_rows=32,
        system_prompt="Answer briefly.",
    ),
    sft=SFTConfig(
        epochs=1.0,
        batch_rows=16,
        micro_batch_rows=16,
        max_tokens=96,
        learning_rate=5e-4,
        answers=16,
        answer_tokens=24,
    ),
)

if __name__ == "__main__":
    main(QUICKSTART_SFT, prog="quickstart_sft", description=__doc__)
