"""The laboratory's tokens: one a digit, a name, an operator with its spaces, a line's end. No merges, nothing learnt.

Both problem families are written in them (`hiddenops`, `countdown`), and joining tokens gives the text back. It is an
ordinary tokenizer of transformers and lies beside the weights as such.

    tokenizer = word_tokenizer()
    tokenizer.tokenize("d = 7")                     # ["d", " = ", "7"]
"""

from __future__ import annotations

import re
import string
from typing import Any

END, PAD, UNKNOWN, FILLER = "<end>", "<pad>", "<unknown>", "---"
# Longest first where one begins another.
MARKS = (FILLER, "#### ", ", left ", " from ", " = ", " + ", " - ", " * ", ": ", ", ", "?", "\n", " ")
WORDS = (*MARKS, *string.digits, *string.ascii_lowercase)


def word_tokenizer() -> Any:
    """A `PreTrainedTokenizerFast` of `WORDS` and three special tokens."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate((END, PAD, UNKNOWN, *WORDS))}
    backend = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = Split(Regex("|".join([*map(re.escape, MARKS), "[0-9]", "[a-z]", "."])), "isolated")
    backend.decoder = Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END,
        pad_token=PAD,
        unk_token=UNKNOWN,
        clean_up_tokenization_spaces=False,
    )
