"""Engines: what turns requests into tokens. Names are resolved lazily, so listing them imports nothing heavy."""

REGISTRY = {
    "local": "isoflop.engines.local:Local",
    "naive": "isoflop.engines.naive:Naive",
    "remote": "isoflop.engines.remote:Remote",
    "vllm": "isoflop.engines.vllm:Vllm",
    "scripted": "isoflop.engines.scripted:Scripted",
    "quietstar": "isoflop.quietstar.engine:QuietStar",
    "imported": "isoflop.studies.imported:ImportedModel",
}
