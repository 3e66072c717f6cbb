"""Plain text in blocks, out of several sources by their shares."""

import array
import itertools
import math
import random

import pytest
import torch

from rl.config import DataConfig
from rl.config.sft import SFTConfig, SFTRun
from rl.data.examples import Example, load_examples
from rl.data.mixture import content_of
from rl.refusal import Refusal
from rl.sft.batches import heldout_of, to_batches
from rl.sft.outlook import refuse_what_is_no_text
from rl.sft.rows import TokenRow
from rl.sft.shares import in_shares, said_of_shares, tokens_of


def text_rows(helpers, count, domain="", seed=0):
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for number in range(count):
        length = int(torch.randint(3, 30, (1,), generator=draw))
        ids = torch.randint(2, helpers.VOCABULARY, (length,), generator=draw).tolist()
        example = Example(id=str(number), where="", prompt="", answer="!", domain=domain)
        rows.append(TokenRow(example=example, token_ids=[*ids, helpers.EOS], prompt_tokens=0))
    return rows


def test_blocks_are_the_texts_in_one_line_each_with_its_end(helpers):
    rows = text_rows(helpers, 1500)  # more than are joined at once unless it is told otherwise
    sft = SFTConfig(blocks=True, max_tokens=64, batch_rows=4)
    blocks = to_batches(rows, sft).rows
    line = [*itertools.chain.from_iterable(row.token_ids for row in rows)]
    read = [*itertools.chain.from_iterable(blocks["input_ids"])]
    assert read == line[: len(read)]
    assert len(line) - len(read) <= 1  # from one token alone nothing can be learnt
    assert {len(block) for block in blocks["input_ids"][:-1]} == {64}
    assert line.count(helpers.EOS) == 1500


def test_all_of_a_block_is_learnt_but_its_first_token(built, helpers):
    sft = helpers.settings(steps=1, blocks=True, max_tokens=32, batch_rows=4, micro_batch_rows=2)
    unclipped = {"max_grad_norm": 1e9}
    run = built(sft, rows=text_rows(helpers, 20), trl_overrides=unclipped)
    run.trainer.train()
    model, total, learnt = helpers.tiny_policy().model.double(), 0.0, 0
    data = run.trainer.train_dataset
    for ids in (data[n]["input_ids"] for n in range(4)):
        logps = model(torch.tensor([ids])).logits[0].log_softmax(-1)
        total = total - sum(logps[place, ids[place + 1]] for place in range(len(ids) - 1))
        learnt += len(ids) - 1
    assert run.rows[0]["loss"] == pytest.approx((total / learnt).item(), rel=1e-5)


def test_the_held_out_loss_of_a_domain_is_that_of_its_rows_alone(built, helpers):
    english, medical = text_rows(helpers, 5, "english", 1), text_rows(helpers, 7, "medical", 2)
    both = built(heldout=[*english, *medical]).trainer.heldout_losses()
    alone = {
        name: built(heldout=rows).trainer.heldout_losses()["heldout/loss"]
        for name, rows in (("english", english), ("medical", medical))
    }
    tokens = [sum(len(row.token_ids) - 1 for row in rows) for rows in (english, medical)]
    mean = sum(loss * n for loss, n in zip(alone.values(), tokens, strict=True)) / sum(tokens)
    assert both["heldout/loss/english"] == pytest.approx(alone["english"], rel=1e-6)
    assert both["heldout/loss/medical"] == pytest.approx(alone["medical"], rel=1e-6)
    assert both["heldout/loss"] == pytest.approx(mean, rel=1e-6)
    assert [*heldout_of([*english, *medical])] == ["english", "medical"]


def test_sources_are_taken_by_their_shares_of_the_tokens_and_no_text_twice(helpers):
    rows = [
        *text_rows(helpers, 400, "records", 1),
        *text_rows(helpers, 400, "papers", 2),
        *text_rows(helpers, 100, "english", 3),
    ]
    shares = {"records": 0.6, "papers": 0.3, "english": 0.1}
    taken = in_shares(rows, shares)
    tokens = dict.fromkeys(shares, 0)
    for row in taken:
        tokens[row.example.domain] += len(row.token_ids)
    total = sum(tokens.values())
    for name, share in shares.items():
        assert abs(tokens[name] - share * total) < 2
    whole = sum(len(row.token_ids) for row in rows if row.example.domain == "records")
    assert math.isclose(tokens["records"], whole, rel_tol=0.01)  # the scarcest for its share
    assert len({(row.example.domain, row.example.id) for row in taken}) == len(taken)
    assert taken == in_shares(rows, shares)
    assert "records 60.0% (7,062 of 7,062 tokens), papers 30.0% (3,531 of" in said_of_shares(
        rows, taken
    )


def test_a_source_of_which_nothing_can_be_learnt_is_refused(helpers):
    with pytest.raises(Refusal, match=r"--data.train, \[papers\]: none of its rows can be learnt"):
        in_shares(text_rows(helpers, 3, "records"), {"records": 0.5, "papers": 0.5})


MIXED = """
[records]
share = 0.75
data = "records.jsonl"
[papers]
share = 0.25
data = "papers.jsonl"
fields = ["text=abstract"]
"""


