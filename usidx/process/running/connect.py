"""A client of the cluster that people mean, closed again where it was made here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from usidx.errors import ClusterError, OptionError


@contextlib.contextmanager
def connected(client: Any) -> Iterator[Any]:
    """The `distributed.Client` that is meant, for as long as the context lasts.

    Parameters
    ----------
    client : a Client, which is left as it is, like None and False; or the address of a scheduler
        ("tcp://...", or "host:8786"), the path of its JSON file, or a cluster such as LocalCluster
        and SLURMCluster: for these a Client is made and closed again

    Raises
    ------
    ClusterError : where no scheduler answers there
    OptionError : for anything else
    """
    if client is None or client is False or _is_client(client):
        yield client
        return
    with contextlib.closing(_made(client)) as made:
        yield made


def _is_client(client: Any) -> bool:
    from distributed import Client

    return isinstance(client, Client)


def _made(where: Any) -> Any:
    from distributed import Client

    from usidx.process.running.cluster import PATIENCE, patience

    if not isinstance(where, (str, os.PathLike)):
        if not hasattr(where, "scheduler_address"):
            raise OptionError(
                f"client={where!r} is no distributed.Client, no cluster, and no address of a "
                "scheduler; write client=Client(...), client='tcp://host:8786', or client=False "
                "for local threads"
            )
        return Client(where, set_as_default=False)
    text, seconds = os.fspath(where), patience()
    given: dict[str, Any] = {"address": text}
    if text.endswith(".json"):
        if not os.path.exists(text):
            raise ClusterError(f"there is no file {text!r}, in which a scheduler says where it is")
        given = {"scheduler_file": text}
    try:
        return Client(**given, timeout=seconds, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ClusterError(
            f"no scheduler answers at {text!r} ({type(error).__name__} after at most {seconds:g} "
            "s); start one (dask scheduler), look whether this machine reaches it, or wait "
            f"longer: dask.config.set({{{PATIENCE!r}: '10 min'}})"
        ) from error
    except ValueError as error:
        raise OptionError(
            f"client={text!r} is no address of a scheduler ({error}); one is 'tcp://host:8786'"
        ) from error
