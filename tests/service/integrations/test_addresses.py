"""Nobody makes the service call its own network, its own machine or its own cloud."""

from __future__ import annotations

import socket

import pytest
from pydantic import ValidationError

from service.integrations.addresses import AddressRefused, Policy, check_literal, parse, permitted
from service.settings import Settings

PUBLIC = "https://lims.example.org/hook"
PRIVATE = [
    "127.0.0.1", "127.8.9.1", "0.0.0.0", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.0.9",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "240.0.0.1", "::1", "::", "fc00::1", "fd12::1",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "::7f00:1",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "169.254.1.1", "fe80::1", "fd00:ec2::254", "100.100.100.200",
    "168.63.129.16", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
]  # fmt: skip
EVERYTHING = Policy.of(
    Settings(webhook_private="allow", webhook_private_networks="0.0.0.0/0, ::/0")
)


def leads_to(*addresses: str):
    return lambda host, port: list(addresses)


@pytest.mark.parametrize("address", PRIVATE + NEVER)
def test_what_is_not_public_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused):
        permitted(parse(PUBLIC), Policy(), leads_to(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822"])
def test_what_is_public_is_called(address: str) -> None:
    assert permitted(parse(PUBLIC), Policy(), leads_to(address)) == [address]


def test_one_bad_address_refuses_the_name() -> None:
    for found in (("93.184.216.34", "10.0.0.1"), ("10.0.0.1", "93.184.216.34")):
        with pytest.raises(AddressRefused, match=r"10\.0\.0\.1"):
            permitted(parse(PUBLIC), Policy(), leads_to(*found))


@pytest.mark.parametrize("address", NEVER)
def test_metadata_is_never_called_whatever_is_allowed(address: str) -> None:
    with pytest.raises(AddressRefused, match="never"):
        permitted(parse(PUBLIC), EVERYTHING, leads_to(address))


def test_an_operator_opens_networks_one_by_one() -> None:
    settings = Settings(webhook_private="allow", webhook_private_networks="10.20.0.0/16")
    policy = Policy.of(settings)
    plain = parse("http://lims.lab/hook")
    assert permitted(plain, policy, leads_to("10.20.3.4")) == ["10.20.3.4"]
    for other in ("10.21.0.1", "127.0.0.1"):
        with pytest.raises(AddressRefused):
            permitted(plain, policy, leads_to(other))
    closed = Policy.of(Settings(webhook_private_networks="10.20.0.0/16"))
    with pytest.raises(AddressRefused, match="NEXTROUND_WEBHOOK_PRIVATE"):
        permitted(plain, closed, leads_to("10.20.3.4"))


@pytest.mark.parametrize("text", ["10.0.0.0/33", "lims.lab", "10.0.0.1/8"])
def test_a_setting_that_is_no_network_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValidationError, match="webhook_private_networks"):
        Settings(webhook_private_networks=f"10.0.0.0/8, {text}")


def test_a_public_address_needs_https() -> None:
    with pytest.raises(AddressRefused, match="https"):
        permitted(parse("http://lims.example.org/"), Policy(), leads_to("93.184.216.34"))


def test_a_name_that_leads_nowhere() -> None:
    def fails(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(AddressRefused, match="cannot be resolved"):
        permitted(parse(PUBLIC), Policy(), fails)
    with pytest.raises(AddressRefused, match="no address"):
        permitted(parse(PUBLIC), Policy(), leads_to())


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x.org/", "//x.org", "x.org", "https://", "https://u:p@x.org/", "https://u@x.org/",
        "https://x.org/#a", "https://x.org:0/", "https://x.org:99999/", "https://x.org:a/",
        "https://x .org/", "https://x.org/\n", "https://ü.org/", "https://[::1/", "file:///etc",
        f"https://x.org/{'a' * 2000}",
    ],
)  # fmt: skip
def test_what_is_no_plain_url(url: str) -> None:
    with pytest.raises(AddressRefused):
        parse(url)


def test_a_url_is_taken_apart() -> None:
    target = parse("https://LIMS.example.org:8443/a/b?c=d")
    assert (target.host, target.port, target.path) == ("lims.example.org", 8443, "/a/b?c=d")
    assert target.host_header == "lims.example.org:8443"
    assert parse("https://x.org").host_header == "x.org"
    assert parse("https://[2606:4700::1]/").host_header == "[2606:4700::1]"


def test_literal_addresses_are_refused_when_they_are_entered() -> None:
    for address in ("127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1"):
        with pytest.raises(AddressRefused):
            check_literal(f"https://{address}/", Policy())
    check_literal(PUBLIC, Policy())
    check_literal("https://93.184.216.34/", Policy())
