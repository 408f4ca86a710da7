"""The runtime: a transformers model with keys and values in preallocated slots, ragged batches, exact sampling.

Shared by the local engine, reward models and models of our own. It knows tensors, not searches: no trajectory, no cost.

    model = load_model("path/to/model", dtype="auto", device="auto")
    runner = Runner(model, slots=16, slot_tokens=2048)
"""
