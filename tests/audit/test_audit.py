"""The audit: the published logs give what two independent readings gave, and estimates equal a naive twin."""

import json
from pathlib import Path

import pytest

from isoflop.audit.audit import Audit
from isoflop.audit.estimate import N_AHEAD, Ran, Uncached, estimated, how_it_ran
from isoflop.audit.from_run import read_run
from isoflop.audit.published import read_published
from isoflop.audit.samples import read_sample_files
from isoflop.cost.flops import Pricer
from isoflop.cost.published import MISTRAL_7B, published_flops_per_token
from isoflop.cost.shape import load_shape, shape_from_config
from isoflop.errors import ProblemError, StudyError
from isoflop.quietstar.cost import ThoughtPricer, reference_flops
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm, Study

PAPER = Path(__file__).parents[2].parent / "shared" / "paper"
needs_logs = pytest.mark.skipif(not (PAPER / "published_runs.csv").exists(), reason="needs shared/paper")
RATE = 7_650_672_640
HEADER = "configuration,question,gold,picked,correct,reported_flops,reported_seconds\n"
SMALL = shape_from_config(
    {"model_type": "mistral", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50, "sliding_window": None}
)


def csv_file(folder, *lines):
    path = folder / "results.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


def small_csv(folder):
    """Two configurations on four questions: the second is right where the first is wrong, but once."""
    lines = [f"baseline,{i},7,{7 if i == 0 else 8},{int(i == 0)},{RATE * 60 * (i + 1)},2.5" for i in range(4)]
    lines += [f"mine,{i},7,{7 if i else 8},{int(i > 0)},," for i in range(4)]
    return csv_file(folder, *lines)


def test_the_studys_price_of_a_token_is_that_of_its_logs():
    assert published_flops_per_token(MISTRAL_7B) == RATE
    assert MISTRAL_7B.parameters == 7_241_732_096


@needs_logs
def test_the_published_logs_give_the_published_table_and_its_second_reading():
    found = Audit.of(read_published(PAPER / "published_runs.csv", prompt_tokens=77), "published", 77)
    arms = {arm.name: arm for arm in found.arms}
    assert {name: round(100 * arm.data.accuracy, 2) for name, arm in arms.items()} == {
        "baseline": 10.16, "quiet-star": 32.03, "rebase(width=3)": 10.94,
        "rebase(width=6)": 10.16, "rebase(width=16)": 12.50, "quiet-star+rebase": 9.38,
    }  # fmt: skip
    intervals = {name: found.interval(arm) for name, arm in arms.items()}
    assert (round(intervals["quiet-star"].low, 3), round(intervals["quiet-star"].high, 3)) == (0.246, 0.405)
    p = {(pair.a, pair.b): pair.p for pair in found.pairs}
    assert len(p) == 15
    assert p["baseline", "quiet-star"] == pytest.approx(2e-6, rel=0.1)
    assert p["quiet-star", "quiet-star+rebase"] == pytest.approx(1.5e-5, rel=0.1)
    assert min(p["baseline", name] for name in arms if "rebase" in name) > 0.67
    score = found.measures(arms["rebase(width=3)"])
    assert score is not None
    assert score.efficiency_score == pytest.approx(601.14, rel=0.01)
    assert found.detectable == pytest.approx(0.11, abs=0.005)


@needs_logs
def test_the_estimates_meet_the_ones_made_independently():
    """design/quietstar.md section 5, in TFLOPs, with 77 prompt tokens: cached 27.5 and 197; as run 4.7 and 49 thousand,
    which equal lengths must not pass."""
    arms = {arm.name: arm.compute for arm in read_published(PAPER / "published_runs.csv", prompt_tokens=77)}
    assert arms["baseline"].alone / 1e12 == pytest.approx(27.5, rel=0.01)
    assert arms["quiet-star"].alone / 1e12 == pytest.approx(197, rel=0.01)
    assert 0.85 * 4700 < arms["baseline"].as_run / 1e12 < 4700
    assert 0.85 * 49000 < arms["quiet-star"].as_run / 1e12 < 49000
    for compute in arms.values():
        assert compute.ideal < compute.alone <= compute.as_run <= compute.uncached


