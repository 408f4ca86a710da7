"""Answers: read from text by a declared format, verified against gold, clustered for the vote, and voted over."""

REGISTRY = {
    "math": "isoflop.answers.graders:MathGrader",
    "choice": "isoflop.answers.graders:ChoiceGrader",
    "countdown": "isoflop.answers.countdown:CountdownGrader",
    "reasoning_gym": "isoflop.answers.reasoning_gym:ReasoningGymGrader",
}
