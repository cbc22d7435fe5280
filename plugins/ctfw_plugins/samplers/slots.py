"""Which cases of a pool may still be drawn, and draws among them."""

from __future__ import annotations

import numpy as np

from ctfw_plugins.samplers.codes import distances
from ctfw_plugins.samplers.pool import Anchor, LabelPool


class Slots:
    """All cases of a pool, until they are closed.

    wanted      number of labels in which a partner should differ
    burden_gap  how many more or fewer positive labels a partner may have; None: any number
    ceiling     (U,) `wanted`, or less where no open case within the gap differs from the code in
                more labels
    """

    def __init__(self, pool: LabelPool, wanted: int, burden_gap: int | None = None) -> None:
        self._pool, self.wanted = pool, wanted
        self._gap = pool.labels if burden_gap is None else burden_gap
        self.ceiling = np.full(len(pool.words), wanted)
        self._open = np.ones(len(pool), bool)
        self._left = len(pool)
        self._left_of_code = np.diff(pool.start)
        self._left_of_pair = np.bincount(pool.pair, minlength=len(pool.pair_code))
        self._left_of_patient = np.bincount(pool.patient)
        self.tidy()

    def close(self, case: int) -> None:
        """Take a case out; call it once for a case."""
        self._open[case] = False
        self._left -= 1
        self._left_of_code[self._pool.code[case]] -= 1
        self._left_of_pair[self._pool.pair[case]] -= 1
        self._left_of_patient[self._pool.patient[case]] -= 1

    def tidy(self) -> None:
        """Forget what has been closed, so that no time is lost on it."""
        pool = self._pool
        self._cases = pool.members[self._open[pool.members]]
        self._codes = np.flatnonzero(self._left_of_code)
        self._words = pool.words[self._codes]
        self._before = np.concatenate([[0], self._left_of_code[self._codes].cumsum()])
        self._edges = np.searchsorted(self._codes, pool.first_code)
        self._edge: list[int] = self._edges.tolist()  # for `pick`, which looks at single ones

    def spent(self, anchors: np.ndarray) -> np.ndarray:
        """(B,) cases -> (B,) True where it is known that no open case of another patient
        differs."""
        own = self._left_of_patient[self._pool.patient[anchors]]
        return (self.ceiling[self._pool.code[anchors]] == 0) | (own == self._left)

    def propose(
        self, anchors: np.ndarray, count: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """For each of (B,) cases of the pool, `count` random cases that were open at the last
        `tidy`, less those that do not qualify: they are of another patient and differ in
        `ceiling` labels or more. Those who qualify are equally likely. Not for `spent` anchors.

        Returns (K,) positions in `anchors`, ascending, and (K,) cases.
        """
        pool, reach = self._pool, self.ceiling[self._pool.code[anchors]]
        burden = pool.burden[anchors]
        least, most = pool.burdens(burden, reach)
        least, most = np.maximum(least, burden - self._gap), np.minimum(most, burden + self._gap)
        most = np.maximum(most, least - 1)
        low, stop = (self._before[self._edges[edge]] for edge in (least, most + 1))
        chances = rng.random((len(anchors), count))
        place = low[:, None] + (chances * (stop - low)[:, None]).astype(np.intp)
        # Where no burden is right, the place is any: the distance then rules the case out.
        drawn = self._cases[np.minimum(place, len(self._cases) - 1)]
        apart = distances(pool.packed[drawn.ravel()], pool.packed[np.repeat(anchors, count)])
        fits = apart.reshape(drawn.shape) >= reach[:, None]
        fits &= np.abs(pool.burden[drawn] - burden[:, None]) <= self._gap
        fits &= pool.patient[drawn] != pool.patient[anchors][:, None]
        return np.nonzero(fits)[0], drawn[fits]

    def pick(self, anchor: Anchor, chance: float) -> int | None:
        """One of the open cases of other patients that differ in `wanted` labels or more, each
        equally likely; `wanted` is lowered one label at a time, to 1, until there is one.

        chance  uniform in [0, 1), decides which

        Returns the case, None when nobody is left.
        """
        known = anchor.code >= 0
        if anchor.patient >= 0 and self._left_of_patient[anchor.patient] == self._left:
            return None
        for reach in range(int(self.ceiling[anchor.code]) if known else self.wanted, 0, -1):
            codes = self._codes_beyond(anchor, reach)
            left = self._left_of_code[codes]
            if not left.any():
                if known:
                    self.ceiling[anchor.code] = reach - 1
                continue
            self._drop_own(anchor, codes, left)
            ends = left.cumsum()
            if ends[-1] > 0:
                place = int(chance * ends[-1])
                at = int(ends.searchsorted(place, side="right"))
                return self._member(int(codes[at]), place - int(ends[at] - left[at]), anchor)
        return None

    def _codes_beyond(self, anchor: Anchor, reach: int) -> np.ndarray:
        """Codes that were open at the last `tidy` and differ in `reach` labels or more."""
        least, most = self._pool.burdens_of(anchor.burden, reach)
        least, most = max(least, anchor.burden - self._gap), min(most, anchor.burden + self._gap)
        if most < least:
            return self._codes[:0]
        low, stop = self._edge[least], self._edge[most + 1]
        apart = distances(self._words[low:stop], anchor.word)
        return self._codes[low:stop][apart >= reach]

    def _drop_own(self, anchor: Anchor, codes: np.ndarray, left: np.ndarray) -> None:
        """Take the open cases of the anchor's patient out of the number `left` of each code."""
        mine = self._pool.pairs_of(anchor.patient)
        own = self._pool.pair_code[mine]
        if len(own) > (anchor.code >= 0):  # its own code never differs
            at = np.minimum(own.searchsorted(codes), len(own) - 1)
            left -= (own[at] == codes) * self._left_of_pair[mine][at]

    def _member(self, code: int, place: int, anchor: Anchor) -> int:
        """The open case of a code at `place`, not counting those of the anchor's patient."""
        pool = self._pool
        members = pool.members[pool.start[code] : pool.start[code + 1]]
        fits = self._open[members] & (pool.patient[members] != anchor.patient)
        return int(members[fits][place])
