"""A Ray cluster: how it is reached, and calls on it as futures."""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from mgmt_monai.errors import MgmtMonaiError

R = TypeVar("R")

_CONNECT_S = 10
"""To open a connection to a cluster's head, in seconds: more than a network needs, less than Ray's own limit."""


class RayClusterError(MgmtMonaiError):
    """Ray is not installed, no cluster is at the address, or it lost the worker of a call."""


def check_reachable(address: str) -> None:
    """Refuse an address of a cluster at which nobody listens: Ray itself would try for minutes.

    ``auto`` and ``local`` are left to Ray.

    Raises:
        RayClusterError: No connection can be opened.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise RayClusterError(
            f"--ray {address}: no Ray cluster there ({error}). Start one, or name another."
        ) from error


class RayCluster:
    """Runs calls on a cluster, a core each; to be used in a with statement.

    Every machine of the cluster sees the files under the same paths, and has this package installed.

    Args:
        address: Such as ``auto`` or ``10.0.0.1:6379``; ``local`` starts a cluster on this machine.
        gpu: Whether a call takes a GPU too, where the cluster has any.

    Raises:
        RayClusterError: Ray is not installed, or the cluster cannot be reached.
    """

    def __init__(self, address: str, gpu: bool = False) -> None:
        try:
            import ray
        except ImportError as error:
            advice = "Install it with: pip install 'mgmt_monai[ray]'."
            raise RayClusterError(f"--ray: Ray cannot be imported ({error}). {advice}") from error
        check_reachable(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", include_dashboard=False)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            reason = " ".join(str(error).split())[:200]
            raise RayClusterError(
                f"--ray {address}: no Ray cluster there ({reason}). Start one, or name another."
            ) from error
        n_gpus = 1 if gpu and ray.cluster_resources().get("GPU") else 0
        self._ray: Any = ray
        self._needs = ray.remote(num_cpus=1, num_gpus=n_gpus, max_retries=0)

    def submit(self, function: Callable[..., R], *arguments: Any) -> Future[R]:
        """Have a function called; its error is the future's, and a lost worker is a `RayClusterError`."""
        future: Future[R] = Future()

        def done(of: Future[R]) -> None:
            error = of.exception()
            if error is None:
                future.set_result(of.result())
            elif isinstance(error, self._ray.exceptions.RayTaskError):
                future.set_exception(error.cause)
            else:
                future.set_exception(RayClusterError(f"lost on the Ray cluster: {' '.join(str(error).split())[:500]}"))

        self._needs(function).remote(*arguments).future().add_done_callback(done)
        return future

    def close(self) -> None:
        """Leave the cluster; calls that have not ended are given up."""
        self._ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
