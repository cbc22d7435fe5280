"""The rows of ctfw itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from _work import HIGH, LOW, SCALE, Source, Work


def ctfw(
    dtype: Literal["float16", "float32"] = "float32", antialias: Literal["none", "auto"] = "none"
) -> Work:
    """ctfw's own chain: nifti, rescale-hu, resample, hu-window, preprocessed-numpy; called as a
    worker of `ctfw prepare` calls it."""
    from ctfw.types import Case
    from ctfw.volumes.open import open_slices
    from ctfw.volumes.pipeline import VolumePipeline
    from ctfw.volumes.work import prepare_one
    from ctfw_plugins.preprocess import configs
    from ctfw_plugins.preprocess.hu_window import HuWindow
    from ctfw_plugins.preprocess.preprocessed_numpy import PreprocessedNumpy
    from ctfw_plugins.preprocess.resample import Resample
    from ctfw_plugins.preprocess.rescale_hu import RescaleHu
    from ctfw_plugins.volumes.configs import NiftiConfig
    from ctfw_plugins.volumes.nifti import NiftiLoader

    loaders = [("nifti", NiftiLoader(NiftiConfig()))]

    def work(source: Source, folder: Path) -> None:
        settings: list[tuple[str, Any, Any]] = [
            ("rescale-hu", RescaleHu, configs.RescaleHuConfig()),
            (
                "resample",
                Resample,
                configs.ResampleConfig(spacing_mm=source.target_mm, antialias=antialias),
            ),
            ("hu-window", HuWindow, configs.HuWindowConfig(low=LOW, high=HIGH, divide_by=SCALE)),
            (
                "preprocessed-numpy",
                PreprocessedNumpy,
                configs.PreprocessedNumpyConfig(folder=folder, dtype=dtype),
            ),
        ]
        pipeline = VolumePipeline(
            lambda path: open_slices(path, loaders),
            [build(config) for _, build, config in settings],
            [json.dumps([name, config.model_dump(mode="json")]) for name, _, config in settings],
        )
        hints = {
            "RescaleSlope": source.slope,
            "RescaleIntercept": source.intercept,
            "folder_version": "v1",
        }
        case = Case("chest", "synthetic", source.path, "", hints=hints)
        row = prepare_one(pipeline, case, pipeline.key(source.path, case))
        if row.state != "made":
            raise RuntimeError(f"{row.state}: {row.reason}")

    return work
