"""`protocol = "as-published"`: an ordinary arm, spelled out, that any engine runs; and what it refuses."""

import pytest

from isoflop import specs
from isoflop.api import study_of
from isoflop.errors import SpecError, StudyError
from isoflop.problems.prompts import Plain, Published
from isoflop.report.table import Table
from isoflop.studies.protocol import AsPublished, protocol_of
from isoflop.studies.run import Run
from isoflop.studies.spec import Arm
from isoflop.studies.study_file import load_study, study_from_dict


def arm(strategy, prompt="published()"):
    return Arm.of(model="scripted()", strategy=strategy, prompt=prompt)


def test_the_study_itself_is_the_preset_at_its_own_lengths():
    vote = AsPublished().applied(arm("self_consistency(n=6)"))
    assert str(vote.strategy) == "published_vote()"
    assert vote.prompt == Published(step_end=())
    assert vote.sampling.temperature == 1.0
    search = AsPublished().applied(arm("rebase(width=6)"))
    assert str(search.strategy) == "published_rebase()"
    assert search.reward == specs.parse("reward", "logprob()")
    assert isinstance(search.prompt, Plain)  # without "Q:", as it was
    assert search.prompt.template == "{question}\nA: Let's think step by step."
    assert search.prompt.answer_prefix == Published().answer_prefix


def test_cuts_follow_the_length_of_a_models_solutions():
    search = AsPublished(solution_tokens=73, label="").applied(arm("rebase(width=16)", "plain(step_end=['= '])"))
    assert str(search.strategy) == "published_rebase(width=16, step_tokens=24, max_tokens=96, label='')"
    assert search.prompt.step_end == ()
    assert AsPublished(solution_tokens=1).applied(arm("rebase(width=2)")).strategy.step_tokens == 1


def test_what_the_study_did_not_run_has_no_published_form():
    with pytest.raises(StudyError, match=r"no form of beam\(width=2\): the study ran self_consistency\(n\) and rebase"):
        AsPublished().applied(arm("beam(width=2)"))
    with pytest.raises(SpecError, match=r"protocol 'as_publised' is unknown; did you mean 'as_published'"):
        protocol_of("as_publised")
    assert protocol_of("corrected") is None


def test_a_study_file_names_the_protocol_and_the_run_spells_it_out(tmp_path, questions):
    path = tmp_path / "study.toml"
    path.write_text(
        f"""
problems = "jsonl('{questions}')"
model = "scripted(steps=3, skill=0.9)"
prompt = "published()"
strategy = ["self_consistency(n=3)", "rebase(width=[2, 3])"]
protocol = ["corrected", "as_published(solution_tokens=60)"]
"""
    )
    study = load_study(path)
    assert len(study.arms) == 6
    assert study_from_dict(study.to_dict(), "again") == study  # empty lists of marks are read back
    run = Run.create(study, tmp_path / "run")
    run.execute()
    published = [record for record in run.attempts if "published_" in record.arm]
    assert len(published) == 3 * len(run.problems)
    assert not any(record.failed for record in published)
    assert "voted on as cut, nothing force-closed, as in the published study" in Table.of(run).to_text()
    path.write_text(path.read_text().replace("rebase(width=[2, 3])", "greedy()"))
    with pytest.raises(StudyError, match=r"study.toml: protocol .* has no form of greedy\(\)"):
        load_study(path)


def test_a_notebook_takes_it_too(questions):
    study = study_of(
        model="scripted()", problems=f"jsonl('{questions}')", strategies="rebase(width=6)", protocol="as-published"
    )
    assert study.labels == ("published_rebase()",)


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "1 + 1?", "answer": "2"}\n{"question": "2 + 2?", "answer": "4"}\n')
    return path
