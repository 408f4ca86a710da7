"""The command line as a user meets it: what it prints, where, and with which exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from isoflop.cli.main import prepared, run

MISTRAL = {
    "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_hidden_layers": 32, "num_key_value_heads": 8, "vocab_size": 32000, "sliding_window": None,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
STUDY = """
name = "small"
variables = {{ skill = "0.7" }}
problems = "jsonl('{questions}')"
model = "scripted(steps=2, skill=${{skill}})"
strategy = ["greedy()", "best_of_n(n=4)"]
reference = "greedy()"
"""


@pytest.fixture
def study(tmp_path, questions):
    path = tmp_path / "study.toml"
    path.write_text(STUDY.format(questions=questions))
    return path


def last_json(text):
    return json.loads(text.splitlines()[-1])


def test_solve_prints_answer_vote_solution_and_cost_by_role(isoflop):
    question = ["solve", "What is 6 times 7?", "--model", "scripted(skill=1.0)", "--gold", "42"]
    code, out, _ = isoflop(*question, "--strategy", "rebase(width=3)", "--tree", "--json")
    assert code == 0
    assert "Answer: 42" in out
    assert "graded: correct" in out
    assert "policy" in out
    assert out.count("The answer is 42") == 3 + 1 + 1  # three leaves, the winning solution, the JSON document
    document = last_json(out)
    assert (document["answer"], document["outcome"], document["stop"]) == ("42", "correct", "finished")
    assert [vote["votes"] for vote in document["votes"]] == [3]
    assert document["cost"]["policy"]["flops"] > 0


def test_solve_reads_a_question_from_standard_input(isoflop, monkeypatch):
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO("What is 6 times 7?\n"))
    code, out, _ = isoflop("solve", "-", "--model", "scripted(skill=1.0)")
    assert code == 0
    assert "Answer:" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solve", "  ", "--model", "scripted()"], "the question is empty"),
        (["solve", "q", "--model", "scripted(step=1)"], "has no field 'step'; did you mean 'steps'?"),
        (["solve", "q", "--model", "scripted()", "--strategy", "rebase(width=0)"], "at least 1"),
        (["solve", "q", "--model", "scripted()", "--strategy", "rebas(width=2)"], "did you mean 'rebase'?"),
        (["solve", "q", "--model", "scripted(broken=['question'])"], "declared broken"),
        (["solve", "q", "--model", "scripted()", "--budget-tokens", "0"], "budget tokens=0 allows nothing"),
        (["table", "nowhere"], "nowhere holds no run"),
        (["figure", "nowhere"], "nowhere holds no run"),
        (["study", "run", "nowhere.toml"], "the study file cannot be read"),
        (["import", "nowhere.jsonl"], "nowhere.jsonl"),
        (["list", "strategies"], "did you mean 'strategy'?"),
    ],
)
def test_a_mistake_is_one_message_on_standard_error_and_exit_code_2(isoflop, arguments, message):
    code, out, err = isoflop(*arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err
    assert "Traceback" not in err
    assert "Answer" not in out


def test_debug_shows_the_traceback_wherever_it_stands(isoflop, monkeypatch):
    from isoflop.errors import StoreError

    monkeypatch.setenv("ISOFLOP_DEBUG", "")
    monkeypatch.setattr(sys, "argv", ["isoflop", "table", "nowhere", "--debug"])
    with pytest.raises(StoreError):
        run()
    os.environ.pop("ISOFLOP_DEBUG", None)


@pytest.mark.parametrize(("arguments", "hint"), [(["tabel"], "table"), (["table", "x", "--jsn"], "--json")])
def test_an_unknown_verb_or_option_is_answered_with_a_suggestion(isoflop, arguments, hint):
    code, _, err = isoflop(*arguments)
    assert code == 2
    assert hint in err


def test_compare_takes_several_values_after_one_option_and_resumes(isoflop, questions):
    command = ["compare", "--model", "scripted(steps=2)", "--problems", f"jsonl('{questions}')", "--strategies",
               "greedy()", "self_consistency(n=2)", "rebase(width=[2,4])", "--out", "run", "--json"]  # fmt: skip
    code, out, err = isoflop(*command)
    assert code == 0
    assert "24 of 24 attempts (100 %)" in err
    first = last_json(out)
    labels = ["greedy()", "self_consistency(n=2)", "rebase(width=2)", "rebase(width=4)"]
    assert [arm["strategy"] for arm in first["arms"]] == labels
    assert first["study"]["reference"] == "greedy()"
    _, again, _ = isoflop(*command)
    assert last_json(again) == first
    _, table, _ = isoflop("table", "run", "--json")
    assert last_json(table) == first
    assert max(map(len, table.splitlines()[:-1])) <= 80


def test_compare_refuses_another_study_in_the_same_folder(isoflop, questions):
    command = ["compare", "--model", "scripted()", "--problems", f"jsonl('{questions}')", "--out", "run"]
    assert isoflop(*command, "--strategies", "greedy()")[0] == 0
    code, _, err = isoflop(*command, "--strategies", "rebase(width=2)")
    assert code == 2
    assert "holds a run of another study" in err


def test_options_spread_over_the_values_that_follow_them():
    given = ["compare", "--strategies", "a", "b", "--problems", "p", "--model=m", "n", "--json", "--debug"]
    assert prepared(given) == [
        "--debug", "compare", "--strategies", "a", "--strategies", "b", "--problems", "p", "--model", "m", "--model",
        "n", "--json",
    ]  # fmt: skip
    assert prepared(["solve", "q", "--strategy", "a", "b"]) == ["solve", "q", "--strategy", "a", "b"]


def test_study_run_table_figure_and_the_variables_of_a_file(isoflop, study):
    code, out, _ = isoflop("study", "run", str(study), "--out", "run", "--set", "skill=1.0")
    assert code == 0
    assert "100.0 [" in out
    code, out, _ = isoflop("table", "run", "--markdown", "--exploratory")
    assert "| greedy() \\[" in out or "| greedy() [" in out
    code, out, _ = isoflop("figure", "run", "-o", "drawn", "--json")
    assert code == 0
    assert all(os.path.getsize(file) > 1000 for file in last_json(out)["files"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [("skil=1", "key 'skil' is unknown; did you mean 'skill'?"), ("skill", "not of the form NAME=VALUE")],
)
def test_settings_are_strict(isoflop, study, setting, message):
    code, _, err = isoflop("study", "run", str(study), "--set", setting)
    assert code == 2
    assert message in err


def test_a_variable_that_no_one_declares_is_refused(isoflop, study):
    study.write_text(study.read_text().replace("variables = { skill", "variables = { other"))
    code, _, err = isoflop("study", "run", str(study))
    assert code == 2
    assert "${skill}" in err


def test_flops_prints_the_formula_and_its_numbers(isoflop, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MISTRAL))
    code, out, _ = isoflop("flops", "config.json", "--prompt", "100", "--new", "10", "--json")
    assert code == 0
    document = last_json(out)
    assert document["total_flops"] == document["prefill_flops"] + document["decode_flops"]
    assert document["kv_bytes_per_token"] == 2 * 32 * 8 * 128 * 2
    assert "14.22 GFLOPs" in out


def test_flops_of_an_engine_that_thinks_have_its_thoughts(isoflop, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(MISTRAL))
    code, out, _ = isoflop("flops", "quietstar(model='.')", "--prompt", "299", "--new", "1", "--json")
    assert code == 0
    thoughts = last_json(out)["thoughts"]
    assert (thoughts["rows"], thoughts["chosen_tokens"], thoughts["forwards"]) == (7, 5, 5)
    assert thoughts["all_tokens_flops"] == thoughts["flops"] == pytest.approx(100.4e9, rel=0.01)
    assert "7 rows, 5 tokens chosen, 5 forwards more = 100." in out
    code, out, _ = isoflop("flops", "quietstar(model='.', ahead=True)", "--prompt", "299", "--new", "1", "--json")
    assert last_json(out)["thoughts"]["flops"] == thoughts["flops"]
    assert last_json(out)["thoughts"]["most_flops"] > 3 * thoughts["flops"]
    code, _, err = isoflop("flops", "scripted()")
    assert code == 2
    assert "has no model whose config could be read" in err


def test_plan_says_what_a_study_takes_and_compares_with_the_run(isoflop, study):
    code, out, _ = isoflop("plan", str(study), "--device", "h100", "--per-hour", "3", "--json")
    assert code == 0
    assert "will not show" in out
    assert [arm["label"] for arm in last_json(out)["arms"]] == ["greedy()", "best_of_n(n=4)"]
    isoflop("study", "run", str(study), "--out", "run")
    code, out, _ = isoflop("plan", str(study), "--like", "run", "--against", "run", "--json")
    assert code == 0
    assert [one["attempts"] for one in last_json(out)["outcomes"]] == [6, 6]


def test_plan_knows_its_devices(isoflop, study):
    code, _, err = isoflop("plan", str(study), "--device", "h1000")
    assert code == 2
    assert "did you mean 'h100'?" in err


def test_time_measures_every_arm(isoflop, study):
    code, out, err = isoflop("time", str(study), "--problems", "2", "--repeats", "2", "--json")
    assert code == 0
    assert "repeat 2 of 2" in err
    document = last_json(out)
    assert all(arm["latency_p50_seconds"] <= arm["latency_p95_seconds"] for arm in document["arms"])
    assert all(len(arm["problems_per_second_by_repeat"]) == 2 for arm in document["arms"])


def test_import_votes_on_the_samples_of_others(isoflop, tmp_path):
    rows = [{"id": f"p{p}", "question": "?", "answer": "7", "completion": f"The answer is {7 if s < p else s}",
             "reward": 0.5} for p in range(1, 4) for s in range(4)]  # fmt: skip
    (tmp_path / "samples.jsonl").write_text("\n".join(map(json.dumps, rows)))
    code, out, _ = isoflop("import", "samples.jsonl", "--json")
    assert code == 0
    [pool] = last_json(out)["pools"]
    assert pool["curves"]["pass@k"]["accuracy"][0] == pytest.approx((1 + 2 + 3) / 12)
    assert pool["curves"]["pass@k"]["accuracy"][-1] == 1
    assert "pass@k" in out


def test_list_names_every_strategy_with_its_fields(isoflop):
    code, out, _ = isoflop("list", "strategy", "--json")
    assert code == 0
    assert "rebase(width, temperature=0.1, balance='round'" in out
    assert {"greedy", "rebase", "mcts"} <= {entry["name"] for entry in last_json(out)["strategy"]}


def test_version_and_help_name_the_verbs(isoflop):
    from isoflop import __version__

    assert isoflop("--version")[1].strip() == __version__
    _, out, _ = isoflop("--help")
    verbs = ("solve", "compare", "study", "table", "figure", "flops", "plan", "time", "import", "list")
    assert all(verb in out for verb in verbs)
    assert "rebase(width=" in isoflop("compare", "--help")[1]


def test_progress_fits_eighty_columns_and_shows_what_is_left():
    import io

    from rich.console import Console

    from isoflop.cli.progress import arms_table, headline
    from isoflop.studies.progress import ArmProgress, Progress

    arms = tuple(ArmProgress(f"adaptive_consistency(max_n={n})", 3, 64, 1, 0, 10**13, 900) for n in (8, 16))
    progress = Progress(arms, 200.0, 7500.0)
    assert headline(progress) == "6 of 128 attempts (5 %), 3 min 20 s, about 2 h 5 min left"
    out = io.StringIO()
    Console(file=out, width=80).print(arms_table(progress))
    assert "33.3" in out.getvalue()
    assert "3.33" in out.getvalue()  # TFLOPs a problem
    assert max(map(len, out.getvalue().splitlines())) <= 80


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_is_done_and_says_how_to_go_on(tmp_path, questions, ending):
    command = [sys.executable, "-m", "isoflop", "compare", "--model", "scripted(sleep_seconds=0.05)", "--problems",
               f"jsonl('{questions}')", "--strategies", "rebase(width=2)", "--out", "run"]  # fmt: skip
    process = subprocess.Popen(
        [*command, "--concurrency", "1"], cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    while not (tmp_path / "run" / "isoflop.db").exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(0.6)
    process.send_signal(ending)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "of 6 attempts are stored in run" in err
    assert "go on with: isoflop compare" in err
    assert "Traceback" not in err
