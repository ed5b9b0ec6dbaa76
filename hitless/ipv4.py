"""IPv4 addresses in files and messages, read by one rule. Without pydantic, because workers read them too."""

from ipaddress import IPv4Address


def ipv4(value: object) -> IPv4Address:
    """The address that a text says, four numbers with dots. Raises ValueError for everything else."""
    try:
        if isinstance(value, str):
            return IPv4Address(value)
    except ValueError:
        pass
    raise ValueError("expected an IPv4 address such as 10.96.0.1")


def ipv4_text(value: object) -> str:
    """The same, as text."""
    return str(ipv4(value))
