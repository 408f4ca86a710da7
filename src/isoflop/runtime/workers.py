"""The processes that train together (torchrun, accelerate launch): what each computes of a batch, on one model.

One process is the ordinary case of the same code. Each worker computes every so many-th solution of a global batch, and
as many forwards as all others, since their exchanges must match; one that has nothing left computes for nothing.

    workers = open_workers("auto")
    shares([4, 8, 1], at_once=1, worker=0, workers=2)       # [[4], [1]]; the other worker: [[8], []]
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from isoflop.errors import MissingExtraError, SpecError


def open_workers(device: str) -> Any:
    """Accelerate's Accelerator; one that finds a launcher's settings joins the other workers."""
    try:
        from accelerate import Accelerator
    except ImportError:
        raise MissingExtraError("training needs the package `accelerate`: pip install 'isoflop[train]'") from None
    if device not in ("auto", "cpu", "cuda"):
        raise SpecError(f"device={device!r}: a model is trained on auto, cpu or cuda (choose by CUDA_VISIBLE_DEVICES)")
    if device == "cuda" and not torch.cuda.is_available():
        raise SpecError("device='cuda' was asked for, but torch sees no CUDA device here; use device='cpu'")
    # Without a GPU accelerate has to be told: workers on CPUs would each believe that they are alone.
    return Accelerator(cpu=device == "cpu" or not torch.cuda.is_available())


def shares(places: Sequence[int], at_once: int, worker: int, workers: int) -> list[list[int]]:
    """This worker's forwards, each some of the places; all workers have as many, some of them empty."""
    own = list(places[worker::workers])
    forwards = math.ceil(math.ceil(len(places) / workers) / at_once)
    return [own[number * at_once : (number + 1) * at_once] for number in range(forwards)]


def spread(model: Any, workers: Any, shard: bool) -> Any:
    """The model on this worker's device, its gradients averaged over all workers."""
    if not shard or workers.num_processes == 1:
        return workers.prepare(model)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # The logits are a view, and nothing is ever done to them in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor", UserWarning)
    mesh = init_device_mesh(workers.device.type, (workers.num_processes,))
    model = model.to(workers.device)
    layers = set(_block_names(model))
    for module in model.modules():
        if type(module).__name__ in layers:
            fully_shard(module, mesh=mesh)
    return fully_shard(model, mesh=mesh)


@contextmanager
def exchange(model: Any, workers: Any, last: bool) -> Iterator[None]:
    """Backward passes inside keep their gradients to themselves until the `last` one, in which all are exchanged."""
    if last or workers.num_processes == 1:
        yield
        return
    if hasattr(model, "no_sync"):
        with model.no_sync():
            yield
        return
    model.set_requires_gradient_sync(False)
    yield
    model.set_requires_gradient_sync(True)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor that a sharded model's workers hold in parts; all of them have to ask together."""
    full: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full


def cut_like(value: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """The other way: a whole tensor in parts, as the parameter is; one of another shape is left as it is."""
    if not hasattr(parameter, "placements") or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    return distribute_tensor(value.to(parameter.device), parameter.device_mesh, parameter.placements)


def gathered(workers: Any, own: list[Any]) -> list[Any]:
    """What all workers have, one list behind the other."""
    from accelerate.utils import gather_object

    together: list[Any] = gather_object(own)
    return together


def _block_names(model: Any) -> Sequence[str]:
    """The classes of a transformer's layers, as transformers names them."""
    for module in model.modules():
        if names := getattr(module, "_no_split_modules", None):
            return list(names)
    return []
