"""Problems: where questions and gold answers come from, how a question is put to a model, and others' samples."""

REGISTRY = {
    "gsm8k": "isoflop.problems.gsm8k:GSM8K",
    "jsonl": "isoflop.problems.jsonl:JSONLines",
    "hub": "isoflop.problems.hub:Hub",
    "hiddenops": "isoflop.problems.hiddenops:HiddenOps",
    "countdown": "isoflop.problems.countdown:Countdown",
    "reasoning_gym": "isoflop.problems.reasoning_gym:ReasoningGym",
    "imported": "isoflop.studies.imported:ImportedProblems",
}
