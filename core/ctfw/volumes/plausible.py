"""What size a chest CT has: bounds outside which somebody should look."""

from __future__ import annotations

LENGTH_MM = (150.0, 600.0)
"""From feet to head: lungs take 200 to 350 mm; beyond 600 mm it is more than a chest."""
WIDTH_MM = (200.0, 550.0)
STEP_MM = (0.3, 5.0)
"""Between slices."""
ROUNDING = 1.001


def remarks(
    spacing_mm: tuple[float, float, float], extent_mm: tuple[float, float, float]
) -> list[str]:
    """What is unusual about a volume's size, in words; both are (z, y, x)."""
    length, width, step = extent_mm[0], max(extent_mm[1:]), spacing_mm[0]
    found = []
    if length < LENGTH_MM[0]:
        found.append(f"it covers {length:.0f} mm from feet to head, less than a chest")
    if length > LENGTH_MM[1]:
        found.append(f"it covers {length:.0f} mm from feet to head, more than a chest")
    if not WIDTH_MM[0] <= width <= WIDTH_MM[1]:
        found.append(
            f"its slices are {width:.0f} mm wide, where {WIDTH_MM[0]:.0f} to "
            f"{WIDTH_MM[1]:.0f} mm are usual: a part of the chest, or a wrong pixel size"
        )
    if step > STEP_MM[1] * ROUNDING:
        found.append(f"its slices are {step:g} mm apart: small findings fall between them")
    if step < STEP_MM[0]:
        found.append(f"its slices are {step:g} mm apart, closer than scanners make them")
    return found
