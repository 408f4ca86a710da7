"""Opening a server: is it there, does it serve the model, does it count tokens as we do, and what can it do?

It is found out by asking: the list of models, then the same small prompt in the best way that the server takes, of the
ways from most to least informative. Two or three tokens are made; a study never starts on a guess.

    engine = open_remote(Remote("http://127.0.0.1:8000", "policy", tokenizer="path/to/model"))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from isoflop.asking import Prompt
from isoflop.core import Origin, Problem, Trajectory
from isoflop.cost.flops import Pricer
from isoflop.cost.spelled_shape import shape_of
from isoflop.engines.base import GenerationRequest
from isoflop.engines.draft import Draft
from isoflop.engines.local_text import Tokens, generation_end_tokens
from isoflop.engines.remote import Remote
from isoflop.engines.remote_asking import Asker
from isoflop.engines.remote_dialects import BY_OWNER, PLAIN, Dialect
from isoflop.engines.remote_engine import RemoteEngine
from isoflop.engines.remote_replies import Reader, choice_of, usage_of
from isoflop.errors import EngineError, ModelError, did_you_mean
from isoflop.http.client import Client, Document
from isoflop.http.failures import Failure

PROBE = Prompt(messages=(("user", "How much is 1 + 1?"),))
PLAIN_PROBE = Prompt("Question: How much is 1 + 1?\nAnswer:")
BEGUN = "1 + 1 ="  # what an assistant has begun to say, for a server that is to go on with it
REFUSED = (400, 404, 405, 422, 501)


def open_remote(spec: Remote) -> RemoteEngine:
    """See the module."""
    shape = shape_of(spec.priced_by)
    tokens = _tokens(spec, shape.vocab_size)
    client = Client(spec.address)
    try:
        dialect, context = client.now(_Probe(spec, client, tokens).run())
        limit = min(context or shape.max_positions, shape.max_positions)
        if spec.context_tokens is not None and spec.context_tokens > limit:
            raise ModelError(f"remote(context_tokens={spec.context_tokens}): the server takes {limit} tokens")
        return RemoteEngine(spec, client, tokens, dialect, Pricer(shape), spec.context_tokens or limit)
    except Failure as failure:
        client.close()
        raise EngineError(f"{failure.message}; start the server, or correct {spec}") from None
    except BaseException:
        client.close()
        raise


def _tokens(spec: Remote, vocab_size: int) -> Tokens:
    from isoflop.runtime.loading import load_tokenizer

    source = spec.tokenizer or spec.model
    try:
        tokenizer = load_tokenizer(source)
    except ModelError as error:
        raise ModelError(f"{error}; remote(tokenizer=...) names the tokenizer of {spec.model!r}") from None
    ends, size = generation_end_tokens(tokenizer, source), max(vocab_size, len(tokenizer))
    found = Tokens(tokenizer, size, ends, chat=spec.api == "chat")
    if not found.end_tokens:
        raise ModelError(f"the tokenizer of {source!r} has no end-of-sequence token: endings could not be told")
    return found


class _Probe:
    """The questions to one server."""

    def __init__(self, spec: Remote, client: Client, tokens: Tokens) -> None:
        self.spec, self.client, self.tokens = spec, client, tokens

    async def run(self) -> tuple[Dialect, int | None]:
        """What it can do, and the longest context it says it has."""
        listed = await self._listed()
        known = BY_OWNER.get(str(listed.get("owned_by")), PLAIN)
        context = listed.get("max_model_len") or (listed.get("meta") or {}).get("n_ctx")
        dialect = await self._best(known)
        if self.spec.api == "chat":
            dialect = replace(dialect, continues=await self._continues(dialect))
        return dialect, context

    async def _listed(self) -> Document:
        """What the server says of the model. ModelError where it does not serve it."""
        try:
            listed = (await self.client.get("/v1/models")).get("data") or []
        except Failure as failure:
            if failure.status in REFUSED:
                return {}
            raise
        names: dict[str, Document] = {
            name: one for one in listed for name in (one.get("id"), *(one.get("aliases") or ()))
        }
        if names and self.spec.model not in names:
            where, model = self.spec.address.root, self.spec.model
            raise ModelError(f"{where} does not serve model={model!r}{did_you_mean(model, names)}")
        return names.get(self.spec.model, {})

    async def _best(self, known: Dialect) -> Dialect:
        """The most informative way of asking that the server takes."""
        refused: list[str] = []
        for dialect in _ways(known, chat=self.spec.api == "chat"):
            try:
                return await self._seen(dialect)
            except Failure as failure:
                if failure.status not in REFUSED:
                    raise
                refused.append(failure.message)
        raise ModelError(f"{self.spec} cannot be asked in any way; the last refusal: {refused[-1]}")

    async def _seen(self, dialect: Dialect) -> Dialect:
        """The same way of asking, with what the answer shows."""
        asker, draft = Asker(self.spec, self.tokens, replace(dialect, whole=True)), self._draft()
        document = await self.client.post(asker.path, asker.body(draft))
        choice, told = choice_of(document), usage_of(document).prompt_tokens
        if told not in (None, asker.prompt_tokens(draft)):
            raise ModelError(f"{self.spec}: {asker.drifted(asker.prompt_tokens(draft), told)}")
        logprobs = choice.get("logprobs") or {}
        content = logprobs.get("content") or []
        whole = bool(choice.get("token_ids"))
        return replace(
            dialect,
            whole=whole,
            ids_out=whole or (bool(content) and "id" in content[0]),
            logprobs=bool(logprobs) and all(token.logprob < 1e-6 for token in Reader(self.tokens).read(choice)),
        )

    async def _continues(self, dialect: Dialect) -> bool:
        """Whether a chat goes on with what the assistant has begun to say, and with nothing else."""
        asker, draft = Asker(self.spec, self.tokens, replace(dialect, whole=True)), self._draft(BEGUN)
        try:
            document = await self.client.post(asker.path, asker.body(draft))
        except Failure as failure:
            if failure.status in REFUSED:
                return False
            raise
        return usage_of(document).prompt_tokens == asker.prompt_tokens(draft)

    def _draft(self, begun: str = "") -> Draft:
        """A request for one token."""
        chat = self.spec.api == "chat"
        prompt = replace(PROBE if chat else PLAIN_PROBE, assistant_prefix=begun)
        text = self.tokens.render(prompt)
        origin = Origin(Problem("probe", text), prompt, text, self.tokens.encode(text, prompt=True), 0, "probe")
        request = GenerationRequest(0, Trajectory.at(origin), stream=0, temperature=0.0, max_tokens=1)
        return Draft(request, self.tokens, 2**31)


def _ways(known: Dialect, *, chat: bool) -> Iterator[Dialect]:
    """From the most to the least informative."""
    steps: list[Callable[[Dialect], Dialect]] = [
        lambda way: replace(way, ids_in=not chat, logprobs=True),
        lambda way: replace(way, ids_in=False, logprobs=True),
        lambda way: replace(PLAIN, logprobs=True),
        lambda way: PLAIN,
    ]
    for step in steps[chat:]:
        yield step(known)
