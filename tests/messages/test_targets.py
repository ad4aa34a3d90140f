"""Where webhooks may go, decided by the text of the url and by every address of its name."""

from __future__ import annotations

import ipaddress

import pytest

from evmbilling.adapters.notifiers.webhook import HttpWebhookSender
from evmbilling.domain.messages.targets import Target, is_public, parse_target, split_target
from evmbilling.errors import InputError
from evmbilling.ports.outgoing import WebhookCall

ALLOWED = {
    "https://example.com": Target(secure=True, host="example.com", port=443, path="/"),
    "https://EXAMPLE.com/Hook?a=1&b=%20": Target(secure=True, host="example.com", port=443, path="/Hook?a=1&b=%20"),
    "https://example.com:8443/x": Target(secure=True, host="example.com", port=8443, path="/x"),
    "https://example.com?token=1": Target(secure=True, host="example.com", port=443, path="/?token=1"),
    "https://xn--e1afmkfd.xn--p1ai/": Target(secure=True, host="xn--e1afmkfd.xn--p1ai", port=443, path="/"),
    "https://8.8.8.8/": Target(secure=True, host="8.8.8.8", port=443, path="/"),
    "https://[2606:4700::1111]:444/": Target(secure=True, host="2606:4700::1111", port=444, path="/"),
    "https://127-0-0-1.example.com/@user": Target(secure=True, host="127-0-0-1.example.com", port=443, path="/@user"),
}

REFUSED = [
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "//example.com/",
    "example.com",
    "",
    "https://",
    "https:///x",
    "https://localhost/",
    "https://LOCALHOST:8443/",
    "https://db/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://a.localhost/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://0/",
    "https://0.0.0.0/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.0.0.01/",
    "https://10.0.0.8/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.1.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://192.0.2.1/",
    "https://[::1]/",
    "https://[::]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:8.8.8.8]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:7f00:1::]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[ff02::1]/",
    "https://[8.8.8.8]/",
    "https://user@example.com/",
    "https://user:pass@example.com/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1\\@example.com/",
    "https://example.com\\.evil.test/",
    "https://example.com#@127.0.0.1/",
    "https://example.com/#x",
    "https://example.com:0/",
    "https://example.com:65536/",
    "https://example.com:443:80/",
    "https://example.com:/",
    "https://example.com./",
    "https://exa mple.com/",
    "https://example.com/\r\nhost: evil",
    "https://example.com/\x00",
    "https://-a.com/",
    "https://a..com/",
    "https://1。1.1.1/",
    "https://ⓔxample.com/",
    "https://%31%32%37.0.0.1/",
    "https://example.com/" + "a" * 2048,
    None,
    7,
]


@pytest.mark.parametrize("url", ALLOWED)
def test_public_https_urls_are_taken_apart(url):
    assert parse_target(url) == ALLOWED[url]


@pytest.mark.fault("W20")
@pytest.mark.parametrize("url", REFUSED)
def test_w20_urls_that_lead_inside_are_refused(url):
    with pytest.raises(InputError) as caught:
        parse_target(url)
    assert caught.value.field == "url"
    assert not isinstance(url, str) or url[9:30] not in str(caught.value) or len(url) < 12


@pytest.mark.fault("W20")
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "169.254.169.254",
        "192.168.0.1",
        "172.20.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "::ffff:127.0.0.1",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_w20_names_that_resolve_inside_are_not_called(address):
    asked = []

    def resolver(host, port):
        asked.append((host, port))
        # A public address beside it does not help.
        return [ipaddress.ip_address("93.184.216.34"), ipaddress.ip_address(address)]

    sender = HttpWebhookSender(resolver=resolver, timeout=0.5)
    answer = sender.send(_call("https://rebind.example.com/x"))
    assert (answer.status, answer.error) == (None, "the host has an address that is not public")
    assert asked == [("rebind.example.com", 443)]


@pytest.mark.fault("W20")
@pytest.mark.parametrize(
    ("url", "taken"),
    [
        ("http://127.0.0.1:8000/hook", True),
        ("https://127.0.0.1:8000/hook", True),
        ("http://127.0.0.1:8001/hook", False),
        ("http://127.0.0.1/hook", False),
        ("http://localhost:8000/hook", False),
        ("http://127.1:8000/hook", False),
        ("http://user@127.0.0.1:8000/hook", False),
    ],
)
def test_w20_an_exception_is_one_exact_host_and_port(url, taken):
    if taken:
        assert parse_target(url, excepted=["127.0.0.1:8000"]).port == 8000
    else:
        with pytest.raises(InputError):
            parse_target(url, excepted=["127.0.0.1:8000"])


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "2a00:1450:4001::1"])
def test_the_public_internet_is_open(address):
    assert is_public(ipaddress.ip_address(address))


def test_taking_apart_judges_nothing():
    assert split_target("http://[::1]:80/a").authority == "[::1]:80"


def _call(url, **over):
    fields = {
        "url": url,
        "secrets": ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",),
        "message_id": "msg_1",
        "timestamp": 1,
        "body": b"{}",
    }
    return WebhookCall(**fields | over)
