"""The built-in plugins, declared as a third party declares theirs.

This table imports settings models only, and those when it is asked for them: a worker process
that reads volumes has no use for the settings of stages. A component's own module is imported when
it is built.
"""

from __future__ import annotations

from collections.abc import Iterable

from ctfw.component import Component
from ctfw.hooks import hookimpl


@hookimpl
def ctfw_datasets() -> Iterable[Component]:
    from ctfw_plugins.datasets import configs as sets

    yield Component(
        "phantom",
        "ctfw_plugins.datasets.phantom:Phantom",
        sets.PhantomConfig,
        "synthetic chest CTs with planted findings and reports that the image decides",
        needs=("nibabel", "joblib"),
    )
    yield Component(
        "ct-rate",
        "ctfw_plugins.datasets.ct_rate:CTRate",
        sets.CTRateConfig,
        "CT-RATE as it is on disk: volumes, reports, 18 labels, metadata",
    )
    yield Component(
        "table",
        "ctfw_plugins.datasets.table:Table",
        sets.TableConfig,
        "anybody's scans: a CSV, TSV, JSON or Parquet table with a row per scan",
    )
    yield Component(
        "amos-mm",
        "ctfw_plugins.datasets.amos_mm:AmosMM",
        sets.AmosMMConfig,
        "AMOS-MM: CT of chest, abdomen and pelvis with findings by region",
    )
    yield Component(
        "iu-xray",
        "ctfw_plugins.datasets.xray:IUXray",
        sets.IUXrayConfig,
        "IU X-Ray in R2Gen's annotation file: frontal and lateral view of each study",
    )
    yield Component(
        "mimic-cxr",
        "ctfw_plugins.datasets.xray:MimicCXR",
        sets.MimicCXRConfig,
        "MIMIC-CXR in R2Gen's annotation file: chest X-rays with their reports",
    )


@hookimpl
def ctfw_volume_loaders() -> Iterable[Component]:
    from ctfw_plugins.volumes.configs import (
        DicomConfig,
        ItkConfig,
        NiftiConfig,
        NpyConfig,
        PictureConfig,
    )

    yield Component(
        "nifti",
        "ctfw_plugins.volumes.nifti:NiftiLoader",
        NiftiConfig,
        "NIfTI-1 and NIfTI-2, plain or gzipped",
        needs=("nibabel>=5.2", "isal"),
    )
    yield Component(
        "npy",
        "ctfw_plugins.volumes.npy:NpyLoader",
        NpyConfig,
        "NumPy arrays (.npy, .npz) with a JSON sidecar",
        needs=("isal",),
    )
    yield Component(
        "dicom",
        "ctfw_plugins.volumes.dicom:DicomLoader",
        DicomConfig,
        "a folder with a CT series in DICOM, found by its geometry, or a multi-frame file",
        needs=("pydicom>=3.0",),
        revision=2,
    )
    yield Component(
        "itk",
        "ctfw_plugins.volumes.itk:ItkLoader",
        ItkConfig,
        "MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr)",
        needs=("SimpleITK>=2.3", "isal"),
    )
    yield Component(
        "picture",
        "ctfw_plugins.volumes.picture:PictureLoader",
        PictureConfig,
        "PNG and JPEG pictures of X-ray views",
        needs=("pillow>=10",),
    )


