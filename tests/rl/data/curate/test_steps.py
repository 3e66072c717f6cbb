"""Each step by itself, and how they are named."""

import sys
from pathlib import Path

import pytest

from rl.config.curate import STEPS as DEFAULT_STEPS
from rl.data.curate.decontaminate import Decontaminate
from rl.data.curate.duplicates import ExactDuplicates, NearDuplicates
from rl.data.curate.filters import Language, Length, Repetition
from rl.data.curate.rewriting import Latex, Normalise, PersonalData
from rl.data.curate.row import Row
from rl.data.curate.step import taken
from rl.data.curate.steps import STEPS, steps_of
from rl.refusal import Refusal


def rows_of(*texts):
    return [
        Row(name="set", where=f"set, line {n}", values={"text": text}, columns=("text",))
        for n, text in enumerate(texts, 1)
    ]


def whys(step, *texts):
    return list(step.whys(rows_of(*texts)))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("  two\u00a0 blanks\t\n\n\n\nand lines \r\nend ", "two blanks\n\nand lines\nend"),
        ("cafe\u0301 na\u00efve", "caf\u00e9 na\u00efve"),
        ("in\u00advisi\u200bble\ufeff\x00", "invisible"),
        ("10² mL, ½ tablet", "10² mL, ½ tablet"),
        ("肺炎 是", "肺炎 是"),
    ],
)
def test_normalising_changes_what_cannot_be_seen_and_no_meaning(text, wanted):
    once = Normalise().rewrite(text)
    assert once == wanted
    assert Normalise().rewrite(once) == once


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (r"a \textbf{b \emph{c}} d~\cite[p. 2]{x,y}.", "a b c d."),
        (r"of $\alpha$-blockers ($p \leq 0.05$)", "of α-blockers (p ≤ 0.05)"),
        (
            r"\documentclass{minimal}\usepackage{amsmath}\begin{document}"
            r"$$\frac{\text{HR}}{60} = x^{2}$$\end{document} beats",
            "HR/60 = x^2 beats",
        ),
        (r"37\,$^{\circ}$C, 5\% of \begin{table}[h] a & b \end{table}them", "37 °C, 5% of them"),
        ("It costs $5 to $10, 5% & 10_000 {a}.", "It costs $5 to $10, 5% & 10_000 {a}."),
        (r"It costs $5, and $x^2$ is 4.", "It costs $5, and x^2 is 4."),
    ],
)
def test_latex_becomes_text_and_prices_stay(text, wanted):
    assert Latex().rewrite(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Write to jan.de-vries@umc.example.nl.", "Write to [mail]."),
        ("+31 20 123 4567, (555) 123-4567; 555.123.4567", "[phone], [phone]; [phone]"),
        ("电话13812345678，邮箱wang@example.cn", "电话[phone]，邮箱[mail]"),
        ("身份证号：11010519491231002X，病历号 A123456", "[id]，[id]"),
        ("是11010519491231002X。MRN: 00123456, SSN 123-45-6789", "是[id]。[id], [id]"),
    ],
)
def test_what_names_a_person_is_masked_or_its_row_dropped(text, wanted):
    assert PersonalData().rewrite(text) == wanted
    assert PersonalData(do="drop").rewrite(text) == text
    assert whys(PersonalData(do="drop"), text, "Rest and water.")[1] == ""
    assert whys(PersonalData(do="drop"), text)[0].startswith("has ")


@pytest.mark.parametrize(
    "text",
    [
        "NCT01234567, PMID 12345678, in 2004-2005, 120/80 mmHg, of 1,234,567 people",
        "doi 10.1000/123-456-7890 and 10.1371/journal.pone.0000217, ISBN 978-3-16-148410-0",
        "95% CI 1.12-1.45, -20.5 +30 40 50, HLA-B*1502, 37.5-38.5 °C, codon 123 456",
    ],
)
def test_figures_of_medicine_are_nobodys_number(text):
    assert PersonalData().rewrite(text) == text


def test_a_text_is_as_long_as_its_words_and_its_characters_of_chinese():
    step = Length(fewest_words=3, most_words=5)
    assert whys(step, "one two", "one, two, three", "肺炎是感染", "a b c d e f") == [
        "2 words",
        "",
        "",
        "6 words",
    ]


def test_a_text_that_says_the_same_again_is_dropped_from_the_share_on():
    line = "Take one tablet each morning with water. "
    assert whys(Repetition(), line * 6, line + "Do not crush it, and see your doctor.") == [
        "82% said before",
        "",
    ]


