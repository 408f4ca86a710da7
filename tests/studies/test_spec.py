"""Studies: what they refuse, how they name arms, what their hash covers, and that they read themselves back."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoflop.asking import SamplingParams
from isoflop.cost.ledger import Budget
from isoflop.errors import StudyError
from isoflop.studies.spec import Arm, Study
from isoflop.studies.study_file import load_study, study_from_dict

PLAIN = {"problems": "jsonl(path='p.jsonl')", "model": "scripted()", "strategy": "greedy()"}


def declared(**changes: object) -> Study:
    return study_from_dict({**PLAIN, **changes}, "study.toml")


def test_a_file_becomes_every_combination_of_its_values(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        """
        name = "widths"
        problems = "jsonl(path='p.jsonl')"
        model = ["scripted()", "scripted(skill=0.9)"]
        split = "dev"
        seeds = [0, 7]
        reference = "g"

        [[arms]]
        strategy = "greedy()"
        model = "scripted()"
        name = "g"

        [[arms]]
        strategy = "rebase(width=[2, 4])"
        reward = ["logprob()", "random()"]
        budget = {tokens = 512}
        """
    )
    study = load_study(path)
    assert (study.name, study.split, study.seeds, study.reference) == ("widths", "dev", (0, 7), "g")
    assert len(study.arms) == 1 + 2 * 2 * 2
    assert study.arms[-1].budget == Budget(tokens=512)
    assert {len(family) for family in study.families} == {1, 2}  # each rebase family has two widths


@pytest.mark.parametrize("path", sorted(Path("recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_is_a_study(path: Path) -> None:
    study = load_study(path)
    assert study.name == path.stem
    assert study.pairs


def test_variables_are_filled_in_and_can_be_changed(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(
        """
        variables = {data = "p.jsonl"}
        problems = "jsonl(path='${data}')"
        model = "scripted()"
        arms = [{strategy = ["greedy()"], name = "on ${data}"}]
        """
    )
    assert str(load_study(path).problems) == "jsonl(path='p.jsonl')"
    assert load_study(path, {"data": "q.jsonl"}).labels == ("on q.jsonl",)
    with pytest.raises(StudyError, match="did you mean 'data'"):
        load_study(path, {"dat": "q.jsonl"})
    path.write_text(path.read_text().replace("${data}", "${dta}"))
    with pytest.raises(StudyError, match=r"\$\{dta\} is used"):
        load_study(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sede": [0]}, r"study.toml: key 'sede' is unknown; did you mean 'seeds'\? allowed: arms, budget"),
        ({"arms": [{"strategyy": "greedy()"}]}, r"study.toml: arms\[0\]: key 'strategyy' is unknown"),
        ({"strategy": "rebas(width=2)"}, r"study.toml: strategy = 'rebas\(width=2\)': .*did you mean 'rebase'"),
        ({"strategy": "rebase(width=0)"}, "strategy = 'rebase"),
        ({"strategy": []}, r"strategy = \[\] leaves nothing to run"),
        ({"seeds": []}, r"seeds=\[\] leaves nothing to run"),
        ({"seeds": [-1]}, "-1 is not a whole number"),
        ({"seeds": [1, 1]}, "repeats one"),
        ({"seeds": 3}, r"seeds = 3 is not a list such as \[0, 1\]"),
        ({"split": "train"}, r"split='train' is none of jsonl\(path='p.jsonl'\); allowed: dev, test"),
        ({"budget": {"flop": 1}}, "did you mean 'flops'"),
        ({"budget": {"tokens": 1.5}}, "tokens = 1.5 is not a whole number"),
        ({"budget": {"tokens": 0}}, "allows nothing"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"reference": "beam"}, r"arm 'beam' names no arm of this study; allowed: greedy\(\)"),
        ({"comparisons": "some"}, "allowed: 'reference', 'all', or a list of pairs"),
        ({"comparisons": [["greedy()"]]}, "is not a pair of two arms"),
        ({"comparisons": [["greedy()", "greedy()"]]}, "paired with itself"),
        ({"problems": "jsonl()"}, "needs path"),
        ({"arms": []}, r"one or more \[\[arms\]\] tables"),
        ({"arms": [{"strategy": "rebase(width=[2, 4])", "name": "r"}]}, "cannot name 2 arms"),
        ({"arms": [{"name": "a"}, {"strategy": "beam(width=2, expand=2)", "name": "a"}]}, "names two arms"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_fix(changes: dict[str, object], said: str) -> None:
    with pytest.raises(StudyError, match=said):
        declared(**changes)


def test_a_name_may_hold_each_arms_strategy() -> None:
    arms = [{"strategy": ["greedy()", "rebase(width=[2, 4])"], "name": "base: {strategy}"}]
    assert list(declared(arms=arms).labels) == [
        "base: greedy()",
        "base: rebase(width=2)",
        "base: rebase(width=4)",
    ]
    with pytest.raises(StudyError, match=r"cannot name 2 arms.*write \{strategy\} into it"):
        declared(
            arms=[{"strategy": "greedy()", "sampling": ["sampling()", "sampling(max_tokens=9)"], "name": "{strategy}"}]
        )


def test_a_missing_key_is_named() -> None:
    with pytest.raises(StudyError, match=r"study.toml: problems is missing"):
        study_from_dict({"model": "scripted()", "strategy": "greedy()"}, "study.toml")
    with pytest.raises(StudyError, match=r"study.toml: model is missing"):
        study_from_dict({"problems": "jsonl(path='p')", "strategy": "greedy()"}, "study.toml")


def test_a_file_that_is_missing_or_no_toml_says_so(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="cannot be read"):
        load_study(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("problems = \n")
    with pytest.raises(StudyError, match=r"bad.toml: not a study file in TOML.*line 1"):
        load_study(tmp_path / "bad.toml")


def test_an_oracle_may_select_but_not_steer() -> None:
    assert declared(strategy="best_of_n(n=2)", reward="oracle()").arms
    with pytest.raises(StudyError, match=r"oracle\(\) cannot steer rebase\(width=2\).*logprob\(\) and random\(\)"):
        declared(strategy="rebase(width=2)", reward="oracle()")


def test_a_strategy_that_asks_for_a_reward_gets_logprob_and_one_that_does_not_gets_none() -> None:
    study = declared(strategy=["greedy()", "rebase(width=2)"])
    assert [str(arm.reward) for arm in study.arms] == ["None", "logprob()"]
    # Two rewards make two searches, but one greedy: it would be the same arm twice.
    study = declared(strategy=["greedy()", "rebase(width=2)"], reward=["logprob()", "random()"])
    assert study.labels == ("greedy()", "rebase(width=2) | logprob()", "rebase(width=2) | random()")


def test_labels_say_no_more_than_is_needed() -> None:
    assert declared(strategy=["greedy()", "beam(width=2, expand=2)"]).labels == ("greedy()", "beam(width=2, expand=2)")
    two_models = declared(model=["local(model='a/small')", "local(model='b/large')"])
    assert two_models.labels == ("greedy() | small", "greedy() | large")
    same_name = declared(model=["local(model='a/same')", "local(model='b/same')"])
    assert same_name.labels == ("greedy() | local(model='a/same')", "greedy() | local(model='b/same')")
    budgets = declared(budget=[{"tokens": 64}, {"flops": 2e12}])
    assert budgets.labels == ("greedy() | tokens<=64", "greedy() | flops<=2e+12")


def test_a_model_is_a_folder_a_hub_id_or_an_engine() -> None:
    study = declared(model=["org/name", "/folder/x(1)", "scripted(steps=2)"])
    assert [str(arm.engine) for arm in study.arms] == [
        "local(model='org/name')",
        "local(model='/folder/x(1)')",
        "scripted(steps=2)",
    ]


def test_comparisons_are_against_the_reference_or_all_or_those_listed() -> None:
    three = ["greedy()", "self_consistency(n=2)", "self_consistency(n=4)"]
    assert declared(strategy=three).pairs == ()
    assert declared(strategy=three, reference="greedy()").pairs == ((three[1], three[0]), (three[2], three[0]))
    assert len(declared(strategy=three, comparisons="all").pairs) == 3
    listed = declared(strategy=three, comparisons=[["self_consistency( n = 4 )", "greedy"]])
    assert listed.pairs == (("self_consistency(n=4)", "greedy()"),)


def test_the_hash_covers_what_may_change_a_result_or_a_test_and_nothing_else() -> None:
    base = declared()
    assert declared(name="other", concurrency=2).hash == base.hash
    assert declared(strategy="greedy( )").hash == base.hash
    changes = {"seeds": [1], "split": "dev", "reference": "greedy()", "budget": {"tokens": 9}, "comparisons": "all"}
    hashes = {declared(**{key: value}).hash for key, value in changes.items()}
    hashes |= {declared(model="scripted(steps=2)").hash, declared(problems="jsonl(path='q.jsonl')").hash}
    assert len(hashes | {base.hash}) == 8


def test_differences_name_what_changed() -> None:
    lines = declared(seeds=[1]).differences(declared(strategy="self_consistency(n=2)"))
    assert any(line == "seeds: [1] here, [0] there" for line in lines)
    assert any(line.startswith("arm only there") and "self_consistency(n=2)" in line for line in lines)
    two = ["greedy()", "self_consistency(n=2)"]
    assert declared(strategy=two).differences(declared(strategy=two[::-1])) == ["arms: the same in another order"]


ARMS = st.lists(
    st.builds(
        Arm.of,
        model=st.sampled_from(["scripted()", "scripted(steps=5)"]),
        strategy=st.sampled_from(["greedy()", "rebase(width=3)", "best_of_n(n=2, vote='weighted')"]),
        reward=st.sampled_from([None, "random()"]),
        sampling=st.sampled_from([SamplingParams(), SamplingParams(temperature=0.5, top_k=3)]),
        budget=st.sampled_from([Budget(), Budget(tokens=5), Budget(flops=1e9, seconds=2.5)]),
    ),
    min_size=1,
    max_size=6,
)


@given(ARMS, st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True), st.sampled_from(["dev", "test"]))
def test_a_study_reads_itself_back(arms: list[Arm], seeds: list[int], split: str) -> None:
    study = Study("jsonl(path='p')", arms, split, seeds, comparisons="all")  # type: ignore[arg-type]
    again = study_from_dict(json.loads(json.dumps(study.to_dict())), "stored")
    assert again == study
    assert again.hash == study.hash
    assert len(set(study.labels)) == len(study.arms)
    assert [study.arm(label) for label in study.labels] == list(study.arms)
