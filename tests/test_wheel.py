"""Tests of a built wheel: it installs, contains its recipes and templates, and runs."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    expected = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src" / "crossbatch").rglob("*")}
    expected = {name for name in expected if not name.endswith(".pyc") and (ROOT / "src" / name).is_file()}
    assert expected <= set(names)
    assert {"crossbatch/recipes/glyphs-demo.yaml", "crossbatch/report/page.html.j2", "crossbatch/py.typed"} <= expected
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    asked = subprocess.run(
        [sys.executable, "-c", "import crossbatch, sys; from crossbatch.__main__ import main; "
         "print(crossbatch.__file__); sys.exit(main(['--help']))"],
        env={**os.environ, "PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )  # fmt: skip
    assert asked.stdout.startswith(str(target))
    assert "compare" in asked.stdout
