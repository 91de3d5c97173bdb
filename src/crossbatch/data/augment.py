"""Options for random changes of training images: a policy by name, and each of its parts. Imports nothing heavy."""

from dataclasses import asdict, dataclass, fields
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, restricted_number_type

AtLeastOne = restricted_number_type("AtLeastOne", float, (">=", 1))
Policy = Literal["auto", "none", "drawn", "photo", "paper"]


@dataclass(frozen=True)
class Augment:
    """Random changes of training images; the policy sets what is not given.

    Args:
        policy: drawn (shift, turn, scale, shear; for characters); photo (crop, mirror);
            paper (a strong crop and mirror, as in the XBM paper); none; or auto, which chooses by the images.
        crop: Smallest share of the image that a random crop keeps; 1 does not crop.
        crop_ratio: Largest factor by which a crop is wider or higher than what the network takes; 1 keeps its shape.
        mirror: Share of the images that are mirrored, left to right.
        shift: Largest shift, as a share of the side.
        rotation: Largest turn to either side, in degrees.
        zoom: Largest change of width and of height, as a share.
        shear: Largest shear, as a share of the side.
        colour: Largest change of brightness, contrast and saturation, as a share.
        grey: Share of the images that lose their colour.
        blur: Share of the images that are blurred.
        erase: Share of the images in which a rectangle is painted over.
    """

    policy: Policy = "auto"
    crop: ClosedUnitInterval | None = None
    crop_ratio: AtLeastOne | None = None  # type: ignore[valid-type]
    mirror: ClosedUnitInterval | None = None
    shift: ClosedUnitInterval | None = None
    rotation: NonNegativeFloat | None = None
    zoom: ClosedUnitInterval | None = None
    shear: ClosedUnitInterval | None = None
    colour: ClosedUnitInterval | None = None
    grey: ClosedUnitInterval | None = None
    blur: ClosedUnitInterval | None = None
    erase: ClosedUnitInterval | None = None

    @property
    def amounts(self) -> "Amounts":
        """The amount of each change. The policy must not be `auto`, which is decided before."""
        chosen = {name: value for name, value in asdict(self).items() if name != "policy" and value is not None}
        return Amounts(**{**asdict(POLICIES[self.policy]), **chosen})


@dataclass(frozen=True)
class Amounts:
    """The fields of `Augment` as numbers; by default nothing is changed."""

    crop: float = 1.0
    crop_ratio: float = 4 / 3
    mirror: float = 0.0
    shift: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    shear: float = 0.0
    colour: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    erase: float = 0.0

    def __str__(self) -> str:
        """The changes in words."""
        changes = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        parts = [f"{name} {value:.3g}" for name, (value, nothing) in changes.items() if value != nothing]
        return ", ".join(parts) or "nothing changed"


POLICIES: dict[str, Amounts] = {
    "none": Amounts(),
    "drawn": Amounts(shift=0.1, rotation=8.6, zoom=0.15, shear=0.15),
    # A change of colour by 0.2 cost up to 2.7 points of R@1 on validation on six sets, most in short runs.
    "photo": Amounts(crop=0.7, mirror=0.5),
    # Wang et al., CVPR 2020: random resized crop and flip; the scale of the crop is that of the authors' code.
    "paper": Amounts(crop=0.2, mirror=0.5),
}
