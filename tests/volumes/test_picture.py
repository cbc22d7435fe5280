"""`picture`: PNG and JPEG views become grey volumes from -1 to 1, or are refused in words."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ctfw.errors import NotCT, UnreadableVolume, UserError
from ctfw.types import Case, Volume
from ctfw.volumes.open import open_slices
from ctfw.volumes.pipeline import VolumePipeline
from ctfw_plugins.preprocess.anatomy import to_value
from ctfw_plugins.preprocess.configs import FitConfig
from ctfw_plugins.preprocess.fit import Fit
from ctfw_plugins.volumes.configs import PictureConfig
from ctfw_plugins.volumes.picture import PictureLoader

RAMP = np.arange(256, dtype=np.uint8).reshape(8, 32)


def load(path: Path, **settings_: Any) -> Volume:
    return PictureLoader(PictureConfig(**settings_)).load(path)


def save(folder: Path, array: np.ndarray, name: str = "view.png", **options: Any) -> Path:
    Image.fromarray(array).save(folder / name, **options)
    return folder / name


def told(volume: Volume) -> str:
    return "; ".join(decision.text for decision in volume.provenance)


def test_grey_values_go_from_black_at_minus_1_to_white_at_1(tmp_path: Path) -> None:
    volume = load(save(tmp_path, RAMP))
    assert (volume.array.shape, volume.array.dtype) == ((1, 8, 32), np.float32)
    assert volume.intensity == "normalised"
    expected = np.linspace(-1, 1, 256).reshape(1, 8, 32)
    np.testing.assert_allclose(volume.array, expected, atol=1e-6)
    assert volume.array.max() <= 1


def test_sixteen_bits_keep_their_steps(tmp_path: Path) -> None:
    stored = np.array([[0, 1, 32768, 65535]], np.uint16)
    array = load(save(tmp_path, stored)).array[0, 0]
    np.testing.assert_allclose(array, [-1, 2 / 65535 - 1, 65536 / 65535 - 1, 1], atol=1e-6)
    assert array[1] > array[0]


def test_white_can_be_said_for_fewer_bits(tmp_path: Path) -> None:
    path = save(tmp_path, np.array([[0, 2048, 4095]], np.uint16))
    with pytest.raises(NotCT, match=r"highest value is 4095 of 65535.*`white` \(perhaps 4095\)"):
        load(path)
    np.testing.assert_allclose(load(path, white=4095).array[0, 0], [-1, 1 / 4095, 1], atol=1e-6)
    assert load(path, white=1000).array.max() == 1, "what is brighter than white is white"


def test_pixel_size_is_unknown_unless_it_is_said(tmp_path: Path) -> None:
    path = save(tmp_path, RAMP, dpi=(300, 300))
    volume = load(path)
    assert volume.spacing_mm == (1.0, 1.0, 1.0)
    assert "unknown, so 1 mm" in told(volume)
    volume = load(path, spacing_mm=(0.14, 0.2))
    assert volume.spacing_mm == pytest.approx((1.0, 0.2, 0.14))
    assert "unknown" not in told(volume)


@pytest.mark.parametrize("name", ["view.png", "view.jpg", "VIEW.JPEG"])
def test_equal_colour_channels_are_grey(tmp_path: Path, name: str) -> None:
    grey = np.kron(RAMP, np.ones((8, 8), np.uint8))
    one = load(save(tmp_path, grey, f"grey-{name}"))
    three = load(save(tmp_path, np.repeat(grey[:, :, None], 3, axis=2), name))
    np.testing.assert_allclose(three.array, one.array, atol=2.5 * 2 / 255)
    assert "three equal colour channels taken as grey" in told(three)


def test_colour_is_refused(tmp_path: Path) -> None:
    marked = np.repeat(RAMP[:, :, None], 3, axis=2)
    marked[2:4, 2:4] = (255, 0, 0)
    with pytest.raises(NotCT, match=r"a colour picture \(channels differ by up to 255"):
        load(save(tmp_path, marked))
    palette = Image.fromarray(marked).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "p.png")
    with pytest.raises(NotCT, match="a colour picture"):
        load(tmp_path / "p.png")
    Image.fromarray(marked).convert("CMYK").save(tmp_path / "c.jpg")
    with pytest.raises(NotCT, match="mode CMYK"):
        load(tmp_path / "c.jpg")


def test_grey_palette_is_read(tmp_path: Path) -> None:
    Image.fromarray(RAMP).convert("P").save(tmp_path / "p.png")
    np.testing.assert_array_equal(load(tmp_path / "p.png").array, load(save(tmp_path, RAMP)).array)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_without_effect_is_dropped_and_else_refused(tmp_path: Path, mode: str) -> None:
    picture = Image.fromarray(RAMP).convert(mode)
    picture.save(tmp_path / "opaque.png")
    volume = load(tmp_path / "opaque.png")
    np.testing.assert_array_equal(volume.array, load(save(tmp_path, RAMP)).array)
    assert "alpha channel without effect was dropped" in told(volume)
    picture.putalpha(Image.fromarray(255 - RAMP))
    picture.save(tmp_path / "clear.png")
    with pytest.raises(UnreadableVolume, match="some pixels are transparent"):
        load(tmp_path / "clear.png")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_rotation_is_applied(tmp_path: Path, orientation: int) -> None:
    """The eight EXIF orientations, written as the turns that the standard names."""
    undo = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).T,
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    volume = load(save(tmp_path, np.ascontiguousarray(undo(RAMP)), exif=exif))
    np.testing.assert_array_equal(volume.array, load(save(tmp_path, RAMP, "plain.png")).array)
    assert ("EXIF" in told(volume)) == (orientation != 1)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((9, 9), 7, np.uint8), "every pixel is 7: the picture shows nothing"),
        (np.eye(9, dtype=np.uint8) * 20, "highest value is 20 of 255, nearly black"),
        (np.eye(9, dtype=bool), "black and white only"),
    ],
)
def test_picture_that_shows_nothing_is_refused(
    tmp_path: Path, array: np.ndarray, words: str
) -> None:
    with pytest.raises(NotCT, match=words):
        load(save(tmp_path, array))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize("side", [9_000, 20_000, 2**31 - 1])
def test_picture_that_would_fill_the_memory_is_refused_before_it_is_decoded(
    tmp_path: Path, side: int
) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b""))
    with pytest.raises(UnreadableVolume, match=r"pixels are more than a radiograph|too large"):
        load(tmp_path / "bomb.png")


def test_text_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    bomb = b"note\0\0" + zlib.compress(b"a" * (80 << 20))
    png = io.BytesIO()
    Image.fromarray(RAMP).save(png, "PNG")
    raw = png.getvalue()
    (tmp_path / "bomb.png").write_bytes(raw[:33] + chunk(b"zTXt", bomb) + raw[33:])
    with pytest.raises(UnreadableVolume, match="not a whole PNG"):
        load(tmp_path / "bomb.png")


def test_several_frames_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(RAMP, i)) for i in range(3)]
    frames[0].save(tmp_path / "film.png", save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableVolume, match="several frames"):
        load(tmp_path / "film.png")


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_format_behind_the_name_is_refused(tmp_path: Path, kind: str) -> None:
    Image.fromarray(RAMP).save(tmp_path / "view.png", format=kind)
    with pytest.raises(UnreadableVolume, match="not a whole PNG or JPEG"):
        load(tmp_path / "view.png")


def encoded(kind: str) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    Image.fromarray(noise).save(out, kind)
    return out.getvalue()


WHOLE = {kind: encoded(kind) for kind in ("PNG", "JPEG")}


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(["PNG", "JPEG"]), share=st.floats(0, 0.97))
def test_cut_file_is_refused_wherever_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, kind: str, share: float
) -> None:
    path = tmp_path_factory.mktemp("cut") / "view.png"
    path.write_bytes(WHOLE[kind][: int(share * len(WHOLE[kind]))])
    with pytest.raises(UnreadableVolume, match="not a whole PNG or JPEG"):
        load(path)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["PNG", "JPEG"]),
    place=st.integers(0, 10_000),
    bytes_=st.binary(min_size=1, max_size=6),
)
def test_damaged_bytes_never_crash(
    tmp_path_factory: pytest.TempPathFactory, kind: str, place: int, bytes_: bytes
) -> None:
    data = bytearray(WHOLE[kind])
    start = place % len(data)
    data[start : start + len(bytes_)] = bytes_
    path = tmp_path_factory.mktemp("damage") / "view.jpg"
    path.write_bytes(data)
    try:
        array = load(path).array
    except UserError:
        return
    assert np.isfinite(array).all()
    assert np.abs(array).max() <= 1


def test_loader_is_chosen_by_name_and_names_the_file(tmp_path: Path) -> None:
    loaders = [("picture", PictureLoader(PictureConfig()))]
    path = save(tmp_path, RAMP, "view.JPG", format="PNG")
    assert open_slices(path, loaders).shape == (1, 8, 32)
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UnreadableVolume, match=r"bad\.jpg: not a whole PNG or JPEG"):
        open_slices(tmp_path / "bad.jpg", loaders)
    assert not PictureLoader(PictureConfig()).can_read(tmp_path / "scan.nii.gz")
    assert not PictureLoader(PictureConfig()).can_read(tmp_path / "absent.png")


def test_fit_puts_black_beside_a_view_that_is_not_square(tmp_path: Path) -> None:
    tall = np.full((60, 20), 200, np.uint8)
    tall[0, 0] = 0
    volume = load(save(tmp_path, tall))
    assert to_value(volume, -1024) == to_value(volume, -1000) == -1.0
    assert to_value(volume, 0) == 0.0
    fitted = Fit(FitConfig(size_px=(60, 60)))(volume).array[0]
    np.testing.assert_allclose(fitted[:, :18], -1)
    np.testing.assert_allclose(fitted[:, 42:], -1)
    np.testing.assert_allclose(fitted[2:, 22:38], 400 / 255 - 1, atol=1e-5)


def test_fit_finds_the_exposed_field_in_a_black_picture(tmp_path: Path) -> None:
    view = np.zeros((100, 100), np.uint8)
    view[30:80, 20:70] = 180
    crop = FitConfig(size_px=(50, 50), crop="body", margin_mm=0)
    fitted = Fit(crop)(load(save(tmp_path, view))).array
    assert (fitted > 0).mean() > 0.95


def test_views_of_a_study_are_stacked(tmp_path: Path) -> None:
    frontal = save(tmp_path, RAMP, "0.png")
    lateral = save(tmp_path, np.ascontiguousarray(RAMP.T), "1.png")
    loaders = [("picture", PictureLoader(PictureConfig()))]
    chain = VolumePipeline(
        lambda path: open_slices(path, loaders), [Fit(FitConfig(size_px=(32, 32)))], ["fit"]
    )
    case = Case("study", "patient", frontal, "report", views=(frontal, lateral))
    stacked = chain(frontal, case)
    assert stacked.array.shape == (2, 32, 32)
    np.testing.assert_array_equal(stacked.array[0], chain(frontal).array[0])
    np.testing.assert_array_equal(stacked.array[1], chain(lateral).array[0])
