"""What the negatives of a training did, in sentences."""

from __future__ import annotations

from ctfw.page.records import Negatives, TrainLog
from ctfw.page.validation import series


def bound_sentence(log: TrainLog) -> str:
    """How often a negative contradicted nothing, and how much of the last quarter of the training
    the others were at the bound."""
    shares = [value for _, value in series(log.steps, "at_bound")]
    without = [value for _, value in series(log.steps, "without_scope")]
    beside = ""
    if without and (share := sum(without) / len(without)) >= 0.005:
        beside = (
            f"In {share:.0%} of the cases the negative contradicted no sentence that the loss "
            "looks at: it gave no gradient and taught nothing."
        )
        if share >= 0.9 or not shares:
            return beside
    if not shares:
        return ""
    last = shares[-max(len(shares) // 4, 1) :]
    share = sum(last) / len(last)
    which = "other negatives" if beside else "negatives"
    text = f"In the last quarter of the steps {share:.0%} of the {which} were at the bound"
    if share >= 0.9:
        text += ": they gave next to no gradient and taught next to nothing."
    else:
        text += ", where they give no gradient."
    return f"{beside} {text}".strip()


def negative_sentences(negatives: Negatives) -> list[str]:
    """What the sampler did, in words."""
    told = []
    if negatives.draws:
        text = f"The sampler drew {negatives.draws} negatives"
        if negatives.relaxed is not None and negatives.partner_use:
            share = negatives.relaxed / negatives.draws
            text += (
                f"; {negatives.relaxed} times ({share:.1%}) no case met its rule and the rule was "
                "relaxed"
            )
            reasons = [f"{why}: {n}" for why, n in negatives.relaxed_because.items()]
            text += f" ({'; '.join(reasons)})" if reasons else ""
        told.append(text + ".")
        if not negatives.partner_use:
            told.append("They are made of the anchors' own scans, so there are no partners.")
    if negatives.over_cap:
        told.append(
            f"{negatives.over_cap} draws took a partner that had served as often as it may, "
            "because no other conflicts."
        )
    if negatives.without_side:
        told.append(
            f"{negatives.without_side} of the mirrored anchors name no side in their report: "
            "nothing that they say is wrong in the mirror."
        )
    if negatives.similarity is not None:
        told.append(
            f"To the model, an anchor and its negative look alike by {negatives.similarity:.2f} "
            "(mean cosine; 0 is a random pair, 1 the same image)."
        )
    uses = list(negatives.partner_use.values())
    if uses and sum(uses):
        share = max(uses) / sum(uses)
        told.append(
            f"{len(uses)} cases served as negatives; the busiest one {max(uses)} times "
            f"({share:.1%} of all)"
            + (": the model may learn that one case." if share > 0.1 else ".")
        )
    if negatives.burden_gap is not None and uses:
        gap = negatives.burden_gap
        word = "more" if gap >= 0 else "fewer"
        told.append(f"On average a negative has {abs(gap):.1f} {word} findings than its anchor.")
    return told
