"""The SDK's low-level client (``docker.APIClient``), kept off the user's Docker configuration.

The SDK takes credentials, credential helpers and proxies from ``~/.docker/config.json`` and from
the environment. macnet needs none of them: its base image is public, and its engine is on this
machine or at the end of a way of macnet's own. A helper that is gone would end a build, a password
would go to the engine with it, and a proxy would get requests for 127.0.0.1. The SDK's own ssh is
not used either: it needs another implementation of ssh, which reads only part of the user's
configuration, and logs in anew for each connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from macnet.contexts import EngineAddress
from macnet.errors import EngineUnreachable

if TYPE_CHECKING:
    from docker import APIClient

#: Docker 20.10's. Stands in until the engine has told its own.
_FIRST_VERSION = "1.41"


def open_client(address: EngineAddress, *, timeout_s: int, version: str | None = None) -> APIClient:
    """A client for this engine. Without ``version`` the engine is asked for its own.

    Raises the SDK's and its HTTP client's exceptions; `macnet.engine.translate` knows them.
    """
    from docker.tls import TLSConfig

    tls: TLSConfig | bool = False
    if (files := address.tls) is not None:
        tls = TLSConfig(
            client_cert=(str(files.cert), str(files.key)) if files.cert and files.key else None,
            ca_cert=str(files.ca) if files.ca else None,
            verify=True,
        )
    client = _client_class()(
        base_url=address.via or address.url,
        version=version or _FIRST_VERSION,
        timeout=timeout_s,
        tls=tls,
    )
    client.trust_env = False
    if version is None:
        told: Any = client.version(api_version=False)
        if not isinstance(told, dict) or not isinstance(told.get("ApiVersion"), str):
            raise EngineUnreachable(
                f"what answers at {address.url} (from {address.source}) is no Docker engine",
                hint="name the engine with --context or DOCKER_HOST",
            )
        # The SDK would ask while it is made, by then with a proxy.
        client._version = told["ApiVersion"]  # type: ignore[attr-defined]
    return client


def _client_class() -> type[APIClient]:
    """`APIClient` with a configuration of its own; made here, as the SDK is imported late."""
    from docker import APIClient

    class ProxiesOnlyClient(APIClient):
        """Reads only ``proxies`` of config.json, which image builds need behind a proxy."""

        _proxies: dict[str, Any]

        @property
        def _general_configs(self) -> dict[str, Any]:
            # With "auths" in it, so that the SDK looks for no other file.
            return {"auths": {}, "proxies": self._proxies}

        @_general_configs.setter
        def _general_configs(self, read: object) -> None:
            proxies = read.get("proxies") if isinstance(read, dict) else None
            known = proxies.items() if isinstance(proxies, dict) else ()
            self._proxies = {host: value for host, value in known if isinstance(value, dict)}

        def _set_auth_headers(self, headers: dict[str, str]) -> None:
            """Send no passwords along with a build."""

    return ProxiesOnlyClient
