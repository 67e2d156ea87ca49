"""Check an installation: run something of every library NightLab stands on, and say in plain words what is wrong."""

import importlib
import shutil
import sys
import warnings
from collections.abc import Callable

REINSTALL = f"{sys.executable} -m pip install --force-reinstall -r requirements/base.txt"

# What an error message contains, and what that means; {error} is the message. The first match counts.
EXPLANATIONS = (
    (
        ("torchvision::", "custom C++ ops", "torchvision/_C", "torchvision/image"),
        "torch and torchvision do not match: they are not builds made for each other ({error}). "
        f"Install them as the pair that requirements/base.txt names: {REINSTALL}",
    ),
    (
        ("No module named 'pkg_resources'",),
        "setuptools is too new: release 82 dropped pkg_resources, which detectron2.model_zoo imports. "
        f"{sys.executable} -m pip install 'setuptools<82'",
    ),
    (
        ("No module named 'detectron2'", "NightLab needs Detectron2"),
        f"Detectron2 is missing. {sys.executable} tools/install_detectron2.py",
    ),
    (
        ("libGL.so", "libgthread", "libEGL"),
        "OpenCV wants the system's graphics libraries ({error}). Use the build without windows: "
        f"{sys.executable} -m pip uninstall -y opencv-python && {sys.executable} -m pip install --force-reinstall "
        "--no-deps opencv-python-headless",
    ),
    (
        ("no kernel image is available",),
        "this torch was not built for this GPU ({error}). Install the torch and torchvision builds that fit it (see "
        'INSTALL.md), or hide the GPU with CUDA_VISIBLE_DEVICES="" to use the CPU',
    ),
    (
        ("compiled using NumPy 1.x", "numpy.core.multiarray failed", "numpy.dtype size changed"),
        f"a library was built for another numpy ({{error}}). {REINSTALL}",
    ),
    (
        ("No module named", "cannot open shared object file"),
        f"a library is missing or incomplete ({{error}}). {REINSTALL}",
    ),
)


class Broken(Exception):
    """A check failed; the message names the cause and the remedy."""


def explain(error: BaseException) -> str:
    """What the exception means for the user, on one line."""
    if isinstance(error, Broken):
        return str(error)
    message = " ".join(str(error).split()) or type(error).__name__
    for signs, meaning in EXPLANATIONS:
        if any(sign in message for sign in signs):
            return meaning.format(error=message)
    return f"{type(error).__name__}: {message}. If the cause is not clear, start afresh: rm -r .venv && make setup"


def check_torch() -> str:
    import torch

    layer = torch.nn.Conv2d(3, 4, kernel_size=3).to(find_device())
    result = layer(torch.ones(1, 3, 8, 8, device=find_device()))
    if result.shape != (1, 4, 6, 6) or not result.isfinite().all():
        raise Broken(f"torch's convolution computes wrong values here. {REINSTALL}")
    return f"torch {torch.__version__}: a convolution on {describe_device()}"


def check_torchvision() -> str:
    import torch
    import torchvision

    device = find_device()
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]], device=device)
    kept = torchvision.ops.nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), 0.5)
    image, weight = torch.ones(1, 3, 8, 8, device=device), torch.ones(4, 3, 3, 3, device=device)
    sums = torchvision.ops.deform_conv2d(image, torch.zeros(1, 18, 6, 6, device=device), weight)
    if kept.tolist() != [0, 2] or sums.shape != (1, 4, 6, 6) or not torch.allclose(sums, torch.full_like(sums, 27)):
        raise Broken(f"torchvision's operators compute wrong values here. {REINSTALL}")
    return f"torchvision {torchvision.__version__}: non-maximum suppression, deformable convolution"


def check_detectron2() -> str:
    import detectron2

    for part in ("config", "modeling", "engine", "model_zoo"):
        importlib.import_module(f"detectron2.{part}")
    return f"detectron2 {detectron2.__version__}: configuration, models, training engine"


def check_libraries() -> str:
    modules = [importlib.import_module(name) for name in ("timm", "numpy", "PIL", "cv2")]
    return ", ".join(f"{module.__name__} {module.__version__}" for module in modules)


def check_nightlab() -> str:
    import nightlab

    importlib.import_module("nightlab.modeling")
    return f"nightlab {nightlab.__version__}"


CHECKS: tuple[Callable[[], str], ...] = (
    check_torch,
    check_torchvision,
    check_detectron2,
    check_libraries,
    check_nightlab,
)


def find_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def describe_device() -> str:
    """The device in words, with the reason where a GPU seems to be there but stays unused."""
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} GPU ({torch.cuda.get_device_name()})"
    if shutil.which("nvidia-smi") is None:
        return f"the CPU (threads: {torch.get_num_threads()}; no GPU found)"
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
    return f"the CPU, because this torch, built for {build}, cannot use the installed NVIDIA driver (see INSTALL.md)"


def main() -> int:
    """Run all checks and print a line for each; the exit status is 1 where one failed."""
    warnings.simplefilter("ignore")  # deprecations inside the libraries, which would hide the lines that matter
    failures = 0
    for check in CHECKS:
        try:
            line = f"  ok      {check()}"
        except Exception as error:
            failures += 1
            line = f"  BROKEN  {check.__name__.removeprefix('check_')}: {explain(error)}"
        print(line, flush=True)
    print(f"{failures} of {len(CHECKS)} checks failed." if failures else "NightLab is ready.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
