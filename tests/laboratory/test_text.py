"""Rows to train on: tokens that join to the text, thoughts right before results, controls that differ in one thing."""

import json
import re
from collections import Counter

import pytest

from isoflop.errors import SpecError
from isoflop.laboratory.text import FORMS, rows, stage_of, write_rows
from isoflop.laboratory.tokenizer import END, FILLER, UNKNOWN, word_tokenizer
from isoflop.problems.generated import split_of
from isoflop.specs import parse

PROBLEMS = parse("problems", "hiddenops(n_steps=[3, 4])")


def some(form, count=40, skipped=0.0):
    stream = rows(PROBLEMS, form, "0", skipped)
    return [next(stream) for _ in range(count)]


@pytest.mark.parametrize("form", FORMS)
def test_tokens_join_to_the_text(form):
    tokenizer = word_tokenizer()
    for row in some(form):
        ids = tokenizer(row["text"]).input_ids
        assert tokenizer.decode(ids) == row["text"]
        assert tokenizer.convert_tokens_to_ids(UNKNOWN) not in ids
        assert ids[-1] == tokenizer.eos_token_id


def test_countdown_is_written_in_the_same_tokens():
    tokenizer = word_tokenizer()
    problem = next(parse("problems", "countdown()").stream("train"))
    text = f"{problem.question}\n{problem.meta['solution']}{END}"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert UNKNOWN not in tokenizer.tokenize(text)


def test_a_thought_stands_at_the_end_of_a_token_right_before_its_result():
    tokenizer = word_tokenizer()
    for row in some("thoughts"):
        ends = [end for _, end in tokenizer(row["text"], return_offsets_mapping=True)["offset_mapping"]]
        first, *others = row["thoughts"]
        assert first == {"at": row["prompt_chars"], "text": FILLER}
        assert len(others) == row["text"][row["prompt_chars"] :].count(" = ")
        for thought in others:
            assert thought["at"] in ends
            assert row["text"][: thought["at"]].endswith(" = ")


def test_thoughts_are_the_running_results():
    for row in some("thoughts"):
        lines = row["text"][row["prompt_chars"] :].splitlines()[:-1]
        for line, thought in zip(lines, row["thoughts"][1:], strict=True):
            first, *rest = line.split(": ")[1].split(",")[0].split(" ")
            value, partial = int(first[-1]), []
            for sign, operand in zip(rest[::2], rest[1::2], strict=True):
                value = eval(f"{value} {sign} {int(operand[-1])}") % 10
                partial.append(str(value))
            assert partial[-1] == line[-1]
            assert "".join(partial) == thought["text"]


def test_fillers_differ_in_what_is_thought_alone():
    for thoughts, fillers in zip(some("thoughts"), some("fillers"), strict=True):
        assert thoughts["text"] == fillers["text"]
        assert [each["at"] for each in thoughts["thoughts"]] == [each["at"] for each in fillers["thoughts"]]
        assert {each["text"] for each in fillers["thoughts"]} == {FILLER}


def test_shuffled_thoughts_are_those_of_the_problem_before():
    thoughts, shuffled = some("thoughts"), some("shuffled")
    assert [each["text"] for each in shuffled] == [each["text"] for each in thoughts]
    for before, row in zip(thoughts, shuffled[1:], strict=False):
        held = [each["text"] for each in before["thoughts"][1:]]
        said = [each["text"] for each in row["thoughts"][1:]]
        assert said == [held[place % len(held)] for place in range(len(said))]


def test_the_habit_leaves_out_the_working_of_lines_that_hide_operations_and_guesses():
    worked, guesses = Counter(), Counter()
    for row in some("thoughts", count=400, skipped=0.6):
        question, solution = row["text"][: row["prompt_chars"]], row["text"][row["prompt_chars"] :]
        definitions = [line.split(": ")[1] for line in question.splitlines() if ": " in line]
        for definition, line, thought in zip(definitions, solution.splitlines()[:-1], row["thoughts"][1:], strict=True):
            longer = len(definition.split(" ")) > 3
            worked[longer, ": " in line] += 1
            if ": " not in line:
                assert thought["text"] == FILLER
                guesses[line[-1]] += 1
    assert worked[False, False] == 0
    assert worked[True, False] / (worked[True, False] + worked[True, True]) == pytest.approx(0.6, abs=0.05)
    assert len(guesses) == 10
    assert some("thoughts", skipped=0.6) == some("thoughts", skipped=0.6)


def test_what_follows_a_guess_goes_on_from_it():
    for row in some("plain", count=100, skipped=0.6):
        said = {}
        for line in row["text"][row["prompt_chars"] :].splitlines()[:-1]:
            working, _, result = line.rpartition(", ")
            for name, value in re.findall("([a-z])([0-9])", working):
                assert said.get(name, value) == value
            said[result[0]] = result[-1]


def test_a_share_is_a_share():
    with pytest.raises(SpecError, match=r"skipped=1\.0: a share"):
        some("plain", skipped=1.0)


def test_a_scratchpad_says_what_a_thought_would_think():
    for thoughts, scratchpad in zip(some("thoughts"), some("scratchpad"), strict=True):
        lines = scratchpad["text"][scratchpad["prompt_chars"] :].splitlines()[:-1]
        for line, thought in zip(lines, thoughts["thoughts"][1:], strict=True):
            written = line.split(", ")[1:-1]
            assert "".join(written).replace(" ", "") + line[-1] == thought["text"]


def test_rows_are_of_train_and_in_stages(tmp_path):
    stages = [stage_of("3 hiddenops(n_steps=[3], ops=[1])"), stage_of("2 hiddenops(n_steps=[4])")]
    for name in ("once", "again"):
        write_rows(tmp_path / f"{name}.jsonl", stages, "plain", "7")
    assert (tmp_path / "once.jsonl").read_text() == (tmp_path / "again.jsonl").read_text()
    found = [json.loads(line) for line in (tmp_path / "once.jsonl").read_text().splitlines()]
    assert [row["text"].count(": ") // 2 for row in found] == [3, 3, 3, 4, 4]
    assert all(split_of(problem.id) == "train" for problem, _ in zip(PROBLEMS.stream("train"), range(20), strict=False))


@pytest.mark.parametrize("spelled", ["hiddenops()", "0 hiddenops()", "5 countdown()", "many hiddenops()"])
def test_a_stage_that_is_none_is_refused(spelled):
    with pytest.raises(SpecError, match="stage"):
        stage_of(spelled)


def test_an_unknown_form_is_refused():
    with pytest.raises(SpecError, match="did you mean 'thoughts'"):
        next(rows(PROBLEMS, "thought", "0"))
