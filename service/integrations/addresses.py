"""Where webhooks may go: nobody makes this service knock on the doors of its own network.

Public addresses over HTTPS are open. Private ones, where a laboratory's LIMS lives, only if the
installation's settings name them; addresses of the machine's own link and of cloud metadata never.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from service.settings import Settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve = Callable[[str, int], list[str]]

MAX_URL = 2000
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Clouds answer with credentials here, partly on addresses that look public.
_NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16",
        "fe80::/10",
        "fd00:ec2::254/128",
        "fd20:ce::254/128",
        "100.100.100.200/32",
        "168.63.129.16/32",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(ValueError):
    """A URL or address that may not be called, in the words of whoever entered it."""


@dataclass(frozen=True)
class Target:
    """A URL taken apart."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def host_header(self) -> str:
        """The host as a request names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class Policy:
    """Which addresses the installation opens beyond the public ones."""

    private: tuple[Network, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """As the settings say; raises ``ValueError`` for a network that is none."""
        if settings.webhook_private != "allow":
            return cls()
        texts = (text.strip() for text in settings.webhook_private_networks.split(","))
        return cls(tuple(ipaddress.ip_network(text) for text in texts if text))

    def check(self, target: Target, address: Address) -> None:
        """Raise :class:`AddressRefused` unless ``target`` may be called at ``address``."""
        if any(one in network for one in _meanings(address) for network in _NEVER):
            raise AddressRefused(f"{address} is a link-local or metadata address; never called")
        if any(address in network for network in self.private):
            return
        if not all(one.is_global and not one.is_multicast for one in _meanings(address)):
            raise AddressRefused(
                f"{address} is not a public address; the operator can open networks with "
                f"NEXTROUND_WEBHOOK_PRIVATE=allow and NEXTROUND_WEBHOOK_PRIVATE_NETWORKS"
            )
        if target.scheme != "https":
            raise AddressRefused(f"{address} is a public address; use https there")


def parse(url: str) -> Target:
    """``url`` taken apart; raises :class:`AddressRefused` for what is no plain HTTP address."""
    if len(url) > MAX_URL or not (url.isascii() and url.isprintable()) or " " in url:
        raise AddressRefused(f"the URL must be printable ASCII of at most {MAX_URL} characters")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("the URL cannot be understood; check its host and port") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise AddressRefused("the URL must begin with https:// (or http://) and name a host")
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("put no user name or password into the URL; verify the signature")
    if parts.fragment:
        raise AddressRefused("drop the part after #; a server never sees it")
    if port == 0:
        raise AddressRefused("port 0 cannot be called")
    return Target(parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], _path(parts))


def check_literal(url: str, policy: Policy) -> None:
    """Refuse what needs no name server to be refused. The rest is checked at every delivery."""
    target = parse(url)
    try:
        address = ipaddress.ip_address(target.host)
    except ValueError:
        return
    policy.check(target, address)


def permitted(target: Target, policy: Policy, resolve: Resolve | None = None) -> list[str]:
    """The addresses of ``target``, every one of them permitted.

    One that is refused refuses the host: a name that leads both outside and inside is a trick.
    The caller connects to what is returned here, not to the name: it may change in between.
    """
    try:
        found = (resolve or lookup)(target.host, target.port)
    except OSError as error:
        raise AddressRefused(f"{target.host} cannot be resolved ({error.strerror})") from None
    if not found:
        raise AddressRefused(f"{target.host} has no address")
    for text in found:
        policy.check(target, ipaddress.ip_address(text.partition("%")[0]))
    return found


def lookup(host: str, port: int) -> list[str]:
    """What the system's resolver says, each address once."""
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(row[4][0]) for row in rows))


def _meanings(address: Address) -> Iterator[Address]:
    """The address, and those that it carries inside: IPv6 has several ways to say an IPv4 one."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or int(address) >> 32 == 0:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _path(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
