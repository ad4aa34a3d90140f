"""Where outgoing webhooks may go: never into our own network, however the url is written.

The text of a url is judged here, before anything is resolved; the addresses that its name resolves to are judged by
:func:`is_public` just before the connection, which then goes to exactly those.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Final

from attrs import frozen

from evmbilling.errors import InputError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

LONGEST_URL: Final = 2048
LONGEST_NAME: Final = 253
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-fA-F.]*:[0-9a-fA-F:.]*\]|[0-9A-Za-z.-]+)(?::(?P<port>[0-9]{1,5}))?(?P<target>[/?][\x21-\x7e]*)?",
    re.ASCII,
)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)", re.ASCII)
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_FORBIDDEN_IN_TARGET = frozenset('\\#"<>^`{|}')
_LOCAL_NAMES = ("localhost", "local", "localdomain", "internal", "intranet", "lan", "home", "corp", "arpa", "onion")
_CLOSED = tuple(
    ipaddress.ip_network(block)
    for block in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        # Of IPv6 only the global unicast block is open (2000::/3), without what carries or stands for other addresses.
        "::/3",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",
        "2620:4f:8000::/48",
        "3fff::/20",
        "4000::/2",
        "8000::/1",
    )
)
"""IANA special-purpose registries for IPv4 and IPv6; multicast and reserved space in whole."""


@frozen
class Target:
    """A url, taken apart.

    Attributes:
        host: lower case; an IPv6 literal without brackets.
        path: path and query as they are sent.

    """

    secure: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """``host:port``, as exceptions are written and with the port always said."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def literal(self) -> Address | None:
        """The address, when the host is one."""
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None


def parse_target(url: object, *, excepted: Collection[str] = (), field: str = "url") -> Target:
    """Read a url that webhooks are to be sent to.

    Args:
        url: ``https://host[:port]/path?query``, in ASCII; a host in another script is written as ``xn--…``.
        excepted: exact ``host:port`` that may be plain http and on a private address: test networks only.
        field: named in errors.

    Raises:
        InputError: user and password, a fragment, another scheme, a host that is no public name or address, or one in
            a form that parsers disagree about.

    """
    target = split_target(url, field=field)
    if target.authority in excepted:
        return target
    if not target.secure:
        raise InputError("an https url is expected", field=field)
    _check_host(target, field=field)
    return target


def split_target(url: object, *, field: str = "url") -> Target:
    """Take a url apart without judging where it leads.

    Raises:
        InputError: it is not ``http[s]://host[:port]/path?query``.

    """
    match = _URL.fullmatch(url) if isinstance(url, str) and len(url) <= LONGEST_URL else None
    if match is None or _FORBIDDEN_IN_TARGET & set(match["target"] or ""):
        raise InputError("an https url without user, password or fragment is expected", field=field)
    secure = match["scheme"] == "https"
    port = int(match["port"] or (443 if secure else 80))
    if not 0 < port < 1 << 16:
        raise InputError("there is no such port", field=field)
    path = match["target"] or "/"
    host = match["host"].lower()
    return Target(secure, host.strip("[]"), port, path if path.startswith("/") else "/" + path)


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet: not private, loopback, link-local, reserved or multicast.

    Addresses that carry another one (IPv4-mapped, NAT64, 6to4, Teredo) are not, whatever they carry.
    """
    return not any(address in block for block in _CLOSED if block.version == address.version)


def _check_host(target: Target, *, field: str) -> None:
    literal = target.literal
    if literal is not None:
        if not is_public(literal):
            raise InputError("the address is not on the public internet", field=field)
        return
    # 127.1, 0177.0.0.1, 0x7f.1 and 2130706433 are no literals above: the last label of a name is never a number.
    labels = target.host.split(".")
    named = len(labels) > 1 and len(target.host) <= LONGEST_NAME and all(_LABEL.fullmatch(label) for label in labels)
    if not named or _NUMERIC.fullmatch(labels[-1]):
        raise InputError("the host is neither a public name nor an address in its usual form", field=field)
    if labels[-1] in _LOCAL_NAMES:
        raise InputError("the host is a name of a local network", field=field)
