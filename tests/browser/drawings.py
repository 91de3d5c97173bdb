"""Drawn pictures for searches: shape and colour give the class; size, place and background vary between pictures."""

import math
import random
from pathlib import Path

from PIL import Image, ImageDraw

SHAPES = ("star", "ring", "bars", "drop")
HOSTILE = "<img src=x onerror=alert(1)> & co"  # a label that must be shown as text


def draw_pictures(folder: Path, *, classes: int, each: int, seed: int = 0, side: int = 96) -> Path:
    """Draw the pictures `folder/CLASS/NUMBER.png` and return the folder."""
    chance = random.Random(seed)
    for number in range(classes):
        name = HOSTILE if number == 5 else f"{SHAPES[number % 4]} {1 + number // 4}"
        (folder / name).mkdir(parents=True)
        for i in range(each):
            draw_picture(number, chance, side).save(folder / name / f"{i:03}.png")
    return folder


def draw_picture(number: int, chance: random.Random, side: int) -> Image.Image:
    hue = number * 137.5 % 360
    ground = f"hsl({chance.randrange(360)}, 35%, {chance.randrange(82, 94)}%)"
    colour = f"hsl({(hue + chance.uniform(-8, 8)) % 360:.0f}, 68%, {chance.randrange(38, 55)}%)"
    image = Image.new("RGB", (2 * side, 2 * side), ground)
    pencil, radius = ImageDraw.Draw(image), side * chance.uniform(0.55, 0.85)
    x, y = (side * chance.uniform(0.85, 1.15) for _ in range(2))
    shape, points = SHAPES[number % 4], 4 + number // 4 % 9
    if shape == "star":
        turn = chance.uniform(0, 0.5)
        arms = [(radius * (1 if k % 2 else 0.45), turn + k * math.pi / points) for k in range(2 * points)]
        pencil.polygon([(x + far * math.cos(angle), y + far * math.sin(angle)) for far, angle in arms], fill=colour)
    elif shape == "bars":
        for k in range(points):
            left = x - radius + 2 * k * radius / points
            pencil.rectangle(
                [left, y + radius * (1 - 2 * (k + 1) / points), left + 1.3 * radius / points, y + radius], fill=colour
            )
    else:
        pencil.ellipse([x - radius, y - radius, x + radius, y + radius], fill=colour)
        if shape == "ring":
            inner = radius * (0.3 + 0.1 * (number // 4 % 6))
            pencil.ellipse([x - inner, y - inner, x + inner, y + inner], fill=ground)
    return image.resize((side, side), Image.Resampling.LANCZOS)
