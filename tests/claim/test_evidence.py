"""Stored runs as evidence: a run a training seed, and runs of further arms beside them."""

import json

import pytest

from isoflop.api import compare
from isoflop.claim.evidence import Evidence
from isoflop.errors import StudyError


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Of two training seeds (engines of different skill): votes, and further arms on the same problems."""
    folder = tmp_path_factory.mktemp("runs")
    questions = folder / "q.jsonl"
    questions.write_text("".join(json.dumps({"question": f"{i}?", "answer": str(i)}) + "\n" for i in range(6)))

    def run(name, skill, strategies, problems=questions):
        return compare(
            model=f"scripted(skill={skill})", strategies=strategies, problems=f"jsonl('{problems}')",
            folder=folder / name,
        )  # fmt: skip

    fewer = folder / "fewer" / "q.jsonl"  # ids hold the file's name
    fewer.parent.mkdir()
    fewer.write_text("".join(questions.read_text().splitlines(keepends=True)[:4]))
    return {
        "main": [run(f"main-{skill}", skill, ["greedy()", "self_consistency(n=3)"]) for skill in (0.9, 0.4)],
        "further": [run(f"further-{skill}", skill, ["self_consistency(n=5)"]) for skill in (0.9, 0.4)],
        "fewer": [run(f"fewer-{skill}", skill, ["self_consistency(n=5)"], fewer) for skill in (0.9, 0.4)],
    }


def test_arms_of_further_runs_stand_beside_those_of_their_training_seed(runs):
    labels = ["greedy()", "self_consistency(n=5)"]
    evidence = Evidence.of_runs(runs["main"], labels, runs["further"])
    alone = Evidence.of_runs(runs["main"], labels[:1]), Evidence.of_runs(runs["further"], labels[1:])
    assert evidence.correct.shape == (2, 2, 6)
    for place, single in enumerate(alone):
        assert (evidence.correct[place] == single.correct[0]).all()
        assert (evidence.flops[place] == single.flops[0]).all()


def test_what_does_not_belong_together_is_refused(runs):
    with pytest.raises(StudyError, match=r"main-0.9: no arm 'self_consistency\(n=5\)'; did you mean"):
        Evidence.of_runs(runs["main"], ["self_consistency(n=5)"])
    with pytest.raises(StudyError, match="1 runs of further arms for 2 runs"):
        Evidence.of_runs(runs["main"], ["greedy()"], runs["further"][:1])
    with pytest.raises(StudyError, match="do not hold the same problems"):
        Evidence.of_runs([*runs["further"], *runs["fewer"]], ["self_consistency(n=5)"])


def test_further_arms_on_the_first_problems_are_compared_on_those(runs):
    labels = ["greedy()", "self_consistency(n=5)"]
    whole = Evidence.of_runs(runs["main"], labels, runs["further"])
    first = Evidence.of_runs(runs["main"], labels, runs["fewer"])
    assert first.correct.shape == (2, 2, 4)
    assert (first.correct == whole.correct[:, :, :4]).all()
