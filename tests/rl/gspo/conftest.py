"""Tiny random policies built in code, and a rollout that needs no sampler."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from rl.config.gspo import GSPOConfig
from rl.gspo.generation import Generation

VOCABULARY = 97


def tiny_tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["<pad>", "<eos>", *(f"w{i}" for i in range(VOCABULARY - 2))]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<pad>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<eos>")


def tiny_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=True,
            eos_token_id=1,
            pad_token_id=0,
        )
    )


def tiny_qwen35():
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    return Qwen3_5ForCausalLM(
        Qwen3_5TextConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
            eos_token_id=1,
            pad_token_id=0,
        )
    )


def tiny_policy(make=tiny_llama, *, lora=True, seed=0):
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    model = make()
    if lora:
        model = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear"))
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    return SimpleNamespace(model=model, tokenizer=tiny_tokenizer())


PROMPTS = [" ".join(f"w{(7 * i + j) % 90}" for j in range(2 + i % 4)) for i in range(16)]


@dataclass
class ScriptedRollout:
    """Completions and rewards drawn from a seed, so that any two trainers can be given the same.

    A row depends on its place in the run alone. It is given each prompt once for each completion.
    """

    longest: int = 8
    missing: float = 0.0
    logprobs: bool = False
    lengths: tuple[int, ...] | None = None
    agree_from_group: int | None = None
    calls: int = 0

    def __call__(self, prompt_ids):
        completion_ids, rewards = [], []
        for row in range(len(prompt_ids)):
            draw = torch.Generator().manual_seed(1000 * self.calls + row)
            length = int(torch.randint(1, self.longest + 1, (1,), generator=draw))
            if self.lengths:
                length = self.lengths[row % len(self.lengths)]
            completion_ids.append(torch.randint(2, VOCABULARY, (length,), generator=draw).tolist())
            reward = float(torch.randn(1, generator=draw))
            if self.agree_from_group is not None and row // 4 >= self.agree_from_group:
                reward = 1.0
            if float(torch.rand(1, generator=draw)) < self.missing:
                reward = None
            rewards.append(reward)
        self.calls += 1
        return Generation(
            prompt_ids=prompt_ids,
            completion_ids=completion_ids,
            rewards=rewards,
            logprobs=[[-4.0] * len(ids) for ids in completion_ids] if self.logprobs else None,
        )


def settings(**changes) -> GSPOConfig:
    defaults = {
        "generations": 2,
        "prompts": 4,
        "group_size": 4,
        "minibatches": 2,
        "micro_batch_rows": 4,
        "learning_rate": 1e-2,
        # a scripted sampler says nothing true of the policy
        "mismatch_limit": 100.0,
    }
    return GSPOConfig(**{**defaults, **changes})


def build(gspo, output_dir, *, policy=None, rollout=None, **options):
    """A trainer on a tiny policy, its metric rows as they come and the last rows' advantages."""
    from rl.gspo.build import build_trainer

    policy = policy or tiny_policy()
    rollout = rollout or ScriptedRollout()
    built = SimpleNamespace(rows=[], advantages=None)

    def next_generation(number):
        first = (number - 1) * gspo.prompts
        asked = [PROMPTS[i % len(PROMPTS)] for i in range(first, first + gspo.prompts)]
        ids = [policy.tokenizer(prompt)["input_ids"] for prompt in asked]
        return rollout([row for row in ids for _ in range(gspo.group_size)])

    def on_generation(row, generation, advantages):
        built.rows.append(row)
        built.advantages = advantages

    built.trainer = build_trainer(
        gspo,
        policy=policy,
        next_generation=next_generation,
        on_generation=on_generation,
        output_dir=output_dir,
        **{"max_new_tokens": 8, "temperature": 1.0, "seed": 0, **options},
    )
    return built


@pytest.fixture
def train(tmp_path):
    def run(gspo=None, *, start=True, **options):
        built = build(gspo or settings(), tmp_path / "out", **options)
        if start:
            built.trainer.train()
        return built

    return run


@pytest.fixture
def tiny():
    """Makes a tiny policy with an adapter that is not zero: `tiny()` or `tiny("qwen35")`."""
    return lambda kind="llama", **options: tiny_policy(
        {"llama": tiny_llama, "qwen35": tiny_qwen35}[kind], **options
    )


def keep_gradients(trainer):
    """A list that will hold each optimizer step's gradients, flat, before they are used."""
    from transformers import TrainerCallback

    kept = []

    class Keep(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **_):
            gradients = [p.grad for p in model.parameters() if p.requires_grad]
            kept.append(
                None
                if any(g is None for g in gradients)
                else torch.cat([g.flatten().clone() for g in gradients])
            )

    trainer.add_callback(Keep())
    return kept


@pytest.fixture
def rollouts():
    return ScriptedRollout


@pytest.fixture(name="settings")
def settings_fixture():
    return settings


@pytest.fixture
def gradients():
    return keep_gradients


@pytest.fixture
def dataset():
    """The prompts as stock TRL takes them, in the order that ours are asked in."""
    from datasets import Dataset

    return Dataset.from_dict({"prompt": PROMPTS})