def test_the_language_is_told_of_passages_and_short_ones_stay():
    told = whys(
        Language(keep=("en", "zh")),
        "The patient was given antibiotics for pneumonia and went home after five days.",
        "Der Patient erhielt wegen einer Lungenentzündung Antibiotika und ging nach Hause.",
        "肺炎是由细菌、病毒等病原体引起的肺部感染性疾病，需要及时治疗。",
        "5 mg",
    )
    assert told == ["", "is de", "", ""]


def test_only_the_first_of_equal_texts_stays():
    told = whys(ExactDuplicates(), "Rest  and WATER.", "Ice.", "rest and\nwater.", "ice")
    assert told == ["", "", "the same as set, line 1", ""]


def test_a_near_duplicate_names_the_row_that_it_is_near():
    text = " ".join(f"word{n}" for n in range(40))
    told = whys(NearDuplicates(), text, "Other words of another row.", text + " more")
    assert told == ["", "", "0.97 of set, line 1"]


def test_rows_that_share_thirteen_words_with_an_evaluation_set_are_dropped(tmp_path):
    run = "which of the following is the most likely cause of this patient's sudden chest pain"
    asked = tmp_path / "asked.jsonl"
    asked.write_text('{"question": "A man of 60. %s?", "options": {"A": "x"}}\n' % run)  # noqa: UP031
    told = whys(Decontaminate(against=(str(asked),)), f"So: {run}!", run[:60], "Rest and water.")
    assert [why[:40] for why in told] == [f"{asked}: {run}"[:40], "", ""]


def test_what_a_step_leaves_nothing_of_is_dropped():
    outcome = taken(Latex(), rows_of(r"\label{x}", "stays", r"\emph{changes}"))
    assert [row.text for row in outcome.kept] == ["stays", "changes"]
    assert outcome.n_rewritten == 1
    assert [each.why for each in outcome.dropped] == ["nothing is left of it"]


def test_steps_are_named_in_their_order_with_a_value_or_in_a_file(tmp_path):
    file = tmp_path / "steps.toml"
    file.write_text(
        '[language]\nkeep = ["en", "zh"]\n[normalise]\n'
        "[near_duplicates]\nthreshold = 1\nshingle_words = 5\n"
    )
    assert steps_of(str(file)) == [
        Language(keep=("en", "zh")),
        Normalise(),
        NearDuplicates(threshold=1, shingle_words=5),
    ]
    assert steps_of("language=en+zh, normalise,length=7") == [
        Language(keep=("en", "zh")),
        Normalise(),
        Length(fewest_words=7),
    ]
    assert len(steps_of(DEFAULT_STEPS)) == 5


def test_every_step_is_named_in_the_help():
    told = (Path(__file__).parents[3] / "golden" / "curate.help.txt").read_text()
    assert all(name in told for name in STEPS)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("near_duplicate", "'near_duplicate' is not a step: did you mean 'near_duplicates'?"),
        ("", "'' is not a step. Known: decontaminate"),
        ("normalise=nfc", "normalise has no settings. Type normalise alone"),
        ("length=many", "'many' is no number"),
        ("near_duplicates=0.05", "must be from 0.2 to 1"),
        ("language=english", "language=english"),
        ("decontaminate", "wants the files that will be asked"),
        ("personal_data=hide", "must be mask or drop"),
        ("repetition=0", "must be above 0"),
        ("length=-1", "is nothing"),
        ("steps.toml", "no steps can be read there"),
    ],
)
def test_steps_that_are_none_are_refused_in_a_sentence(said, wanted):
    with pytest.raises(Refusal) as refusal:
        steps_of(said)
    assert wanted in str(refusal.value)


def test_a_step_without_its_package_is_refused_before_anything_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(Refusal, match=r"near_duplicates needs datasketch\. Type: pip install"):
        steps_of("near_duplicates")


@pytest.mark.parametrize(
    ("table", "wanted"),
    [
        ("[near_duplicates]\ntreshold = 0.5", "no 'treshold': did you mean 'threshold'?"),
        ('[length]\nfewest_words = "5"', "fewest_words is '5'"),
        ("length = 5", "a step is a table"),
        ("[lenght]", "'lenght' is not a step: did you mean 'length'?"),
        ("", "there is no step in it. Write one"),
    ],
)
def test_a_file_of_steps_is_refused_by_its_table(tmp_path, table, wanted):
    file = tmp_path / "steps.toml"
    file.write_text(table)
    with pytest.raises(Refusal) as refusal:
        steps_of(str(file))
    assert wanted in str(refusal.value)
