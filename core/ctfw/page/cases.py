"""Cases for the browser and for paper: pictures as data URIs, outlines, texts with verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctfw.page.pictures import Pictures, Sprite
from ctfw.page.records import CaseRecord, LesionOutline, NegativeImage, ReportStage, Sentence

PRINTED_CASES = 6

VERDICTS = {
    "agree": ("✓", "agrees"),
    "missed": ("○", "missed"),
    "conflict": ("≠", "conflicts"),
    "hallucinated": ("+", "not in the reference"),
}


def browser_data(test: ReportStage) -> dict[str, Any]:
    """Everything the case browser of one test stage needs, ready for JSON."""
    pictures = Pictures(test.folder)
    cases = [_case(record, pictures) for record in test.cases]
    return {"cases": cases, "images": pictures.uris(), "compressed": pictures.compressed}


def filter_labels(cases: Sequence[dict[str, Any]]) -> list[str]:
    """Labels that occur in a reference or a generated report, for the filter."""
    return sorted({item["label"] for case in cases for item in case["findings"]})


def printed_cases(test: ReportStage) -> list[dict[str, Any]]:
    """The first cases as static rows: texts, and one slice of each image with its outlines."""
    rows = []
    for record in test.cases[:PRINTED_CASES]:
        pictures = Pictures(test.folder)
        case = _case(record, pictures)
        index = key_slice(record)
        case["slice"] = index
        case["picture"] = pictures.cut(case["image"], case["slices"], index)
        if case["negative"]:
            key = case["negative"]["image"]
            case["negative"]["picture"] = pictures.cut(key, case["slices"], index)
        case["outlines"] = [lesion["outlines"].get(str(index), []) for lesion in case["lesions"]]
        rows.append(case)
    return rows


def key_slice(record: CaseRecord) -> int:
    """The slice with the largest outlined lesion; the middle one when nothing is outlined."""
    areas: dict[int, float] = {}
    for lesion in record.lesions:
        for index, polygons in lesion.outlines.items():
            areas[index] = areas.get(index, 0.0) + sum(_area(polygon) for polygon in polygons)
    return max(areas, key=lambda index: areas[index]) if areas else (record.slices or 1) // 2


def _case(record: CaseRecord, pictures: Pictures) -> dict[str, Any]:
    image = pictures.add(record.image)
    slices, size = _geometry(record, pictures.found.get(image))
    return {
        "id": record.case,
        "patient": record.patient,
        "split": record.split,
        "image": image,
        "slices": slices,
        "width": size[0] * record.pixel_mm[0],
        "height": size[1] * record.pixel_mm[1],
        "positions": list(record.positions_mm),
        "lesions": [_lesion(lesion, record.pixel_mm) for lesion in record.lesions],
        "findings": _findings(record),
        "reference": _sentences(record.reference_sentences, record.reference),
        "generated": _sentences(record.generated_sentences, record.generated or ""),
        "negative": _negative(record.negative, pictures),
    }


def _geometry(record: CaseRecord, sprite: Sprite | None) -> tuple[int, tuple[int, int]]:
    """Slices and size of one slice; from the picture itself where the record does not fit it."""
    slices = max(record.slices or len(record.positions_mm) or 1, 1)
    if sprite is None:
        return slices, record.size or (1, 1)
    if record.size == (sprite.width, sprite.height // slices):
        return slices, record.size
    return slices, (sprite.width, max(sprite.height // slices, 1))


def _lesion(lesion: LesionOutline, pixel_mm: tuple[float, float]) -> dict[str, Any]:
    """Outlines as SVG point lists in mm, and `best`, the slice where the lesion is largest."""
    sx, sy = pixel_mm
    outlines = {
        str(index): [
            " ".join(f"{x * sx:.1f},{y * sy:.1f}" for x, y in polygon) for polygon in polygons
        ]
        for index, polygons in lesion.outlines.items()
    }
    best = max(
        lesion.outlines, key=lambda i: sum(_area(p) for p in lesion.outlines[i]), default=None
    )
    return {
        "label": lesion.label,
        "outlines": outlines,
        "best": best,
    }


def _area(polygon: Sequence[tuple[float, float]]) -> float:
    """Shoelace formula, square pixels."""
    ends = zip(polygon, [*polygon[1:], *polygon[:1]])
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in ends)) / 2


def _findings(record: CaseRecord) -> list[dict[str, str]]:
    """Each label of the two reports with its verdict: in both, in the reference, in the text."""
    reference, generated = set(record.labels), set(record.generated_labels)
    verdict = {(True, True): "agree", (True, False): "missed", (False, True): "hallucinated"}
    ordered = [
        *record.labels,
        *(label for label in record.generated_labels if label not in reference),
    ]
    details: dict[str, str] = {}
    for lesion in record.lesions:
        detail = _detail(lesion)
        details[lesion.label] = "; ".join(filter(None, [details.get(lesion.label, ""), detail]))
    return [
        {
            "label": label,
            "verdict": verdict[label in reference, label in generated],
            "detail": details.get(label, ""),
        }
        for label in dict.fromkeys(ordered)
    ]


def _detail(lesion: LesionOutline) -> str:
    size = f"{lesion.size_mm:.0f} mm" if lesion.size_mm is not None else ""
    return ", ".join(part for part in (size, lesion.side) if part)


def _sentences(sentences: Sequence[Sentence], text: str) -> list[dict[str, Any]]:
    """Sentences with verdict and labels; the whole text as one sentence where it was not split."""
    if not sentences:
        return [{"text": text, "verdict": "", "labels": []}] if text.strip() else []
    return [
        {
            "text": sentence.text,
            "verdict": sentence.verdict if sentence.verdict in VERDICTS else "",
            "labels": [label for label, _ in sentence.findings],
        }
        for sentence in sentences
    ]


KINDS = {
    "gauss": "noise of the same shape",
    "swap": "another patient's image",
    "mirror": "the same scan, left and right exchanged",
    "slice-shuffle": "the same scan, its slices in another order",
    "same-region-swap": "the same scan with a region of another patient's",
}


def _negative(negative: NegativeImage | None, pictures: Pictures) -> dict[str, Any] | None:
    if negative is None:
        return None
    what = KINDS.get(negative.kind, "another patient's image" if negative.case else "altered image")
    return {
        "what": f"{what} ({negative.case})" if negative.case else what,
        "kind": negative.kind,
        "role": negative.role,
        "image": pictures.add(negative.image),
        "labels": None if negative.labels is None else list(negative.labels),
        "note": [f"{key.replace('_', ' ')}: {value}" for key, value in negative.note.items()],
        "generated": negative.generated,
    }