@pytest.fixture
def mixture(tmp_path):
    def write(text=MIXED, papers='{"abstract": "Axons.", "question": "q", "answer": "a"}\n'):
        (tmp_path / "records.jsonl").write_text('{"text": "A fall."}\n{"text": "A cough."}\n')
        (tmp_path / "papers.jsonl").write_text(papers)
        (tmp_path / "mixed.toml").write_text(text)
        return DataConfig(train=str(tmp_path / "mixed.toml"))

    return write


def test_a_mixture_is_read_beside_its_file_each_text_by_its_source(mixture):
    train, _ = load_examples(mixture())
    assert [(each.domain, each.prompt, each.answer) for each in train] == [
        ("records", "", "A fall."),
        ("records", "", "A cough."),
        ("papers", "", "Axons."),
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"papers": ""}, r"\[papers\]: .*papers.jsonl is empty, and 25% is to come from it"),
        ({"text": MIXED.replace("0.25", "0.2")}, r"its shares add up to 0.95"),
        ({"text": MIXED.replace("0.25", "0")}, r"\[papers\]: share is 0. It must be above 0"),
        ({"text": MIXED.replace('data = "papers', 'dat = "papers')}, r"wants share = 0.5 and data"),
        ({"text": MIXED + 'subst = "x"'}, r"'subst' is not a setting: did you mean 'subset'"),
        ({"text": MIXED.replace("papers.jsonl", "paprs.jsonl")}, r"paprs.jsonl: no such file"),
        ({"text": "[records"}, r"no mixture can be read there"),
    ],
)
def test_a_mixture_that_cannot_be_made_is_refused_with_the_reason(mixture, change, said):
    with pytest.raises(Refusal, match=said):
        load_examples(mixture(**change))


def test_the_content_of_a_mixture_is_that_of_all_its_sources(mixture):
    def content(**change):
        config = mixture(**change)
        return content_of(config.train, config, flag="--data.train")

    assert content() == content()
    assert content() != content(papers='{"abstract": "Dendrites."}\n')
    assert content() != content(text=MIXED.replace("0.75", "0.5").replace("0.25", "0.5"))


def test_rows_with_a_prompt_are_no_text_for_blocks():
    asked = Example(id="1", where="rows.jsonl, line 3", prompt="Why?", answer="So.")
    with pytest.raises(Refusal, match=r"rows.jsonl, line 3: it has a prompt.*--sft.no-blocks"):
        refuse_what_is_no_text([asked])


@pytest.mark.parametrize("longest", [300, 5000])
def test_shares_of_a_million_tokens_are_those_asked_for_to_the_token(helpers, longest):
    """However long the texts are."""
    draw = random.Random(longest)
    shares = {"records": 0.6, "papers": 0.37, "english": 0.03}
    rows = [
        TokenRow(
            example=Example(id=str(n), where="", prompt="", answer="!", domain=domain),
            token_ids=[7] * draw.randint(3, longest),
            prompt_tokens=0,
        )
        for domain in shares
        for n in range(900_000 // longest)
    ]
    taken = in_shares(rows, shares)
    tokens = tokens_of(taken)
    assert tokens.total() > 600_000
    for name, share in shares.items():
        assert abs(tokens[name] / tokens.total() - share) < 1e-5
    assert all(len(row.token_ids) > 1 for row in taken)


def test_one_worker_and_two_read_the_same_bytes_in_each_step(helpers):
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler, SequentialSampler

    sft = SFTConfig(batch_rows=8, micro_batch_rows=2, max_tokens=64, epochs=2.0)
    batches = to_batches(text_rows(helpers, 37), sft)

    def bytes_of_steps(workers, seed):
        ids = batches.in_order(sft, seed)["input_ids"]
        sampler = BatchSampler(SequentialSampler(ids), sft.micro_batch_rows, drop_last=False)
        shards = [list(BatchSamplerShard(sampler, workers, rank)) for rank in range(workers)]
        per_rank = sft.batch_rows // (sft.micro_batch_rows * workers)
        return [
            sorted(
                array.array("i", ids[row]).tobytes()
                for shard in shards
                for micro_batch in shard[step * per_rank : (step + 1) * per_rank]
                for row in micro_batch
            )
            for step in range(batches.steps)
        ]

    assert bytes_of_steps(1, seed=3) == bytes_of_steps(2, seed=3)
    assert bytes_of_steps(1, seed=3) != bytes_of_steps(1, seed=4)


def test_texts_that_go_on_from_one_to_the_next_do_not_overlap():
    with pytest.raises(ValueError, match=r"sft.overlap_tokens is 8 with sft.blocks.*no-blocks"):
        SFTConfig(blocks=True, overlap_tokens=8)
    with pytest.raises(ValueError, match=r"sft.overlap_tokens is 64: .* under sft.max_tokens 64"):
        SFTConfig(max_tokens=64, overlap_tokens=64)


def test_blocks_are_full_without_packing():
    with pytest.raises(ValueError, match=r"sft.blocks with sft.packing.*--sft.no-packing"):
        SFTRun(sft=SFTConfig(blocks=True, packing=True))