@needs_logs
def test_candidates_say_what_a_better_choice_could_have_had():
    arms = read_published(PAPER / "published_runs.csv", prompt_tokens=80, candidates=PAPER / "published_candidates.csv")
    choice = {arm.name: arm.choice for arm in arms}
    assert choice["quiet-star"].any_right == pytest.approx(81 / 128)
    assert choice["quiet-star"].majority == pytest.approx(42.4 / 128, abs=0.0005)  # ties by fair chance
    assert choice["baseline"].single == pytest.approx(0.072, abs=0.0005)
    assert {arm.name: len(arm.disputed) for arm in arms if arm.disputed} == {
        "rebase(width=3)": 1, "rebase(width=6)": 2, "rebase(width=16)": 2, "quiet-star+rebase": 1,
    }  # fmt: skip


@pytest.mark.parametrize("ran", [Ran(2), Ran(2, N_AHEAD), Ran(None, cached=True), Ran(None, N_AHEAD)])
def test_estimates_equal_a_twin_that_adds_token_by_token(ran):
    prompt, tokens = 5, 101
    lengths = [51, 50] if ran.samples else [96, 5]
    pricer, compute = Pricer(SMALL), estimated(ran, tokens, prompt, SMALL)
    thoughts = ThoughtPricer(pricer, N_AHEAD)
    own = scored = uncached = 0
    for length in lengths:
        own += sum(pricer.decode(prompt + made, 1) for made in range(length - 1))
        if ran.n_ahead:
            own += sum(thoughts.cost(prompt + made).flops for made in range(length))
            uncached += sum(reference_flops(SMALL, n_ahead=8, context=prompt + made) for made in range(length))
        else:
            uncached += sum(pricer.prefill(0, prompt + made, prompt + made) for made in range(length))
        scored += 0 if ran.samples else pricer.prefill(0, prompt + length)
    shared = pricer.prefill(0, prompt)
    read = 0 if ran.samples else scored - (len(lengths) - 1) * pricer.prefill(0, prompt, 0)
    assert compute.ideal == shared + own + read
    assert compute.alone == len(lengths) * shared + own + scored
    assert compute.uncached == uncached + scored
    assert compute.as_run == (compute.alone if ran.cached else compute.uncached)


def test_only_the_studys_own_configurations_are_estimated(tmp_path):
    assert how_it_ran("quiet-star+rebase(width=6)") == Ran(None, N_AHEAD)
    assert how_it_ran("quiet-star-2") is None
    baseline, mine = read_published(small_csv(tmp_path), prompt_tokens=80)
    assert baseline.compute.tokens == 150
    assert mine.compute.ideal is mine.reported_flops is mine.reported_seconds is None
    assert Uncached(SMALL, None).of(3, 0) == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("baseline,0,7,7,yes,1,1", "line 2: correct is 'yes'; it must be 0 or 1"),
        ("baseline,0,7,7,1,many,1", "line 2: reported_flops is 'many'"),
        ("baseline,0,7,7,1,1,-2", "line 2: reported_seconds is '-2'"),
        ("baseline,0,7", "line 2 does not have as many fields as the header"),
        ("", "holds no results"),
    ],
)
def test_a_damaged_file_is_told_with_line_and_value(tmp_path, line, message):
    with pytest.raises(ProblemError, match=message):
        read_published(csv_file(tmp_path, line), prompt_tokens=80)


def test_a_file_of_another_form_is_told_which_columns_are_missing(tmp_path):
    path = tmp_path / "other.csv"
    path.write_text("model,score\na,1\n")
    with pytest.raises(ProblemError, match=r"has no configuration, question, .*; it has model, score"):
        read_published(path, prompt_tokens=80)


def test_arms_on_other_questions_are_not_paired(tmp_path):
    path = csv_file(tmp_path, "baseline,0,7,7,1,,", "mine,1,7,7,1,,")
    with pytest.raises(StudyError, match="do not hold the same problems"):
        Audit.of(read_published(path, prompt_tokens=80), "two")


