"""Build each service's wheel, install it in a venv with nothing but its pinned requirements, and import all of it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).parents[1]
UV: Final = Path(sys.executable).with_name("uv")
SERVICES: Final = ("command", "projection", "notifier")
IMPORT_ALL: Final = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def main() -> None:
    with TemporaryDirectory() as folder, ThreadPoolExecutor() as side_by_side:
        wheels = Path(folder) / "wheels"
        wheels.mkdir()  # or each build would, at the same time
        sources = [ROOT / "shared", *(ROOT / "services" / service for service in SERVICES)]
        list(side_by_side.map(lambda source: build(source, wheels), sources))
        list(side_by_side.map(lambda service: install(service, wheels, Path(folder) / service), SERVICES))
    print(f"{', '.join(SERVICES)}: each installs alone")


def build(source: Path, wheels: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", wheels, cwd=source)


def install(service: str, wheels: Path, venv: Path) -> None:
    python = venv / "bin" / "python"
    run(UV, "venv", "--quiet", "--python", sys.executable, venv)
    requirements = ROOT / "requirements" / f"{service}.txt"
    run(UV, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", requirements)
    own = [wheel for name in ("shared", service) for wheel in wheels.glob(f"vinculum_{name}-*.whl")]
    run(UV, "pip", "install", "--quiet", "--python", python, "--no-deps", *own)
    run(python, "-c", IMPORT_ALL, f"vinculum_{service}")
    run(python, "-m", f"vinculum_{service}", "--help")


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603  our own
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
