"""Can a small model learn to think before it answers, from written reasonings, in minutes?"""

from rl.config import DataConfig, PolicyConfig
from rl.config.sft import SFTConfig, SFTRun
from rl.launch import main

QUICKSTART_SFT = SFTRun(
    name="quickstart-sft",
    evaluate_every=10,
    save_every=10,
    policy=PolicyConfig(
        model="smollm2-135m",
        chat_template="chatml-think",
        lora_rank=16,
        lora_alpha=32,
        lora_targets=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    ),
    data=DataConfig(
        train="medical_en",
        heldout_rows=32,
        system_prompt="Think in a sentence or two, then give the answer alone.",
    ),
    sft=SFTConfig(
        epochs=1.0,
        batch_rows=8,
        micro_batch_rows=8,
        max_tokens=192,
        learning_rate=1e-3,
        answers=32,
        answer_tokens=96,
    ),
)

if __name__ == "__main__":
    main(QUICKSTART_SFT, prog="quickstart_sft", description=__doc__)
