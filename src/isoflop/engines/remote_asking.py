"""What a server is asked: the body of each call, and how many tokens it must find in its prompt.

asker.body(draft), asker.prompt_tokens(draft)
"""

from __future__ import annotations

from isoflop.engines.draft import Draft
from isoflop.engines.local_text import Tokens
from isoflop.engines.remote import Remote
from isoflop.engines.remote_dialects import Dialect
from isoflop.http.client import Document


class Asker:
    """Completions by token ids or by text, or chats by messages. `path` is where they go."""

    def __init__(self, spec: Remote, tokens: Tokens, dialect: Dialect) -> None:
        self._spec, self._tokens, self._dialect = spec, tokens, dialect
        self.path = "/v1/chat/completions" if spec.api == "chat" else "/v1/completions"

    def body(self, draft: Draft) -> Document:
        """One call that goes on with a draft."""
        request, dialect = draft.request, self._dialect
        body: Document = {
            "model": self._spec.model,
            **self.prompt(draft),
            "max_tokens": draft.left,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": draft.seed,
            **dialect.extras,
        }
        if dialect.all_tokens is not None:
            body["top_k"] = request.top_k or dialect.all_tokens
        if dialect.logprobs:
            body |= {"logprobs": True, "top_logprobs": 1} if self._spec.api == "chat" else {"logprobs": 1}
        if not dialect.whole:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        elif draft.stops:
            body["stop"] = list(draft.stops)
        return body

    def prompt(self, draft: Draft) -> Document:
        """The part of a body that says what to go on from."""
        origin = draft.request.parent.origin
        if self._spec.api == "completions":
            text = self._tokens.without_start(origin.prompt_text)
            return {"prompt": list(draft.path) if self._dialect.ids_in else text + self._written(draft)}
        turns = self._tokens.as_asked(origin.prompt).messages
        messages = [{"role": role, "content": content} for role, content in turns]
        begun = origin.prompt.assistant_prefix + self._written(draft)
        if not begun:
            return {"messages": messages}
        messages.append({"role": "assistant", "content": begun})
        return {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}

    def prompt_tokens(self, draft: Draft) -> int:
        """How many tokens the server must say that it was asked with."""
        if self._dialect.ids_in:
            return len(draft.path)
        return len(self._tokens.encode(draft.request.parent.origin.prompt_text + self._written(draft), prompt=True))

    def drifted(self, expected: int, found: int | None) -> str:
        """What to say where it is another number."""
        if self._dialect.ids_in:
            return f"the server read {found} tokens where {expected} were sent: it changes its prompts"
        return (
            f"the server read {found} tokens where our tokenizer finds {expected}: it has another tokenizer or chat "
            f"template than tokenizer={self._spec.tokenizer or self._spec.model!r}, or changes what it is sent "
            "(api='completions' sends the text as it is)"
        )

    def _written(self, draft: Draft) -> str:
        """All text behind the prompt."""
        parent = draft.request.parent
        made = b"".join(self._tokens.pieces[token] for token in draft.path[parent.length + len(draft.request.forced) :])
        return parent.text + draft.request.forced_text + made.decode(errors="ignore")
