"""A host and the connections to it: kept, found again, dialled directly or through a proxy."""

import asyncio
import base64
import ipaddress
import os
import ssl
from collections import deque
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from judges.http1 import ConnectFailed, Connection, TimedOut

CONNECT_TIMEOUT_S = 15.0
KEEPALIVE_S = 60.0
ADDRESS_S = 60.0


class Proxy:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        self.is_http = parts.scheme == "http"
        self.host = parts.hostname or ""
        self.port = parts.port or 80
        self.authorization: list[str] = []
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            secret = base64.b64encode(pair.encode()).decode()
            self.authorization = [f"proxy-authorization: Basic {secret}"]


class Origin:
    """A host and port, the connections to it, and the way there."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, proxy: Proxy | None
    ) -> None:
        self.tls = tls
        self.proxy = proxy
        self._host = host
        usual_port = 443 if tls else 80
        shown = f"[{host}]" if ":" in host else host.encode("idna").decode()
        self.name = shown if port == usual_port else f"{shown}:{port}"
        self._port = port
        self._idle: deque[Connection] = deque()
        self._address: str | None = None
        self._address_until = 0.0
        self._finding = asyncio.Lock()

    def idle(self) -> Connection | None:
        oldest = asyncio.get_running_loop().time() - KEEPALIVE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    def keep(self, connection: Connection) -> None:
        if not connection.is_open:
            return
        connection.idle_since = asyncio.get_running_loop().time()
        self._idle.append(connection)
        if self._idle[0].idle_since < connection.idle_since - KEEPALIVE_S:
            self._idle.popleft().close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()

    async def connect(self, timeout_s: float) -> Connection:
        allowed_s = min(timeout_s, CONNECT_TIMEOUT_S)
        try:
            async with asyncio.timeout(allowed_s):
                return await self._connect()
        except TimeoutError:
            what = TimedOut if allowed_s == timeout_s else ConnectFailed
            failure = what(f"took no connection in {allowed_s:.3g} s")
        except ssl.SSLCertVerificationError as error:
            failure = ConnectFailed(
                f"its certificate is not trusted ({error.verify_message}); if it is signed by an "
                "authority of your own, name its file in SSL_CERT_FILE"
            )
        except OSError as error:
            failure = ConnectFailed(_words(error))
        raise failure

    async def _connect(self) -> Connection:
        if self.proxy is None:
            return await self._dial(self._host, self._port, self.tls)
        if not self.proxy.is_http:
            raise ConnectFailed(
                "the environment names a proxy for it that is not http://; set HTTPS_PROXY to one "
                "that is, or NO_PROXY to reach it directly"
            )
        connection = await self._dial(self.proxy.host, self.proxy.port, None)
        if self.tls is not None:
            await self._tunnel(connection, self.tls, self.proxy)
        return connection

    async def _dial(self, host: str, port: int, tls: ssl.SSLContext | None) -> Connection:
        """By name once a minute, both address families racing; by the address found otherwise.

        A thousand connections at once would otherwise be a thousand look-ups, six at a time.
        """
        loop = asyncio.get_running_loop()
        server_name = self._host if tls else None
        address = self._address
        if address is None or loop.time() > self._address_until:
            async with self._finding:
                if self._address is None or loop.time() > self._address_until:
                    transport, connection = await loop.create_connection(
                        *(Connection, host, port),
                        ssl=tls,
                        server_hostname=server_name,
                        happy_eyeballs_delay=0.25,
                    )
                    self._address = transport.get_extra_info("peername")[0]
                    self._address_until = loop.time() + ADDRESS_S
                    return connection
                address = self._address
        try:
            _, connection = await loop.create_connection(
                Connection, address, port, ssl=tls, server_hostname=server_name
            )
        except OSError:
            self._address = None
            raise
        return connection

    async def _tunnel(self, connection: Connection, tls: ssl.SSLContext, proxy: Proxy) -> None:
        to = f"{self.name}:443" if self._port == 443 else self.name
        lines = [f"CONNECT {to} HTTP/1.1", f"host: {to}", *proxy.authorization, "", ""]
        reply = await connection.exchange(
            "\r\n".join(lines).encode(), CONNECT_TIMEOUT_S, to_connect=True
        )
        if reply.status >= 300:
            connection.close()
            raise ConnectFailed(f"the proxy answered HTTP {reply.status}")
        await connection.start_tls(tls, self._host)


def _words(error: OSError) -> str:
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)  # asyncio's own words repeat the address
    return error.strerror or str(error)


def proxy_for(scheme: str, host: str) -> Proxy | None:
    if host == "localhost" or _is_loopback(host) or proxy_bypass(host):
        return None
    proxies = getproxies()
    url = proxies.get(scheme) or proxies.get("all")
    return Proxy(url) if url else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
