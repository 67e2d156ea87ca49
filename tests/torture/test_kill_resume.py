"""A short round of the torture: killed in training and in the evaluation, the same end. CONTRIBUTING.md has more."""

import os
import subprocess
import sys


def test_a_killed_run_ends_as_an_undisturbed_one(repository):
    command = [sys.executable, str(repository / "tests" / "torture" / "kill_resume.py"), "--image-level"]
    command += ["--iterations", "7"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "1 of 1 rounds ended as the undisturbed run" in done.stdout
    assert "finished 2" not in done.stdout, "a kill met a running process"
