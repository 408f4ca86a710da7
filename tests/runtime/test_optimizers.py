"""Muon and AdamW in one optimiser: the same steps as the two apart, and a state that goes on."""

import copy

import torch

from isoflop.runtime.optimizers import MuonAdamW, muon_groups


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(7, 6)
        self.linear = torch.nn.Linear(6, 5)


def step(model, optimizer, number):
    torch.manual_seed(number)
    model.linear(model.embed(torch.randint(0, 7, (4,)))).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_each_parameter_is_stepped_by_its_own():
    torch.manual_seed(0)
    ours, theirs = Small(), Small()
    theirs.load_state_dict(ours.state_dict())
    both = MuonAdamW(muon_groups(ours.named_parameters(), 1e-2))
    muon = torch.optim.Muon([theirs.linear.weight], lr=1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    others = [theirs.embed.weight, theirs.linear.bias]
    adamw = torch.optim.AdamW(others, lr=1e-2, weight_decay=0.01, betas=(0.9, 0.98))
    for number in range(3):
        step(ours, both, number)
        torch.manual_seed(number)
        theirs.linear(theirs.embed(torch.randint(0, 7, (4,)))).square().sum().backward()
        for optimizer in (muon, adamw):
            optimizer.step()
            optimizer.zero_grad()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_its_state_goes_on_and_its_rates_are_those_of_its_groups():
    torch.manual_seed(0)
    whole = Small()
    optimizer = MuonAdamW(muon_groups(whole.named_parameters(), 1e-2))
    step(whole, optimizer, 0)
    resumed, state = copy.deepcopy(whole), copy.deepcopy(optimizer.state_dict())
    again = MuonAdamW(muon_groups(resumed.named_parameters(), 5.0))
    again.load_state_dict(state)
    for model, each in ((whole, optimizer), (resumed, again)):
        for group in each.param_groups:
            group["lr"] = 0.02
        step(model, each, 1)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    before = copy.deepcopy(whole.state_dict())
    step(whole, optimizer, 2)
    assert all(torch.equal(value, before[name]) for name, value in whole.state_dict().items())
