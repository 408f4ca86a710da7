"""Drawing tokens: a uniform number per row, inverted through the cumulative distribution. Nothing else is random.

Plain temperature sampling needs no sort and no noise over the vocabulary: sums of blocks find the block, a cumulative
sum inside it the token. Rows with top-k or top-p are cut to their best tokens first. The log-probability returned is
that of the chosen token at temperature 1 over the whole vocabulary. `verify` judges tokens that another distribution
drafted: what comes out is distributed as if it had been drawn (speculative sampling, Leviathan et al. 2023,
arXiv 2211.17192, appendix A.1). It is not a beam search.

    tokens, logprobs, broken = sample(logits_UV, rows, temperature, top_p, top_k, uniforms)
    tokens, logprobs, broken = verify(drafts, draft_RV, wanted_RV, temperature, top_p, top_k, accept, redraw)

Legend: U distinct rows of logits, R rows drawn (several may share one row of logits), V vocabulary, B blocks, W their
width.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
# Logits are worked on in pieces that stay in a CPU's cache.
PIECE_ELEMENTS = 1 << 20
# Truncated rows start with so many candidates; blocks of the vocabulary without a candidate are skipped.
FIRST_CANDIDATES = 64
BLOCK = 128


@torch.inference_mode()
def sample(
    logits_UV: torch.Tensor, rows: Ints, temperature: Floats, top_p: Floats, top_k: Ints, uniforms: Floats
) -> tuple[Ints, Floats, npt.NDArray[np.bool_]]:
    """Tokens, log-probabilities and whether the logits are broken (not a number), each [R]. `rows` must be sorted."""
    tokens = np.zeros(len(rows), dtype=np.int64)
    logprobs = np.zeros(len(rows))
    broken = np.zeros(len(rows), dtype=np.bool_)
    count = max(1, PIECE_ELEMENTS // logits_UV.shape[1]) if logits_UV.device.type == "cpu" else len(logits_UV)
    for start in range(0, len(logits_UV), count):
        low, high = np.searchsorted(rows, [start, start + count])
        part = slice(low, high)
        if low == high:
            continue
        scores_UV = logits_UV[start : start + count].float()
        drawn = _Piece(scores_UV, rows[part] - start, temperature[part])
        tokens[part] = drawn.draw(top_p[part], top_k[part], uniforms[part])
        logprobs[part] = drawn.logprobs(tokens[part])
        broken[part] = drawn.broken
    return tokens, logprobs, broken


@torch.inference_mode()
def verify(
    drafts: Ints,
    draft_RV: torch.Tensor,
    wanted_RV: torch.Tensor,
    temperature: Floats,
    top_p: Floats,
    top_k: Ints,
    accept: Floats,
    redraw: Floats,
) -> tuple[Ints, Floats, npt.NDArray[np.bool_]]:
    """Tokens distributed as `sample` draws from `wanted_RV`, given drafts that were drawn from `draft_RV`, each [R].

    A draft d stays with probability min(1, p(d) / q(d)), where p and q are the wanted and the drafting distribution;
    else the token is drawn from the positive part of p - q. A draft stays on average as often as the sum of min(p, q).
    `accept` and `redraw` are uniform numbers of their own. The log-probabilities are those of `wanted_RV`.
    """
    tokens, everyone = drafts.copy(), np.arange(len(drafts))
    piece = _Piece(wanted_RV.float(), everyone, temperature)
    greedy = temperature == 0
    if greedy.any():
        tokens[greedy] = piece.scores_UV[torch.from_numpy(np.flatnonzero(greedy))].argmax(-1).cpu().numpy()
    rest = np.flatnonzero(~greedy)
    if len(rest):
        q_RV = _Piece(draft_RV.float(), everyone, temperature).distribution(rest, top_p, top_k)
        p_RV = piece.distribution(rest, top_p, top_k)
        at_R1 = torch.from_numpy(drafts[rest]).to(p_RV.device)[:, None]
        p_R, q_R = (one_RV.gather(1, at_R1)[:, 0].double().cpu().numpy() for one_RV in (p_RV, q_RV))
        # Rows that are not numbers are told by `broken`; they keep their draft.
        refused = np.flatnonzero((accept[rest] * q_R >= p_R) & (p_R < q_R))
        if len(refused):
            which = torch.from_numpy(refused).to(p_RV.device)
            left_RV = (p_RV[which] - q_RV[which]).clamp_min_(0)
            redrawn = _invert(left_RV, torch.from_numpy(redraw[rest][refused]).to(p_RV.device)).cpu().numpy()
            # By rounding alone nothing may be left where p and q are equal: then the draft is as good as any.
            tokens[rest[refused]] = np.where(left_RV.sum(-1).cpu().numpy() > 0, redrawn, drafts[rest][refused])
    return tokens, piece.logprobs(tokens), piece.broken


def likeliest(logits_RV: torch.Tensor) -> Ints:
    """The likeliest token of each row, the first of equals. In bfloat16 `argmax` takes five times as long as `max`."""
    tokens: Ints = logits_RV.max(-1).indices.cpu().numpy()
    return tokens


class _Piece:
    """A few rows of logits, in float32."""

    def __init__(self, scores_UV: torch.Tensor, rows: Ints, temperature: Floats) -> None:
        device = scores_UV.device
        self.scores_UV, self.temperature = scores_UV, temperature
        self.shared = len(rows) != len(scores_UV) or bool((rows != np.arange(len(rows))).any())
        self.rows_R = torch.from_numpy(rows).to(device)
        # The fused softmax is a third faster than its parts; the best token's share gives back what it divided by.
        self.shares_UV = scores_UV.softmax(-1)
        self.total_U = scores_UV.amax(-1).double() - self.shares_UV.amax(-1).double().log()
        self.broken = ~torch.isfinite(self.total_U)[self.rows_R].cpu().numpy()

    def logprobs(self, tokens: Ints) -> Floats:
        """At temperature 1 over the whole vocabulary."""
        chosen_R = self.scores_UV[self.rows_R, torch.from_numpy(tokens).to(self.scores_UV.device)]
        result: Floats = (chosen_R.double() - self.total_U[self.rows_R]).cpu().numpy()
        return result

    def draw(self, top_p: Floats, top_k: Ints, uniforms: Floats) -> Ints:
        """A token per row."""
        greedy = self.temperature == 0
        cut = ~greedy & ((top_p < 1) | (top_k > 0))
        plain = ~greedy & ~cut
        tokens = np.zeros(len(uniforms), dtype=np.int64)
        if greedy.any():
            tokens[greedy] = self.scores_UV[self._index(greedy)].argmax(-1).cpu().numpy()
        if cut.any():
            tokens[cut] = self._draw_cut(cut, top_p[cut], top_k[cut], uniforms[cut])
        if plain.any():
            tokens[plain] = self._draw_plain(plain, uniforms[plain])
        return tokens

    def distribution(self, chosen: Ints, top_p: Floats, top_k: Ints) -> torch.Tensor:
        """What the chosen rows, none of them greedy, are drawn from, [R, V]."""
        mask = np.zeros(len(self.temperature), dtype=np.bool_)
        mask[chosen] = True
        cut = (top_p[chosen] < 1) | (top_k[chosen] > 0)
        shares_RV = self._shares(mask)
        if cut.any():
            weights_RC, which_RC = self._cut(mask, top_p[chosen], top_k[chosen])
            weights_RC /= weights_RC.sum(-1, keepdim=True)
            cut_RV = torch.zeros_like(shares_RV).scatter_(1, which_RC, weights_RC.to(shares_RV.dtype))
            shares_RV = torch.where(torch.from_numpy(cut).to(shares_RV.device)[:, None], cut_RV, shares_RV)
        return shares_RV

    def _index(self, chosen: npt.NDArray[np.bool_]) -> torch.Tensor:
        return self.rows_R[torch.from_numpy(np.flatnonzero(chosen)).to(self.rows_R.device)]

    def _shares(self, chosen: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Probabilities of the chosen rows at their temperatures; no copy in the plain case."""
        temperature = self.temperature[chosen]
        if (temperature != 1).any():
            heat_R1 = torch.from_numpy(temperature).to(self.scores_UV).unsqueeze(1)
            return (self.scores_UV[self._index(chosen)] / heat_R1).softmax(-1)
        return self.shares_UV[self._index(chosen)] if self.shared or not chosen.all() else self.shares_UV

    def _draw_plain(self, chosen: npt.NDArray[np.bool_], uniforms: Floats) -> Ints:
        """Two-level inversion over the vocabulary in its own order."""
        shares_RV = self._shares(chosen)
        return _invert(shares_RV, torch.from_numpy(uniforms).to(shares_RV.device)).cpu().numpy()

    def _draw_cut(self, chosen: npt.NDArray[np.bool_], top_p: Floats, top_k: Ints, uniforms: Floats) -> Ints:
        """Top-k, then top-p."""
        weights_RC, which_RC = self._cut(chosen, top_p, top_k)
        place_R = _invert(weights_RC, torch.from_numpy(uniforms).to(weights_RC.device))
        tokens: Ints = which_RC.gather(1, place_R[:, None])[:, 0].cpu().numpy()
        return tokens

    def _cut(self, chosen: npt.NDArray[np.bool_], top_p: Floats, top_k: Ints) -> tuple[torch.Tensor, torch.Tensor]:
        """Weights of the tokens that top-k, then top-p leave, and which tokens those are. It looks among the best
        tokens alone; as many of those as the rows turn out to need."""
        shares_RV, vocab = self._shares(chosen), self.scores_UV.shape[1]
        keep_R = torch.from_numpy(np.where(top_k > 0, np.minimum(top_k, vocab), vocab)).to(shares_RV.device)
        nucleus_R = torch.from_numpy(top_p).to(shares_RV.device)
        wanted = min(vocab, max(FIRST_CANDIDATES, int(top_k.max())))
        while True:
            best_RC, which_RC = _best(shares_RV, wanted)
            weights_RC = best_RC.double() * (torch.arange(wanted, device=keep_R.device) < keep_R[:, None])
            sums_RC = weights_RC.cumsum(-1)
            limit_R = nucleus_R * torch.where(keep_R < vocab, sums_RC[:, -1], 1.0)
            if wanted == vocab or bool(((keep_R <= wanted) | (sums_RC[:, -1] >= limit_R)).all()):
                break
            wanted = min(vocab, wanted * 8)
        weights_RC *= sums_RC - weights_RC < limit_R[:, None]
        return weights_RC, which_RC


