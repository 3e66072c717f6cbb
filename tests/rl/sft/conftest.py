"""Tiny random policies built in code, and rows of tokens drawn from a seed."""

from types import SimpleNamespace

import pytest
import torch

from rl.config.sft import SFTConfig
from rl.data.examples import Example
from rl.sft.rows import TokenRow

VOCABULARY, EOS, PAD = 97, 1, 0


def tiny_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", *(f"w{i}" for i in range(VOCABULARY - 2))]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")


def tiny_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**config, eos_token_id=EOS, pad_token_id=PAD))


def tiny_qwen35():
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    config = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64}
    config |= {"num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1}
    config |= {"head_dim": 16, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
    config |= {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    return Qwen3_5ForCausalLM(Qwen3_5TextConfig(**config, eos_token_id=EOS, pad_token_id=PAD))


def tiny_policy(make=tiny_llama, seed=0):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = get_peft_model(make(), LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    loaded = SimpleNamespace(source="tiny", dtype="float32")
    return SimpleNamespace(model=model, tokenizer=tiny_tokenizer(), loaded=loaded)


def token_rows(count=16, seed=0):
    """Prompts of 1 to 6 tokens, and what is learnt of 1 to 8, which ends."""
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(count):
        prompt, learnt = (int(torch.randint(1, most, (1,), generator=draw)) for most in (7, 8))
        ids = torch.randint(2, VOCABULARY, (prompt + learnt,), generator=draw).tolist()
        example = Example(id=str(number), where=f"line {number}", prompt="?", answer="!")
        rows.append(TokenRow(example=example, token_ids=[*ids, EOS], prompt_tokens=prompt))
    return rows


def settings(**changes):
    defaults = {"steps": 2, "batch_rows": 8, "micro_batch_rows": 4, "max_tokens": 32}
    return SFTConfig(**{**defaults, "learning_rate": 1e-2, "warmup_share": 0.0, **changes})


def build(output_dir, sft=None, *, policy=None, rows=None, heldout=None, **options):
    """A trainer on a tiny policy, its metric rows as they come and each step's gradient."""
    from rl.sft.batches import heldout_of, to_batches
    from rl.sft.build import build_trainer

    sft, policy = sft or settings(), policy or tiny_policy()
    built = SimpleNamespace(rows=[], policy=policy)
    built.trainer = build_trainer(
        sft,
        policy=policy,
        batches=to_batches(rows or token_rows(), sft),
        heldout=heldout_of(heldout or []),
        output_dir=output_dir,
        on_step=built.rows.append,
        **{"evaluate_every": 0, "save_every": 0, "seed": 0, **options},
    )
    built.gradients = keep_gradients(built.trainer)
    return built


def keep_gradients(trainer):
    """A list that will hold each optimizer step's gradients, flat, before they are clipped."""
    from transformers import TrainerCallback

    kept = []

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **_):
            kept.append(flat(p.grad for p in model.parameters() if p.grad is not None))

    trainer.add_callback(Keep())
    return kept


def flat(tensors):
    parts = [tensor.detach().flatten().clone() for tensor in tensors]
    return torch.cat(parts) if parts else None


@pytest.fixture
def helpers():
    return SimpleNamespace(
        tiny_llama=tiny_llama,
        tiny_qwen35=tiny_qwen35,
        tiny_policy=tiny_policy,
        token_rows=token_rows,
        settings=settings,
        flat=flat,
        EOS=EOS,
        VOCABULARY=VOCABULARY,
    )


@pytest.fixture
def built(tmp_path):
    return lambda *args, **options: build(tmp_path / "out", *args, **options)
