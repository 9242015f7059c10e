import pytest

from penstock.contract.target import InvalidTarget, Target, parse_listen_address, parse_target


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1", "127.0.0.1:50051"),
        ("localhost", "localhost:50051"),
        ("node-1.example", "node-1.example:50051"),
        ("node_1", "node_1:50051"),
        ("[::1]", "[::1]:50051"),
        ("dns:///node-1.example", "dns:///node-1.example:50051"),
        ("dns:node-1.example", "dns:node-1.example:50051"),
        ("127.0.0.1:1", "127.0.0.1:1"),
        ("node-1.example:65535", "node-1.example:65535"),
        ("[2001:db8::1%eth0]:9", "[2001:db8::1%eth0]:9"),
        ("dns://8.8.8.8/node-1.example:7", "dns://8.8.8.8/node-1.example:7"),
        ("unix:/run/penstock.sock", "unix:/run/penstock.sock"),
        ("unix:///run/penstock.sock", "unix:///run/penstock.sock"),
        ("unix:penstock.sock", "unix:penstock.sock"),
    ],
)
def test_a_target_is_what_grpc_takes_and_has_port_50051_where_it_names_none(text: str, address: str) -> None:
    assert parse_target(text).address == address


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("http://127.0.0.1:50051", "write 127.0.0.1:50051"),
        ("http://node-1.example/", "write node-1.example:50051"),
        ("https://node-1.example:7/path?x", "write node-1.example:7; credentials= asks for an encrypted connection"),
        ("grpc://[::1]:7", "write [::1]:7"),
        ("http://", "write host:port"),
        ("dns:///http://a", "write a:50051"),
        ("", "write host:port"),
        (" ", "write host:port"),
        ("a b", "write host:port"),
        ("127.0.0.1:50051/", "a port of 0 to 65535"),
        (":50051", "write host:port"),
        ("50051", "write host:port"),
        ("127.0.0:1", "127.0.0 is no IPv4 address"),
        ("256.0.0.1:1", "256.0.0.1 is no IPv4 address"),
        ("localhost:", "a port of 0 to 65535"),
        ("localhost:x", "a port of 0 to 65535"),
        ("localhost:-1", "a port of 0 to 65535"),
        ("localhost:65536", "a port of 0 to 65535"),
        ("localhost:" + "9" * 5000, "a port of 0 to 65535"),
        ("localhost:\u0661", "a port of 0 to 65535"),
        ("localhost:0", "the port that it listens on"),
        ("::1", "in brackets"),
        ("::1:50051", "in brackets"),
        ("[::1", "in brackets"),
        ("[::x]:1", "in brackets"),
        ("[::1]50051", "in brackets"),
        ("a:1,b:1", "in brackets"),
        ("a,b", "write host:port"),
        ("user@host:1", "write host:port"),
        ("unix:", "1 to 107 bytes"),
        ("unix:/" + "x" * 107, "1 to 107 bytes"),
        ("unix://host/path", "write unix:/path"),
        ("unix-abstract:x", "a port of 0 to 65535"),
    ],
)
def test_what_names_no_node_is_refused_at_once_with_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(InvalidTarget) as refused:
        parse_target(text)
    assert advice in str(refused.value)


def test_a_target_of_another_type_is_refused() -> None:
    with pytest.raises(InvalidTarget, match="not bytes: write host:port"):
        parse_target(b"localhost")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.9.9.9:1", "localhost", "LOCALHOST.:1", "a.localhost:1", "[::1]:1", "[::]:1", "0.0.0.0:1",
        "[::ffff:127.0.0.1]:1", "dns:///localhost:1", "unix:/x",
    ],
)  # fmt: skip
def test_this_machine_is_never_asked_for_at_a_proxy(text: str) -> None:
    assert parse_target(text).channel_options == (("grpc.enable_http_proxy", 0),)


@pytest.mark.parametrize("text", ["10.0.0.1", "node-1.example:1", "localhost.example", "[::2]:1", "[::ffff:8.8.8.8]"])
def test_for_other_targets_grpc_decides_about_proxies(text: str) -> None:
    assert parse_target(text).channel_options == ()


def test_a_node_listens_where_its_port_is_named() -> None:
    assert parse_listen_address("[::1]:0") == Target("[::1]:0", is_local=True)
    for text in ("localhost", "http://localhost:1", "dns:///localhost:1"):
        with pytest.raises(InvalidTarget, match="write"):
            parse_listen_address(text)
