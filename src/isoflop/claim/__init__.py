"""The registered claim, evaluated: does the combination of thoughts and search beat each of the two alone?

What is tested stands in docs/claim.md. Order of reading: `choices` (what dev fixed), `evidence` (stored runs, one for
each training seed), `bootstrap` (problems and seeds drawn anew), `hypotheses` (H0 to H4), `choose` (how dev fixes it).
"""