@hookimpl
def ctfw_preprocessors() -> Iterable[Component]:
    from ctfw_plugins.preprocess import configs as steps

    folder = "ctfw_plugins.preprocess"
    yield Component(
        "rescale-hu",
        f"{folder}.rescale_hu:RescaleHu",
        steps.RescaleHuConfig,
        "HU = P x slope + intercept, decided from evidence, never twice",
    )
    yield Component(
        "resample",
        f"{folder}.resample:Resample",
        steps.ResampleConfig,
        "trilinear to a fixed spacing; extent kept, affine updated",
    )
    yield Component(
        "orient",
        f"{folder}.orient:Orient",
        steps.OrientConfig,
        "rows and columns of the slices: radiological, or CT-CLIP's",
    )
    yield Component(
        "crop-pad",
        f"{folder}.crop_pad:CropPad",
        steps.CropPadConfig,
        "a fixed number of voxels around the centre",
    )
    yield Component(
        "hu-window",
        f"{folder}.hu_window:HuWindow",
        steps.HuWindowConfig,
        "clamp to a window of HU and scale",
    )
    yield Component(
        "slices",
        f"{folder}.slices:Slices",
        steps.SlicesConfig,
        "evenly spaced axial slices whose millimetres are kept",
    )
    yield Component(
        "fit",
        f"{folder}.fit:Fit",
        steps.FitConfig,
        "a fixed size in pixels, of the scan, the body or the lungs",
    )
    yield Component(
        "preprocessed",
        f"{folder}.preprocessed:Preprocessed",
        steps.PreprocessedConfig,
        "store: NIfTI (x, y, z) with geometry, readable by other tools",
        needs=("nibabel>=5.2",),
    )
    yield Component(
        "preprocessed-numpy",
        f"{folder}.preprocessed_numpy:PreprocessedNumpy",
        steps.PreprocessedNumpyConfig,
        "store: .npy with axes (z, x, y) and a JSON sidecar",
    )
    yield Component(
        "preprocessed-blosc2",
        f"{folder}.preprocessed_blosc2:PreprocessedBlosc2",
        steps.PreprocessedBlosc2Config,
        "store: each slice compressed, for a third to a half of the space",
        needs=("blosc2>=3.0",),
    )


@hookimpl
def ctfw_negative_samplers() -> Iterable[Component]:
    from ctfw_plugins.samplers.declared import components

    return components()


@hookimpl
def ctfw_losses() -> Iterable[Component]:
    from ctfw_plugins.losses.configs import (
        AlignContrastConfig,
        BoundedContrastConfig,
        CrossEntropyConfig,
    )

    yield Component(
        "cross-entropy",
        "ctfw_plugins.losses.cross_entropy:CrossEntropy",
        CrossEntropyConfig,
        "negative log-likelihood of the report (Origin)",
        needs=("torch",),
    )
    yield Component(
        "bounded-contrast",
        "ctfw_plugins.losses.bounded_contrast:BoundedContrast",
        BoundedContrastConfig,
        "alpha CE_pos - beta CE_neg, the second term bounded",
        needs=("torch",),
    )
    yield Component(
        "align-contrast",
        "ctfw_plugins.losses.align_contrast:AlignContrast",
        AlignContrastConfig,
        "InfoNCE between images and reports of a batch; an extra term",
        needs=("torch",),
    )


@hookimpl
def ctfw_metrics() -> Iterable[Component]:
    from ctfw_plugins.metrics.declared import components

    return components()


@hookimpl
def ctfw_labelers() -> Iterable[Component]:
    from ctfw_plugins.labelers.declared import components

    return components()


@hookimpl
def ctfw_backbones() -> Iterable[Component]:
    from ctfw_plugins.backbones.configs import Qwen25VLConfig

    yield Component(
        "qwen2.5-vl",
        "ctfw_plugins.backbones.qwen25_vl:Qwen25VL",
        Qwen25VLConfig,
        "Qwen2.5-VL over slices in HU, temporal positions in millimetres",
        needs=("torch", "transformers>=5.6", "tokenizers", "safetensors"),
    )


@hookimpl
def ctfw_stages() -> Iterable[Component]:
    from ctfw_plugins.stages.configs import FinetuneConfig, ReportConfig, VisionWarmupConfig

    yield Component(
        "vision-warmup",
        "ctfw_plugins.stages.vision_warmup:VisionWarmup",
        VisionWarmupConfig,
        "teach the vision tower findings, from lesion masks or labels",
        needs=("torch", "accelerate"),
        gives=("checkpoint",),
    )
    yield Component(
        "finetune",
        "ctfw_plugins.stages.finetune:Finetune",
        FinetuneConfig,
        "fine-tune on image and report, with or without negatives",
        needs=("torch", "accelerate"),
        gives=("checkpoint",),
    )
    yield Component(
        "report",
        "ctfw_plugins.stages.report:Report",
        ReportConfig,
        "write reports, score them beside floors, measure visual reliance",
        needs=("torch", "accelerate", "matplotlib", "jinja2"),
        gives=("predictions",),
    )