def test_candidates_that_belong_to_no_result_are_refused(tmp_path):
    other = tmp_path / "candidates.csv"
    other.write_text("configuration,question,candidate,answer,reward\nbaseline,9,1,7,\n")
    with pytest.raises(ProblemError, match=r"line 2: .* is no result of the first file"):
        read_published(small_csv(tmp_path), prompt_tokens=80, candidates=other)


def lm_eval_samples(folder, name, right):
    """Five documents, in another order for each file."""
    rows = [
        {"doc_id": i, "doc": {"question": f"{i}?"}, "target": f"#### {i}", "arguments": [[f"{i}?", {}]]}
        | {"resps": [[f"The answer is {i if i in right else i + 1}."]], "filtered_resps": ["x"]}
        for i in (range(5) if name == "a" else reversed(range(5)))
    ]
    folder = folder / name
    folder.mkdir()
    path = folder / "samples_gsm8k_2026-01-31T10-00-00.000000.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_samples_of_others_are_graded_and_paired_whatever_their_order(tmp_path):
    paths = [lm_eval_samples(tmp_path, "a", {0, 1, 2}), lm_eval_samples(tmp_path, "b", {2, 3})]
    found = Audit.of(read_sample_files(paths), "two files")
    [pair] = found.pairs
    assert [arm.data.accuracy for arm in found.arms] == [0.6, 0.4]
    assert (pair.a_only, pair.b_only, pair.method) == (2, 1, "exact McNemar")
    assert {arm["flops_per_question"]["ideal"] for arm in found.to_dict()["arms"]} == {None}


def test_a_log_of_inspect_is_an_arm_as_well(tmp_path):
    samples = [
        {"id": str(i), "epoch": 1, "input": f"{i}?", "target": str(i)}
        | {"output": {"choices": [{"message": {"role": "assistant", "content": f"The answer is {i * (i < 3)}."}}]}}
        for i in range(5)
    ]
    (tmp_path / "log.json").write_text(json.dumps({"samples": samples}))
    [arm] = read_sample_files([tmp_path / "log.json"])
    found = Audit.of([arm], "log.json")
    assert (found.to_dict()["arms"][0]["correct"], found.questions, found.pairs) == (3, 5, ())


def test_a_run_of_our_own_is_audited_by_its_books(tmp_path, tiny_llama_folder):
    questions = tmp_path / "q.jsonl"
    questions.write_text("\n".join(json.dumps({"question": f"{i} + {i}?", "answer": str(2 * i)}) for i in range(4)))
    study = Study(
        f"jsonl('{questions}')",
        [
            Arm.of(model=str(tiny_llama_folder), strategy=one, prompt="plain()", sampling="sampling(max_tokens=8)")
            for one in ("greedy()", "self_consistency(n=3)")
        ],
    )
    run = Run.create(study, tmp_path / "run")
    with pytest.raises(StudyError, match="no arm is complete"):
        read_run(run)
    run.execute()
    arms, left_out = read_run(run)
    assert left_out == []
    _, vote = arms
    charged = [record.charged_total for record in run.attempts if record.arm == vote.name]
    shape = load_shape(tiny_llama_folder)
    tokens = sum(cost.new_tokens for cost in charged) / len(charged)
    assert vote.compute.ideal == sum(cost.flops for cost in charged) / len(charged)
    assert vote.reported_flops == tokens * published_flops_per_token(shape)
    assert vote.choice.mean == 3
    assert not vote.estimated
    # The twin adds token by token: each reads all before it anew.
    pricer, total = Pricer(shape), 0
    for record in run.attempts:
        if record.arm != vote.name:
            continue
        for node in record.nodes:
            if node.parent is None:
                start = record.charged_total.prompt_tokens
                start -= sum(1 + one.step.forced for one in record.nodes if one.step.forced)
            before, place = 0, node.parent
            while place is not None:
                before, place = before + len(record.nodes[place].step.tokens), record.nodes[place].parent
            first = start + before + node.step.forced
            total += sum(pricer.prefill(0, first + i, first + i) for i in range(node.step.sampled))
    assert vote.compute.uncached == pytest.approx(total / len(charged))
