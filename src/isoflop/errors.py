"""Every error isoflop raises, as a tree; each is also a standard-library class: plain `except ValueError` works.

    IsoflopError
    ├── SpecError          (ValueError)    a spelling like `rebase(width=0)` that names nothing runnable
    ├── ModelError         (ValueError)    a model folder or config that is missing, foreign or of the wrong kind
    ├── ProblemError       (ValueError)    a problem file or set that cannot be read as declared
    ├── PromptTooLongError (ValueError)    a prompt that leaves no room in the model's context
    ├── EngineError        (RuntimeError)  an engine that failed while generating (NaN logits, a dead server)
    ├── RewardError        (RuntimeError)  a reward that failed or answered with something that is no reward
    ├── StudyError         (ValueError)    a study file that is wrong, or statistics that may not be computed from it
    ├── StoreError         (OSError)       a run folder that is damaged, foreign, full, read-only or in use
    └── MissingExtraError  (ImportError)   a feature whose optional packages are not installed

A message states what was wrong, where, the values, the fix and the allowed names. The command line prints it without a
traceback; `cause` chains are kept for the notebook.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class IsoflopError(Exception):
    """Base of all errors that isoflop raises on purpose."""


class SpecError(IsoflopError, ValueError):
    """A spec that cannot be parsed, or whose values are not allowed."""


class ModelError(IsoflopError, ValueError):
    """A model that cannot be loaded or is not what the caller says it is."""


class ProblemError(IsoflopError, ValueError):
    """A problem set that cannot be read."""


class PromptTooLongError(IsoflopError, ValueError):
    """A prompt that does not fit into the model's context with room for an answer."""


class EngineError(IsoflopError, RuntimeError):
    """An engine that failed while generating."""


class RewardError(IsoflopError, RuntimeError):
    """A reward that failed while scoring."""


class StudyError(IsoflopError, ValueError):
    """A study that is declared wrongly, or a statistic that may not be computed from it."""


class StoreError(IsoflopError, OSError):
    """A run folder that cannot be read or written safely."""


class MissingExtraError(IsoflopError, ImportError):
    """An optional feature whose packages are not installed."""


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'? allowed: a, b, c` — the tail of every message about an unknown name."""
    names = sorted(allowed)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} allowed: {', '.join(names)}" if hint else f"; allowed: {', '.join(names)}"
