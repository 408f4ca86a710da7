"""The laboratory: small models made from nothing on generated problems, and the study that is run on them.

`tokenizer` and `text` say what they read, `rows` and `train` make the base policy; thoughts and rewards are put on it
by `quietstar` and `reward_training`. What ships lies in `weights/` (`lab:NAME`, see `embedded.py`); every command that
made it is in `recipes/laboratory/`.
"""

from pathlib import Path

DEMO = Path(__file__).parent / "demo.toml"
# The registered study (docs/claim.md), and what dev fixed for it.
CLAIM = Path(__file__).parent / "claim.toml"
CHOICES = Path(__file__).parent / "claim-choices.toml"
