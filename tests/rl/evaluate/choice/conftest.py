"""A small set of our own, and a tiny policy to ask it."""

import json

import pytest

from rl.config import PolicyConfig
from rl.evaluate.task import Candidate
from rl.policy.load import context_window, load_policy, load_tokenizer

FACTS = (
    ("Which organ pumps blood?", ("Heart", "Liver", "Lung", "Skin"), "A"),
    ("Which vitamin prevents scurvy?", ("Vitamin A", "Vitamin B12", "Vitamin C", "Vitamin D"), "C"),
    ("Which cells carry oxygen?", ("Platelets", "Red cells", "Neurons", "Osteoclasts"), "B"),
    ("Which gland makes insulin?", ("Thyroid", "Pituitary", "Adrenal", "Pancreas"), "D"),
    ("Which bone lies in the thigh?", ("Femur", "Ulna", "Radius", "Tibia"), "A"),
    ("Which sense is lost in anosmia?", ("Sight", "Smell", "Touch", "Hearing"), "B"),
    ("Which drug thins the blood?", ("Insulin", "Morphine", "Warfarin", "Atropine"), "C"),
    ("What does a nephron belong to?", ("Brain", "Eye", "Spleen", "Kidney"), "D"),
    ("Which gas is breathed out?", ("Carbon dioxide", "Helium", "Neon", "Argon"), "A"),
    ("What is low in anaemia?", ("Glucose", "Haemoglobin", "Sodium", "Urea"), "B"),
)
ROWS = [
    {"question": question, "options": list(options), "answer": answer}
    for question, options, answer in FACTS
]
CONFIG = PolicyConfig(model="tiny-qwen3.5-closed", lora_rank=4, lora_alpha=8, dtype="float32")


@pytest.fixture
def rows():
    return [dict(row) for row in ROWS]


@pytest.fixture
def write(tmp_path):
    def write(rows, name="set.jsonl"):
        path = tmp_path / name
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


@pytest.fixture(scope="session")
def candidate():
    return Candidate(tokenizer=load_tokenizer(CONFIG), window=context_window(CONFIG))


@pytest.fixture(scope="session")
def policy(candidate):
    return load_policy(CONFIG, candidate.tokenizer, seed=0)
