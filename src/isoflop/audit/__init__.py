"""An audit: what results can and cannot show, from the answers and costs that were reported, ours included.

Order of reading: `arms` (what an audit reads), `published`, `samples`, `from_run` (where it is read from), `estimate`
(FLOPs of a configuration as it ran and as it would ideally run), `audit` (all findings), `layout` (as text).
"""