def _best(shares_RV: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The `count` largest entries of each row, sorted, and where they are.

    They lie in the `count` blocks with the largest maxima, so most of a large vocabulary is never looked at one by one.
    """
    rows, width = shares_RV.shape
    blocks = width // BLOCK
    if count * 4 > blocks:
        return shares_RV.topk(count)
    highest_RB = shares_RV[:, : blocks * BLOCK].reshape(rows, blocks, BLOCK).amax(-1)
    chosen_RB = highest_RB.topk(count, sorted=False).indices
    columns_RC = (chosen_RB[:, :, None] * BLOCK + torch.arange(BLOCK, device=chosen_RB.device)).flatten(1)
    rest_C = torch.arange(blocks * BLOCK, width, device=chosen_RB.device)
    columns_RC = torch.cat([columns_RC, rest_C.expand(rows, -1)], 1)
    best_RC, place_RC = shares_RV.gather(1, columns_RC).topk(count)
    return best_RC, columns_RC.gather(1, place_RC)


def _invert(weights_RV: torch.Tensor, uniforms_R: torch.Tensor) -> torch.Tensor:
    """For each row the first index at which the cumulative weight passes its uniform share of the total."""
    rows, width = weights_RV.shape
    # About as many blocks as tokens in a block: 297 of 512 for 151,936; sums of fewer than 64 are not worth a block.
    block = 1 << max(6, width.bit_length() // 2)
    blocks = width // block
    sums_RB = weights_RV[:, : blocks * block].reshape(rows, blocks, block).sum(-1)
    if width % block:
        sums_RB = torch.cat([sums_RB, weights_RV[:, blocks * block :].sum(-1, keepdim=True)], 1)
    block_R, within_R = _search(sums_RB.double(), uniforms_R)
    columns_RW = block_R[:, None] * block + torch.arange(block, device=block_R.device)
    inside_RW = weights_RV.gather(1, columns_RW.clamp_max(width - 1)).double()
    if width % block:
        inside_RW *= columns_RW < width
    # The clamp is for rows that are not numbers: whatever they draw must be a token.
    return (block_R * block + _search(inside_RW, within_R)[0]).clamp_max(width - 1)


def _search(weights_RW: torch.Tensor, share_R: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Index by inversion, and how far into that entry's own weight (0 to 1) the share reaches."""
    sums_RW = weights_RW.cumsum(-1)
    total_R = sums_RW[:, -1]
    # Rounding must never reach an entry of weight zero: the first sum strictly above the target has weight.
    target_R = torch.minimum(share_R * total_R, torch.nextafter(total_R, torch.zeros_like(total_R)))
    index_R = torch.searchsorted(sums_RW, target_R[:, None], right=True)[:, 0].clamp_max(weights_RW.shape[1] - 1)
    own_R = weights_RW.gather(1, index_R[:, None])[:, 0]
    before_R = sums_RW.gather(1, index_R[:, None])[:, 0] - own_R
    within_R = ((target_R - before_R) / own_R).clamp(0, 1 - 2**-53)
    return index_R, within_R
