"""Starts the processes of a run: one, several on one or more machines, or those that torchrun has started already."""

import logging
import os
import time
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import torch
from detectron2.engine import launch
from detectron2.utils import comm
from torch import distributed
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from nightlab.errors import InputError, one_line
from nightlab.signals import SIGNALS, STOPPED, Stopped, passed_on

logger = logging.getLogger(__name__)

# How long a process that fails without a remedy waits before it ends.
PATIENCE_S = 3.0


def launch_run(run: Callable[[Namespace], Any], args: Namespace) -> None:
    """detectron2's `launch` of `run(args)`; what a process ends with is what this one ends with.

    Raises:
        InputError: any of the processes raised one.
        Stopped: they were asked to stop, by a signal to any of them or to this one.
    """
    if distributed.is_torchelastic_launched():
        _join_torchrun()
        _run_and_leave(run, args)
    elif args.num_gpus * args.num_machines <= 1:
        run(args)
    else:
        try:
            with passed_on() as passed:
                where = args.num_gpus, args.num_machines, args.machine_rank, args.dist_url
                launch(_run_with_patience, *where, args=(run, args))
        except ProcessExitedException as end:
            # In its first seconds a process does not yet know what to do with a signal, and dies of it.
            if passed and -end.exit_code in SIGNALS:
                logger.warning("%s: stopped at once; --resume goes on from the last checkpoint", passed[0])
            elif end.exit_code != STOPPED:
                raise
            raise Stopped from None
        except ProcessRaisedException as error:  # its message ends with that of the error in the process
            if f"\n{InputError.__module__}.{InputError.__qualname__}: " in str(error):
                raise InputError(one_line(error)) from None
            raise


def _run_with_patience(run: Callable[[Namespace], Any], args: Namespace) -> None:
    """In a process of several. Where one fails, the others lose touch with it and fail as well, at nearly the same
    moment; what is reported is the first to end, which should be the one that knows why."""
    try:
        _run_and_leave(run, args)
    except InputError:
        raise
    except Exception:
        time.sleep(PATIENCE_S)
        raise


def _run_and_leave(run: Callable[[Namespace], Any], args: Namespace) -> None:
    """Run and leave the group of processes, which detectron2's `launch` does not: a thread of gloo that still holds the
    last collective's tensors when Python is gone aborts the process, now and then on busy cores, and with it the run.

    Not after a failure: there, the others may never do their part of what the group would wait for.
    """
    try:
        run(args)
    except Stopped:
        distributed.destroy_process_group()
        raise
    distributed.destroy_process_group()


def _join_torchrun() -> None:
    """Take the place that torchrun's variables of the environment give this process."""
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    distributed.init_process_group("nccl" if has_gpu else "gloo")
    comm.create_local_process_group(int(os.environ["LOCAL_WORLD_SIZE"]))
