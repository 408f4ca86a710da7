"""Share of results that are likeliest behind a right prefix, and their mean probability, by K.

python right_by_k.py MODEL "hiddenops(n_steps=[3,6,9,12], n=150)"
"""

import collections
import sys

import torch

torch.set_num_threads(1)
from transformers import AutoModelForCausalLM, AutoTokenizer

from isoflop.specs import parse

folder = sys.argv[1]
spec = sys.argv[2] if len(sys.argv) > 2 else "hiddenops(n_steps=[3,6,9,12], n=150)"
tok = AutoTokenizer.from_pretrained(folder)
m = AutoModelForCausalLM.from_pretrained(folder).eval()
eq = tok.convert_tokens_to_ids(" = ")
hit = collections.Counter()
tot = collections.Counter()
pm = collections.Counter()
other = [0, 0]
for p in parse("problems", spec).load("dev"):
    q = p.question + "\n"
    s = p.meta["solution"]
    ids = tok.encode(q + s + "<end>")
    n0 = len(tok.encode(q))
    with torch.no_grad():
        lg = m(torch.tensor([ids])).logits[0].log_softmax(-1)
    ks = [len(h) + 1 for h in p.meta["hidden"]]
    i = 0
    for t in range(n0 - 1, len(ids) - 1):
        ok = int(lg[t].argmax() == ids[t + 1])
        if ids[t] == eq:
            k = ks[i]
            i += 1
            hit[k] += ok
            tot[k] += 1
            pm[k] += lg[t, ids[t + 1]].exp().item()
        else:
            other[0] += ok
            other[1] += 1
for k in sorted(tot):
    print(k, tot[k], round(hit[k] / tot[k], 3), "p", round(pm[k] / tot[k], 3))
print("other", other[0] / other[1], other[1])
